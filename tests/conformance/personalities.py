"""Logical units of four kinds, each at two portals, for every test of libiscsi's suite."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conformance.conftest import TARGET, make_pool
from tests.conformance.libiscsi_suite import Unit
from tests.daemon import Daemon

VOLUMES = {
    "thin": ["64MiB"],
    "fully provisioned": ["64MiB", "--provisioning", "full", "--block-size", "4096"],
    "removable": ["64MiB", "--removable"],
}
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
            daemon("volume", "create", f"tank/vol{number}", *options)
        daemon("volume", "create", "tank/origin", "64MiB")
        daemon("snapshot", "create", "tank/origin@fixed")
        backings[SNAPSHOT] = "tank/origin@fixed"
        found = {}
        for lun, (personality, backing) in enumerate(backings.items()):
            daemon("lun", "map", TARGET, lun, backing)
            found[personality] = Unit(*daemon.urls(TARGET, lun))
        yield found
