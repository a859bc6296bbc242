"""A disk is what was chosen, to an initiator, whatever happens to the daemon."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.conformance.conftest import TARGET, make_disk, make_pool
from tests.daemon import Daemon

pytestmark = pytest.mark.conformance

NAA = "5000c50000000001"
OTHER_NAA = "6001405abcdef0123456789abcdef012"


def inquiry(url: str) -> dict[str, str]:
    """What iscsi-inq says of a unit: vendor, product, serial, naa, removable."""

    def asked(*arguments: str) -> str:
        command = ["iscsi-inq", *arguments, url]
        run = subprocess.run(command, check=True, capture_output=True, timeout=60)
        # Binary designators are printed as they are.
        return run.stdout.decode("latin-1")

    standard = asked()
    identification = asked("-e", "1", "-c", "131")
    found = {
        "vendor": re.search(r"Vendor:(.*)", standard),
        "product": re.search(r"Product:(.*)", standard),
        "removable": re.search(r"Removable:(.*)", standard),
        "serial": re.search(r"Unit Serial Number:\[(.*)\]", asked("-e", "1", "-c", "128")),
        "naa": re.search(r"naa\.([0-9a-f]+)", identification),
    }
    assert all(found.values()), f"{found}\n{standard}\n{identification}"
    return {name: match[1].strip() for name, match in found.items() if match}


def test_a_disk_is_what_was_chosen_after_a_kill_and_elsewhere(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        make_pool(daemon, tmp_path)
        chosen = ("--vendor", "ACME", "--product", "DISK", "--serial", "A1", "--naa", NAA)
        daemon("volume", "create", "tank/b", "8MiB", "--block", "4096", "--removable", *chosen)
        daemon("snapshot", "create", "tank/b@monday")
        make_disk(daemon)
        daemon("lun", "map", TARGET, 1, "tank/b")
        daemon("lun", "map", TARGET, 2, "tank/b@monday")
        first, second, third = (daemon.url(TARGET, lun) for lun in range(3))
        assert inquiry(first)["vendor"] == "SCSISNAP"
        told = inquiry(second)
        assert told == {
            "vendor": "ACME",
            "product": "DISK",
            "removable": "1",
            "serial": "A1",
            "naa": NAA,
        }
        snapshot = inquiry(third)
        assert (snapshot["vendor"], snapshot["product"]) == ("ACME", "DISK")
        assert snapshot["serial"] not in ("A1", inquiry(first)["serial"])
        assert snapshot["naa"] not in (NAA, inquiry(first)["naa"])

        daemon.kill()
        daemon.start()
        assert [inquiry(url) for url in (second, third)] == [told, snapshot]

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with Daemon(elsewhere) as other:
        other("pool", "import", *(tmp_path / f"m{number}" for number in range(4)))
        other("target", "create", TARGET)
        other("lun", "map", TARGET, 5, "tank/b")
        assert inquiry(other.url(TARGET, 5)) == told


def test_a_disk_changes_while_initiators_are_there(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        make_pool(daemon, tmp_path)
        disk = make_disk(daemon)
        before = inquiry(disk.url)
        chosen = ("--vendor", "ACME", "--serial", "A2", "--naa", OTHER_NAA, "--removable")
        daemon("volume", "set", disk.volume, *chosen)
        after = {**before, "vendor": "ACME", "serial": "A2", "naa": OTHER_NAA, "removable": "1"}
        assert inquiry(disk.url) == after
        daemon.kill()
        daemon.start()
        assert inquiry(disk.url) == after
