"""After SANITIZE no byte of what the volume once held is in any member: not in its blocks, not in
the preserved chunks of a snapshot that was deleted, not in the log of atomic writes, not in parity.

The members' files are searched for a marker that was in every block.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast
from uuid import UUID

import pytest

from scsi_snap import _native
from scsi_snap.inventory.native import NativePool
from scsi_snap.inventory.native_data_path import NativeDataPath
from scsi_snap.inventory.pools import PoolHandle
from scsi_snap.inventory.volume_eraser import VolumeEraser
from scsi_snap.scsi.identity import Identity, Personality
from scsi_snap.scsi.logical_unit import LogicalUnit
from scsi_snap.scsi.nexus import TargetPort
from scsi_snap.scsi.target import Target
from tests.native import MIB, runtime, scratch
from tests.t6_scsi.bus import expecting, initiator
from tests.t6_scsi.held import join_background

MARKER = b"\xd5*marker*\xa3"
SIZE = 8 * MIB
NEXUS = 1
MEMBERS = {"raid0": 1, "raid1": 2, "raid5": 3}
BLOCK_ERASE = bytes([0x48, 0x02, *[0] * 8]), b""
OVERWRITE = bytes([0x48, 0x01, 0, 0, 0, 0, 0, 0, 8, 0]), b"\x01\x00\x00\x04WIPE"


class NativeParts(NativeDataPath):
    """The data path over the process's one runtime."""

    def __init__(self) -> None:
        self.runtime = runtime()
        self.driver = self.runtime.driver
        self.threads = 2


class Disk:
    def __init__(self, directory: Path, level: str) -> None:
        self.paths = [directory / f"m{index}" for index in range(MEMBERS[level])]
        members: list[tuple[str, int | None]] = [(str(path), 64 * MIB) for path in self.paths]
        self.data_path = data_path = NativeParts()
        self.pool: NativePool = data_path.create_pool("tank", level, 65536, members)
        self.pool.create_volume("vol0", SIZE, 512, 16384, "drop-snapshot", None, {})
        self.handle = PoolHandle(data_path, self.pool)
        (volume,) = self.handle.volumes()
        self.device = cast("_native.Device", self.pool.device("vol0", None))
        unit = LogicalUnit(
            self.device,
            Personality(Identity(UUID(volume.id))),
            eraser=VolumeEraser(self.handle, volume.id),
        )
        self.target = Target(TargetPort("iqn.2026-11.org.example:disk"))
        self.target.add_unit(0, unit)
        self.target.nexus_begins(NEXUS, initiator(NEXUS))
        self.execute(bytes(6))

    def execute(self, cdb: bytes, data: bytes = b"") -> tuple[int, bytes]:
        return self.target.execute(NEXUS, 0, cdb, 0, data, expecting(data))[:2]

    def marked(self) -> bool:
        """Whether any member holds the marker anywhere."""
        return any(MARKER in path.read_bytes() for path in self.paths)


@pytest.fixture(params=sorted(MEMBERS))
def disk(request: pytest.FixtureRequest) -> Iterator[Disk]:
    with scratch() as directory:
        made = Disk(Path(directory), request.param)
        try:
            yield made
        finally:
            made.target.remove_unit(0)
            made.pool.close()


def fill(disk: Disk, variant: int) -> None:
    """The marker in every block, in other company each time."""
    block = (bytes([variant]) * 100 + MARKER).ljust(512, bytes([variant]))
    disk.device.write(0, block * (SIZE // 512))


@pytest.mark.parametrize("method", [BLOCK_ERASE, OVERWRITE], ids=["erase", "overwrite"])
def test_nothing_is_left(disk: Disk, method: tuple[bytes, bytes]) -> None:
    fill(disk, 1)
    disk.data_path.create_snapshots([(disk.pool, "vol0", "then", None)])
    fill(disk, 2)
    disk.device.write_atomic(0, (MARKER * 410)[:4096])
    disk.device.flush()
    refused = disk.execute(*method)
    assert (refused[0], refused[1][12]) == (2, 0x2C), "there is a snapshot"
    disk.pool.delete_snapshot("vol0", "then")
    disk.device.flush()
    assert disk.marked(), "the test looks where data is"
    disk.execute(*method)
    join_background()
    assert disk.execute(bytes(6)) == (0, b"")
    assert not disk.marked()
    expected = b"WIPE" if method is OVERWRITE else bytes(4)
    assert disk.device.read(0, SIZE) == expected * (SIZE // 4)
