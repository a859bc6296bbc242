"""Logical units of four kinds, each at two portals, for every test of libiscsi's suite."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conformance.conftest import TARGET, make_pool
from tests.conformance.libiscsi_suite import Unit
from tests.daemon import Daemon

VOLUMES = {
    # UnmapSingle asks for another block than it looks at where a physical block has several.
    "thin": ["--physical-block", "512"],
    "fully provisioned": ["--provisioning", "full", "--block", "4096"],
    # So here UNMAP is not what gives blocks back, and the tests of physical blocks run.
    "removable": ["--removable", "--deallocation", "write-same"],
}
SIZE = "64MiB"
SNAPSHOT = "read-only snapshot"
PERSONALITIES = (*VOLUMES, SNAPSHOT)


@contextmanager
def units(directory: Path) -> Iterator[dict[str, Unit]]:
    """A daemon with a unit of each personality."""
    with Daemon(directory, "127.0.0.1:0", "127.0.0.1:0") as daemon:
        make_pool(daemon, directory)
        daemon("target", "create", TARGET)
        backings = {}
        for number, (personality, options) in enumerate(VOLUMES.items()):
            backings[personality] = f"tank/vol{number}"
            daemon("volume", "create", f"tank/vol{number}", SIZE, *options)
        daemon("volume", "create", "tank/origin", SIZE)
        daemon("snapshot", "create", "tank/origin@fixed")
        backings[SNAPSHOT] = "tank/origin@fixed"
        found = {}
        for lun, (personality, backing) in enumerate(backings.items()):
            daemon("lun", "map", TARGET, lun, backing)
            found[personality] = Unit(*daemon.urls(TARGET, lun), personality != SNAPSHOT)
        yield found
