"""What libiscsi's tools see of a target and its logical units."""

import re

import pytest

from tests.conformance.conftest import TARGET, Disk
from tests.conformance.initiator import ToolFailedError, run

pytestmark = pytest.mark.conformance


def test_iscsi_ls_lists_targets_and_units(disk: Disk) -> None:
    disk.map(7, disk.snapshot("monday"))
    listing = run("iscsi-ls", "--show-luns", f"iscsi://{disk.daemon.address}/")
    assert f"Target:{TARGET} Portal:{disk.daemon.address}," in listing
    luns = re.findall(r"^Lun:(\d+)\s+Type:(\w+)", listing, re.MULTILINE)
    assert luns == [("0", "DIRECT_ACCESS"), ("7", "DIRECT_ACCESS")]


def test_iscsi_ls_lists_every_target(disk: Disk) -> None:
    other = "iqn.2026-11.org.example:other"
    disk.daemon("target", "create", other)
    listing = run("iscsi-ls", f"iscsi://{disk.daemon.address}/")
    assert sorted(re.findall(r"Target:(\S+)", listing)) == [TARGET, other]


def test_standard_inquiry(disk: Disk) -> None:
    said = run("iscsi-inq", disk.url)
    assert re.search(r"Peripheral Qualifier:CONNECTED", said)
    assert re.search(r"Peripheral Device Type:DIRECT_ACCESS", said)
    assert re.search(r"CmdQue:1", said)


@pytest.mark.parametrize(
    ("page", "has"),
    [
        (0x00, r"^Page:0xb2 LOGICAL_BLOCK_PROVISIONING$"),
        (0x80, r"^Unit Serial Number:\[\S+\]$"),
        (0x83, r"^Designator Type:\(3\) NAA$"),
        (0xB0, r"^maximum unmap lba count:[1-9]\d*$"),
        (0xB1, r"^Medium Rotation Rate:"),
        (0xB2, r"^lbpu:1$"),
    ],
)
def test_vital_product_data(disk: Disk, page: int, has: str) -> None:
    said = run("iscsi-inq", "-e", "1", "-c", page, disk.url)
    assert re.search(has, said, re.MULTILINE), said


def test_a_snapshot_and_its_origin_are_different_units(disk: Disk) -> None:
    url = disk.map(1, disk.snapshot("monday"))
    serials = [run("iscsi-inq", "-e", "1", "-c", 0x80, unit) for unit in (disk.url, url)]
    assert serials[0] != serials[1]


def test_a_unit_that_is_not_there_is_refused(disk: Disk) -> None:
    with pytest.raises(ToolFailedError):
        run("qemu-img", "info", disk.daemon.url(TARGET, 5))


def test_a_target_that_is_not_there_is_refused(disk: Disk) -> None:
    with pytest.raises(ToolFailedError, match="Target not found"):
        run("iscsi-inq", disk.daemon.url("iqn.2026-11.org.example:nobody", 0))


def test_chap_lets_in_who_knows_the_secret(disk: Disk) -> None:
    closed = "iqn.2026-11.org.example:closed"
    secret = "a-secret-of-many-bytes"
    disk.daemon("target", "create", closed)
    disk.daemon("target", "chap", closed, "--user", "backup", "--secret", secret)
    disk.daemon("lun", "map", closed, 0, disk.volume)
    unit = f"{disk.daemon.address}/{closed}/0"
    run("iscsi-inq", f"iscsi://backup%{secret}@{unit}")
    for login in (f"backup%not-{secret}@", f"nobody%{secret}@", ""):
        with pytest.raises(ToolFailedError):
            run("iscsi-inq", f"iscsi://{login}{unit}")
