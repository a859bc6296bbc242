"""A disk to talk to: a raid5 pool over four file members, a volume, a target with LUN 0."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conformance import initiator
from tests.daemon import Daemon

TARGET = "iqn.2026-11.org.example:disk"


@dataclass(frozen=True)
class Disk:
    """`tank/vol0` as LUN 0 of a target."""

    daemon: Daemon
    size_bytes: int
    target: str = TARGET
    volume: str = "tank/vol0"

    @property
    def url(self) -> str:
        return self.daemon.url(self.target, 0)

    def snapshot(self, name: str) -> str:
        """Takes a snapshot; its whole name."""
        whole = f"{self.volume}@{name}"
        self.daemon("snapshot", "create", whole)
        return whole

    def map(self, lun: int, backing: str) -> str:
        """Maps a volume or a snapshot; its URL."""
        self.daemon("lun", "map", self.target, lun, backing)
        return self.daemon.url(self.target, lun)


@pytest.fixture(autouse=True)
def _tools() -> None:
    missing = [tool for tool in initiator.TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.fail(f"{', '.join(missing)} not found; `make test` installs them")


@pytest.fixture(scope="module")
def shared_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    """One disk for all tests of a module, which must not mind what the others left on it."""
    directory = tmp_path_factory.mktemp("shared")
    with Daemon(directory) as daemon:
        make_pool(daemon, directory)
        yield make_disk(daemon)


@pytest.fixture(scope="module")
def shared_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that has the pool and nothing else. A daemon takes a second to start."""
    directory = tmp_path_factory.mktemp("shared-pool")
    with Daemon(directory) as daemon:
        make_pool(daemon, directory)
        yield daemon


@pytest.fixture
def disk(shared_pool: Daemon) -> Iterator[Disk]:
    """A new disk for one test, in the pool of its module, which is emptied afterwards."""
    yield make_disk(shared_pool)
    for target in shared_pool.json("target", "list"):
        shared_pool("target", "delete", "--close-sessions", target["name"])
    for volume in shared_pool.json("volume", "list"):
        shared_pool("volume", "delete", "--snapshots", volume["name"])


def make_pool(daemon: Daemon, directory: Path) -> None:
    # Sparse files, and room enough for all that the snapshots of a test preserve.
    members = [f"{directory / name}:256MiB" for name in ("m0", "m1", "m2", "m3")]
    daemon("pool", "create", "tank", "--level", "raid5", "--strip", "64KiB", *members)


def make_disk(daemon: Daemon) -> Disk:
    daemon("volume", "create", "tank/vol0", "96MiB")
    daemon("target", "create", TARGET)
    daemon("lun", "map", TARGET, 0, "tank/vol0")
    return Disk(daemon, size_bytes=96 << 20)
