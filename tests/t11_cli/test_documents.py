"""What docs/operating and docs/formats say is what the tables say."""

from __future__ import annotations

import re
from pathlib import Path

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


def test_the_catalog_is_documented() -> None:
    text = (DOCS / "formats/catalog.md").read_text()
    assert f"`{FORMAT}`" in text and f"\n| {VERSION} | " in text.partition("## Versions")[2]
