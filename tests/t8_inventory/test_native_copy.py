"""EXTENDED COPY and FORMAT UNIT over the built data path: volumes of both block lengths, and a
snapshot that neither changes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from scsi_snap import _native
from scsi_snap.scsi import lun_address
from scsi_snap.scsi.identity import Identity, Personality
from scsi_snap.scsi.logical_unit import LogicalUnit
from scsi_snap.scsi.nexus import TargetPort
from scsi_snap.scsi.target import Target
from tests.native import MIB, runtime, scratch
from tests.t6_scsi.bus import expecting, initiator
from tests.t6_scsi.test_extended_copy import (
    PAD,
    blocks_segment,
    bytes_segment,
    copy_list,
    extended_copy,
    naa_cscd,
)

SIZE = 4 * MIB
NEXUS = 1
CONTENT = random.Random(7).randbytes(SIZE)
FORMAT_UNIT = bytes([0x04, 0, 0, 0, 0, 0])


class Copies:
    """LUN 0: blocks of 512 bytes, full of `CONTENT`. LUN 1: of 4096, empty, with a snapshot."""

    def __init__(self, directory: Path) -> None:
        members: list[tuple[str, int | None]] = [
            (str(directory / f"m{n}"), 64 * MIB) for n in (0, 1)
        ]
        self.pool = _native.Pool.create(runtime(), "tank", "raid1", 65536, members)
        self.pool.create_volume("a", SIZE, 512, 16384, "drop-snapshot", None, {})
        self.pool.create_volume("b", SIZE, 4096, 16384, "drop-snapshot", None, {})
        self.devices = [self.pool.device(name, None) for name in ("a", "b")]
        self.target = Target(TargetPort("iqn.2026-11.org.example:disk"))
        self.units = [
            LogicalUnit(device, Personality(Identity(UUID(int=number + 1))))
            for number, device in enumerate(self.devices)
        ]
        for number, unit in enumerate(self.units):
            self.target.add_unit(number, unit)
        self.target.nexus_begins(NEXUS, initiator(NEXUS))
        for lun in (0, 1):
            while self.execute(lun, bytes(6))[0]:
                pass
        self.devices[0].write(0, CONTENT)
        _native.Pool.create_snapshots([(self.pool, "b", "empty", None)])
        self.snapshot = self.pool.device("b", "empty")

    def execute(self, lun: int, cdb: bytes, data: bytes = b"") -> tuple[int, bytes]:
        return self.target.execute(NEXUS, lun_address.encode(lun), cdb, 0, data, expecting(data))[
            :2
        ]

    def copy(self, *segments: bytes) -> None:
        cscds = [naa_cscd(self.units[0]), naa_cscd(self.units[1], 4096, PAD)]
        data = copy_list(cscds, [*segments])
        assert self.execute(0, bytes(extended_copy(len(data))), data) == (0, b"")


@pytest.fixture
def copies() -> Iterator[Copies]:
    with scratch() as directory:
        made = Copies(Path(directory))
        try:
            yield made
        finally:
            made.pool.close()


def test_whole_blocks(copies: Copies) -> None:
    copies.copy(blocks_segment(0, 1, 4096, 0, 1), blocks_segment(0, 1, 8, 800, 900))
    expected = bytearray(SIZE)
    expected[4096 : 4096 + 2 * MIB] = CONTENT[: 2 * MIB]
    expected[900 * 4096 : 901 * 4096] = CONTENT[800 * 512 : 808 * 512]
    assert copies.devices[1].read(0, SIZE) == expected
    assert copies.snapshot.read(0, SIZE) == bytes(SIZE)


def test_any_bytes(copies: Copies) -> None:
    copies.copy(bytes_segment(0, 1, 100_001, (7, 13), (9, 77)))
    expected = bytearray(SIZE)
    start = 9 * 4096 + 77
    expected[start : start + 100_001] = CONTENT[7 * 512 + 13 :][:100_001]
    assert copies.devices[1].read(0, SIZE) == expected
    assert copies.snapshot.read(0, SIZE) == bytes(SIZE)


def test_a_format_is_a_write(copies: Copies) -> None:
    copies.copy(blocks_segment(0, 1, 8000, 0, 0))
    _native.Pool.create_snapshots([(copies.pool, "b", "full", None)])
    before = copies.devices[1].read(0, SIZE)
    assert copies.execute(1, FORMAT_UNIT) == (0, b"")
    assert copies.devices[1].read(0, SIZE) == bytes(SIZE)
    assert copies.pool.device("b", "full").read(0, SIZE) == before
