"""What docs/operating and docs/formats say is what the tables say."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from scsi_snap.cli.exit_codes import EXIT_CODES, UNWELL
from scsi_snap.inventory.catalog import FORMAT
from scsi_snap.inventory.catalog_versions import VERSION

DOCS = Path(__file__).parents[2] / "docs"


def test_exit_codes_are_documented() -> None:
    text = (DOCS / "operating/daemon.md").read_text()
    documented = {
        code: int(number)
        for number, codes in re.findall(r"^\| (\d+) \| (.*) \|$", text, re.MULTILINE)
        for code in re.findall(r"`([a-z-]+)`", codes)
        if code != "check"
    }
    assert documented == EXIT_CODES
    for state, number in UNWELL.items():
        assert state == "well" or re.search(
            rf"^\| {number} \| none: .* {state} \|$", text, re.MULTILINE
        )


def test_the_unit_lets_member_files_be_where_they_are_named() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DOCS / "operating/scsi-snap.service")
    service = unit["Service"]
    assert service["ProtectSystem"] == "full", "strict: neither /srv nor /mnt could be written"
    assert "PrivateTmp" not in service, "what is in a private /tmp goes with the service"
    assert service["RuntimeDirectory"] == service["StateDirectory"] == "scsi-snap"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_understands_the_unit() -> None:
    unit = DOCS / "operating/scsi-snap.service"
    found = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert found.returncode == 0 and found.stderr == ""


def test_the_catalog_is_documented() -> None:
    text = (DOCS / "formats/catalog.md").read_text()
    assert f"`{FORMAT}`" in text and f"\n| {VERSION} | " in text.partition("## Versions")[2]
