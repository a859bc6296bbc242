"""Logical units of four kinds, each at two portals, for every test of libiscsi's suite."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conformance.conftest import TARGET
from tests.conformance.libiscsi_suite import Unit
from tests.daemon import Daemon

THIN, SNAPSHOT = "thin", "read-only snapshot"
VOLUMES = {
    # UnmapSingle asks for another block than it looks at where a physical block has several.
    THIN: ["--physical-block", "512"],
    "fully provisioned": ["--provisioning", "full"],
    # So here UNMAP is not what gives blocks back, and the tests of physical blocks run.
    "removable": ["--removable", "--deallocation", "write-same"],
}
SIZE = "64MiB"
PERSONALITIES = (*VOLUMES, SNAPSHOT)
SLOW = ("--erase-rate", "2MiB")


@contextmanager
def units(directory: Path) -> Iterator[dict[str, Unit]]:
    """A daemon with a unit of each personality, and one where SANITIZE takes half a minute."""
    slow_directory = directory / "slow"
    slow_directory.mkdir()
    with (
        Daemon(directory, "127.0.0.1:0", "127.0.0.1:0") as daemon,
        Daemon(slow_directory, options=SLOW) as slow,
    ):
        yield {
            personality: Unit(
                *daemon.urls(TARGET, lun),
                writable=personality != SNAPSHOT,
                slow_url=make_slow(slow, slow_directory) if personality == THIN else "",
            )
            for lun, personality in enumerate(make_units(daemon, directory))
        }


def make_units(daemon: Daemon, directory: Path) -> list[str]:
    """The personalities in the order of their LUNs."""
    # Not raid5: there a part of a stripe cannot be given back, and BlockErase looks at every block.
    members = [f"{directory / name}:384MiB" for name in ("m0", "m1")]
    daemon("pool", "create", "tank", "--level", "raid1", *members)
    daemon("target", "create", TARGET)
    backings = {}
    for number, (personality, options) in enumerate(VOLUMES.items()):
        backings[personality] = f"tank/vol{number}"
        daemon("volume", "create", f"tank/vol{number}", SIZE, *options)
    daemon("volume", "create", "tank/origin", SIZE)
    daemon("snapshot", "create", "tank/origin@fixed")
    backings[SNAPSHOT] = "tank/origin@fixed"
    for lun, backing in enumerate(backings.values()):
        daemon("lun", "map", TARGET, lun, backing)
    return list(backings)


def make_slow(daemon: Daemon, directory: Path) -> str:
    """The URL of a thin unit that takes long to sanitize."""
    daemon("pool", "create", "slow", "--level", "raid0", f"{directory / 'member'}:128MiB")
    daemon("volume", "create", "slow/vol0", SIZE, *VOLUMES[THIN])
    daemon("target", "create", TARGET)
    daemon("lun", "map", TARGET, 0, "slow/vol0")
    return daemon.url(TARGET, 0)
