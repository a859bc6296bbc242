"""VERIFY: BYTCHK 0 reads, 1 compares each block, 3 compares all with one (SBC-4, 5.36 to 5.38);
and WRITE AND VERIFY.
"""

import pytest

from tests.t6_scsi.bus import Bus, make_bus
from tests.t6_scsi.fakes import MemoryDevice
from tests.t6_scsi.senses import (
    INVALID_FIELD_IN_INFORMATION_UNIT,
    LBA_OUT_OF_RANGE,
    MISCOMPARE,
    READ_ERROR,
    WRITE_ERROR,
    WRITE_PROTECTED,
    fixed,
    in_cdb,
)


def verify(lba: int, blocks: int, byte_check: int, size: int = 10) -> list[int]:
    flags = byte_check << 1
    if size == 10:
        return [0x2F, flags, *lba.to_bytes(4, "big"), 0, *blocks.to_bytes(2, "big"), 0]
    if size == 12:
        return [0xAF, flags, *lba.to_bytes(4, "big"), *blocks.to_bytes(4, "big"), 0, 0]
    return [0x8F, flags, *lba.to_bytes(8, "big"), *blocks.to_bytes(4, "big"), 0, 0]


SIZES = pytest.mark.parametrize("size", [10, 12, 16])


@SIZES
def test_without_comparison_no_data_is_wanted(bus_of: Bus, size: int) -> None:
    assert bus_of.command(verify(5, 3, 0, size)) == (0, b"", b"", 0)
    assert bus_of.device.calls == [("read", 5, 3)]


@SIZES
def test_equal_blocks(bus_of: Bus, size: int) -> None:
    data = bus_of.device.filled(5) + bus_of.device.filled(6)
    assert bus_of.command(verify(5, 2, 1, size), data) == (0, b"", b"", len(data))


@SIZES
def test_the_first_block_that_differs_is_the_information(bus_of: Bus, size: int) -> None:
    data = bus_of.device.filled(5) + bus_of.device.filled(0)
    assert bus_of.refused(verify(5, 2, 1, size), data) == fixed(MISCOMPARE, information=6)


def test_all_with_one_block(bus: Bus) -> None:
    bus.device.data[: 4 * 512] = b"z" * 4 * 512
    assert bus.command(verify(0, 4, 3), b"z" * 512) == (0, b"", b"", 512)
    assert bus.refused(verify(0, 5, 3), b"z" * 512) == fixed(MISCOMPARE, information=4)


def test_byte_check_2_is_reserved(bus: Bus) -> None:
    assert bus.refused(verify(0, 1, 2), bytes(512)) == in_cdb(1, bit=2)


def test_vrprotect_is_refused(bus: Bus) -> None:
    assert bus.refused([0x2F, 0x20, *[0, 0, 0, 0], 0, *[0, 1], 0]) == in_cdb(1, bit=7)


def test_blocks_that_did_not_come_are_not_called_equal(bus: Bus) -> None:
    cdb = verify(5, 2, 1)
    assert bus.refused(cdb, bus.device.filled(5)) == fixed(INVALID_FIELD_IN_INFORMATION_UNIT)


def test_zero_blocks(bus: Bus) -> None:
    assert bus.command(verify(5, 0, 1)) == (0, b"", b"", 0)
    assert bus.command(verify(5, 0, 3)) == (0, b"", b"", 0)


def test_a_block_that_cannot_be_read(bus: Bus) -> None:
    bus.device.fail = lambda call: "io-error"
    assert bus.refused(verify(5, 1, 0)) == fixed(READ_ERROR, information=5)


def test_a_long_range_is_read_in_pieces() -> None:
    bus = make_bus(MemoryDevice(blocks=5000))
    bus.good(verify(1, 4999, 0))
    assert bus.device.calls == [("read", 1, 2048), ("read", 2049, 2048), ("read", 4097, 903)]


def write_and_verify(lba: int, blocks: int, byte_check: int, size: int = 10) -> list[int]:
    code = {10: 0x2E, 12: 0xAE, 16: 0x8E}[size]
    return [code, *verify(lba, blocks, byte_check, size)[1:]]


class TestWriteAndVerify:
    """SBC-4, 5.44 to 5.46."""

    @SIZES
    @pytest.mark.parametrize("byte_check", [0, 1])
    def test_the_blocks_are_written_made_durable_and_read(
        self, bus_of: Bus, size: int, byte_check: int
    ) -> None:
        data = b"v" * 2 * bus_of.device.block_bytes
        command = write_and_verify(5, 2, byte_check, size)
        assert bus_of.command(command, data) == (0, b"", b"", len(data))
        assert bus_of.device.calls == [("write", 5, 2), ("flush", 0, 0), ("read", 5, 2)]
        assert bus_of.device.block(5) + bus_of.device.block(6) == data

    def test_what_reads_otherwise_than_written(self) -> None:
        """MISCOMPARE with BYTCHK 01b; INFORMATION is the block."""

        class Forgetful(MemoryDevice):
            def write(self, offset_bytes: int, data: bytes) -> None:
                super().write(offset_bytes, data[:-512] + self.filled(0))

        bus = make_bus(Forgetful())
        sense = bus.refused(write_and_verify(5, 3, 1), b"v" * 1536)
        assert sense == fixed(MISCOMPARE, information=7)
        bus.good(write_and_verify(5, 3, 0), b"v" * 1536)

    @pytest.mark.parametrize("byte_check", [2, 3])
    def test_reserved_byte_checks(self, bus: Bus, byte_check: int) -> None:
        assert bus.refused(write_and_verify(5, 1, byte_check), bytes(512)) == in_cdb(1, bit=2)
        assert bus.device.calls == []

    def test_wrprotect_is_refused(self, bus: Bus) -> None:
        cdb = [0x2E, 0x20, *[0, 0, 0, 0], 0, *[0, 1], 0]
        assert bus.refused(cdb, bytes(512)) == in_cdb(1, bit=7)

    def test_of_too_little_data_what_came_is_written_and_verified(self, bus: Bus) -> None:
        assert bus.command(write_and_verify(5, 2, 1), b"v" * 512) == (0, b"", b"", 1024)
        assert bus.device.calls == [("write", 5, 1), ("flush", 0, 0), ("read", 5, 1)]
        sense = bus.refused(write_and_verify(5, 2, 1), b"v" * 700)
        assert sense == fixed(INVALID_FIELD_IN_INFORMATION_UNIT)

    def test_past_the_end(self, bus: Bus) -> None:
        sense = bus.refused(write_and_verify(63, 2, 1), bytes(1024))
        assert sense == fixed(LBA_OUT_OF_RANGE, information=64)
        assert bus.device.calls == []

    def test_zero_blocks_reach_no_block(self, bus: Bus) -> None:
        assert bus.command(write_and_verify(5, 0, 1)) == (0, b"", b"", 0)
        assert bus.device.calls == [("flush", 0, 0)]

    def test_a_write_protected_medium(self, read_only_bus: Bus) -> None:
        sense = read_only_bus.refused(write_and_verify(5, 1, 1), bytes(512))
        assert sense == fixed(WRITE_PROTECTED)

    @pytest.mark.parametrize(
        ("fails", "code", "information"),
        [("write", WRITE_ERROR, 5), ("flush", WRITE_ERROR, None), ("read", READ_ERROR, 5)],
    )
    def test_a_failure(
        self, bus: Bus, fails: str, code: tuple[int, int, int], information: int | None
    ) -> None:
        bus.device.fail = lambda call: "io-error" if call == fails else None
        sense = bus.refused(write_and_verify(5, 1, 1), bytes(512))
        assert sense == fixed(code, information=information)
