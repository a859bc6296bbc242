"""After a stop or a kill -9 the daemon comes back with everything as it was."""

from pathlib import Path
from typing import Any

import pytest

from tests.conformance.conftest import Disk, make_disk, make_pool
from tests.conformance.initiator import digest_of_unit, qemu_io
from tests.daemon import Daemon

pytestmark = pytest.mark.conformance


@pytest.fixture
def disk(daemon: Daemon, tmp_path: Path) -> Disk:
    """On a daemon that the test may stop and kill."""
    make_pool(daemon, tmp_path)
    return make_disk(daemon)


def inventory(daemon: Daemon) -> dict[str, Any]:
    """What the user would see, without what may differ from start to start."""
    pools = [
        {key: value for key, value in one.items() if key != "free_bytes"}
        for one in daemon.json("pool", "list")
    ]
    targets = [
        {key: value for key, value in one.items() if key != "sessions"}
        for one in daemon.json("target", "list")
    ]
    volumes = daemon.json("volume", "list")
    settled = [{**one, "store_capacity_bytes": 0, "store_used_bytes": 0} for one in volumes]
    return {
        "pools": pools,
        "volumes": settled,
        "snapshots": daemon.json("snapshot", "list"),
        "targets": targets,
        "luns": daemon.json("lun", "list"),
    }


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_everything_is_there_again(disk: Disk, tmp_path: Path, end: str) -> None:
    scratch = tmp_path / "scratch"
    qemu_io(disk.url, "write -P 1 0 4M", "flush")
    snapshot = disk.snapshot("first")
    url = disk.map(1, snapshot)
    qemu_io(disk.url, "write -P 2 1M 1M", "write -P 3 20M 256k", "flush")
    before = inventory(disk.daemon)
    diff = disk.daemon.json("snapshot", "diff", snapshot)
    digests = [digest_of_unit(unit, scratch) for unit in (disk.url, url)]
    getattr(disk.daemon, end)()
    disk.daemon.start()
    assert inventory(disk.daemon) == before
    assert disk.daemon.json("snapshot", "diff", snapshot) == diff
    assert [digest_of_unit(unit, scratch) for unit in (disk.url, url)] == digests
    assert '"problems": []' in disk.daemon("check", "--json")


def test_what_was_flushed_survives_a_kill_again_and_again(disk: Disk) -> None:
    url = disk.map(1, disk.snapshot("empty"))
    for number in range(1, 6):
        qemu_io(disk.url, f"write -P {number} {number}M 512k", "flush")
        disk.daemon.kill()
        disk.daemon.start()
        qemu_io(disk.url, *(f"read -P {past} {past}M 512k" for past in range(1, number + 1)))
        qemu_io(url, "read -P 0 0 96M", read_only=True)


def test_a_write_through_survives_a_kill(disk: Disk) -> None:
    qemu_io(disk.url, "write -f -P 7 5M 64k")
    disk.daemon.kill()
    disk.daemon.start()
    qemu_io(disk.url, "read -P 7 5M 64k")


def test_a_pool_is_imported_from_its_members_alone(disk: Disk, tmp_path: Path) -> None:
    qemu_io(disk.url, "write -P 9 3M 1M", "flush")
    snapshot = disk.snapshot("kept")
    disk.daemon.stop()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with Daemon(elsewhere) as other:
        other("pool", "import", *(tmp_path / name for name in ("m3", "m1", "m0", "m2")))
        other("target", "create", disk.target)
        other("lun", "map", disk.target, 0, disk.volume)
        other("lun", "map", disk.target, 1, snapshot)
        for lun in (0, 1):
            url = other.url(disk.target, lun)
            qemu_io(url, "read -P 9 3M 1M", "read -P 0 4M 1M", read_only=True)


def test_a_raid5_pool_goes_on_without_a_member(disk: Disk) -> None:
    qemu_io(disk.url, "write -P 5 0 8M", "flush")
    snapshot_url = disk.map(1, disk.snapshot("whole"))
    members = disk.daemon.json("pool", "show", "tank")["members"]
    disk.daemon("pool", "fail-member", "tank", members[2]["name"], "--yes")
    assert disk.daemon.json("pool", "show", "tank")["state"] == "degraded"
    qemu_io(disk.url, "read -P 5 0 8M", "write -P 6 2M 4M", "flush", "read -P 6 2M 4M")
    qemu_io(snapshot_url, "read -P 5 0 8M", read_only=True)
    disk.daemon.kill()
    disk.daemon.start()
    qemu_io(disk.url, "read -P 5 0 2M", "read -P 6 2M 4M", "read -P 5 6M 2M")
    qemu_io(snapshot_url, "read -P 5 0 8M", read_only=True)
