"""PRE-FETCH and SYNCHRONIZE CACHE: bus traces (SBC-4, 5.13, 5.14, 5.33, 5.34)."""

import pytest

from tests.t6_scsi.bus import CONDITION_MET, GOOD, Bus, make_bus
from tests.t6_scsi.fakes import HollowDevice
from tests.t6_scsi.senses import LBA_OUT_OF_RANGE, READ_ERROR, WRITE_ERROR, fixed, in_cdb

SIZES = pytest.mark.parametrize("size", [10, 16])
IMMED = 0x02


def cdb_of(opcodes: tuple[int, int], size: int, lba: int, blocks: int, flags: int) -> list[int]:
    if size == 10:
        return [opcodes[0], flags, *lba.to_bytes(4, "big"), 0, *blocks.to_bytes(2, "big"), 0]
    return [opcodes[1], flags, *lba.to_bytes(8, "big"), *blocks.to_bytes(4, "big"), 0, 0]


def pre_fetch(size: int, lba: int, blocks: int, flags: int = 0) -> list[int]:
    return cdb_of((0x34, 0x90), size, lba, blocks, flags)


def synchronize(size: int, lba: int, blocks: int, flags: int = 0) -> list[int]:
    return cdb_of((0x35, 0x91), size, lba, blocks, flags)


class TestPreFetch:
    @SIZES
    @pytest.mark.parametrize("flags", [0, IMMED])
    def test_blocks_that_fit(self, bus_of: Bus, size: int, flags: int) -> None:
        """CONDITION MET: they were read, and no data goes to the initiator."""
        assert bus_of.command(pre_fetch(size, 5, 3, flags)) == (CONDITION_MET, b"", b"", 0)
        assert bus_of.device.calls == [("read", 5, 3)]

    @SIZES
    def test_a_length_of_zero_means_to_the_last_block(self, bus: Bus, size: int) -> None:
        assert bus.command(pre_fetch(size, 60, 0))[0] == CONDITION_MET
        assert bus.command(pre_fetch(size, 64, 0))[0] == CONDITION_MET
        assert bus.device.calls == [("read", 60, 4)]

    def test_what_does_not_fit(self) -> None:
        """GOOD, and as many blocks as fit are read."""
        bus = make_bus(HollowDevice(blocks=40000))
        assert bus.command(pre_fetch(16, 1, 0)) == (GOOD, b"", b"", 0)
        assert sum(blocks for _, _, blocks in bus.device.calls) == 32768
        assert all(blocks <= 2048 for _, _, blocks in bus.device.calls)

    def test_maximum_prefetch_length_is_enforced(self) -> None:
        """SBC-4, 4.34: INVALID FIELD IN CDB."""
        bus = make_bus(HollowDevice(blocks=40000))
        most = int.from_bytes(bus.good([0x12, 1, 0xB0, 0, 64, 0])[16:20], "big")
        assert bus.command(pre_fetch(16, 0, most))[0] == CONDITION_MET
        assert bus.refused(pre_fetch(16, 0, most + 1)) == in_cdb(10)
        assert bus.refused(pre_fetch(10, 0, most + 1)) == in_cdb(7)

    @SIZES
    @pytest.mark.parametrize(("lba", "blocks", "outside"), [(63, 2, 64), (65, 0, 65)])
    def test_past_the_end(self, bus: Bus, size: int, lba: int, blocks: int, outside: int) -> None:
        sense = bus.refused(pre_fetch(size, lba, blocks))
        assert sense == fixed(LBA_OUT_OF_RANGE, information=outside)
        assert bus.device.calls == []

    def test_a_block_that_cannot_be_read(self, bus: Bus) -> None:
        bus.device.fail = lambda call: "io-error"
        assert bus.refused(pre_fetch(10, 5, 1)) == fixed(READ_ERROR, information=5)


class TestSynchronizeCache:
    @SIZES
    @pytest.mark.parametrize("flags", [0, IMMED])
    def test_everything_is_made_durable(self, bus: Bus, size: int, flags: int) -> None:
        assert bus.command(synchronize(size, 5, 3, flags)) == (GOOD, b"", b"", 0)
        assert bus.device.calls == [("flush", 0, 0)]

    @SIZES
    def test_past_the_end(self, bus: Bus, size: int) -> None:
        sense = bus.refused(synchronize(size, 63, 2))
        assert sense == fixed(LBA_OUT_OF_RANGE, information=64)

    def test_a_failure_names_no_block(self, bus: Bus) -> None:
        bus.device.fail = lambda call: "io-error"
        assert bus.refused(synchronize(10, 0, 0)) == fixed(WRITE_ERROR)
