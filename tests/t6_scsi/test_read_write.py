"""READ and WRITE in every CDB size: bus traces."""

import pytest

from tests.t6_scsi.bus import Bus, make_bus
from tests.t6_scsi.fakes import CodedFailure, HollowDevice, MemoryDevice
from tests.t6_scsi.senses import (
    INTERNAL_FAILURE,
    INVALID_FIELD_IN_INFORMATION_UNIT,
    LBA_OUT_OF_RANGE,
    LUN_NOT_SUPPORTED,
    NO_SPACE,
    READ_ERROR,
    WRITE_ERROR,
    WRITE_PROTECTED,
    fixed,
    in_cdb,
)

READ_3_BLOCKS_AT_5 = {
    "READ (6)": [0x08, 0x00, 0x00, 0x05, 0x03, 0x00],
    "READ (10)": [0x28, 0x00, *[0, 0, 0, 5], 0x00, *[0, 3], 0x00],
    "READ (12)": [0xA8, 0x00, *[0, 0, 0, 5], *[0, 0, 0, 3], 0x00, 0x00],
    "READ (16)": [0x88, 0x00, *[0] * 7, 5, *[0, 0, 0, 3], 0x00, 0x00],
}
WRITE_2_BLOCKS_AT_7 = {
    "WRITE (6)": [0x0A, 0x00, 0x00, 0x07, 0x02, 0x00],
    "WRITE (10)": [0x2A, 0x00, *[0, 0, 0, 7], 0x00, *[0, 2], 0x00],
    "WRITE (12)": [0xAA, 0x00, *[0, 0, 0, 7], *[0, 0, 0, 2], 0x00, 0x00],
    "WRITE (16)": [0x8A, 0x00, *[0] * 7, 7, *[0, 0, 0, 2], 0x00, 0x00],
}


def with_byte(cdb: list[int], byte: int, value: int) -> list[int]:
    return [*cdb[:byte], value, *cdb[byte + 1 :]]


@pytest.mark.parametrize("cdb", READ_3_BLOCKS_AT_5.values(), ids=READ_3_BLOCKS_AT_5)
def test_read_returns_the_blocks_asked_for(bus_of: Bus, cdb: list[int]) -> None:
    device = bus_of.device
    assert bus_of.good(cdb) == device.filled(5) + device.filled(6) + device.filled(7)
    assert device.calls == [("read", 5, 3)]


@pytest.mark.parametrize("cdb", WRITE_2_BLOCKS_AT_7.values(), ids=WRITE_2_BLOCKS_AT_7)
def test_write_changes_those_blocks_only(bus_of: Bus, cdb: list[int]) -> None:
    device = bus_of.device
    data = b"x" * device.block_bytes + b"y" * device.block_bytes
    status, sense, data_in, wanted = bus_of.command(cdb, data)
    assert (status, sense, data_in, wanted) == (0, b"", b"", len(data))
    assert device.block(6) == device.filled(6)
    assert device.block(7) + device.block(8) == data
    assert device.block(9) == device.filled(9)
    assert device.calls == [("write", 7, 2)]


def test_read_6_of_zero_blocks_means_256() -> None:
    """SBC-2: a TRANSFER LENGTH of zero is 256 blocks in the six-byte commands."""
    bus = make_bus(MemoryDevice(blocks=300))
    assert len(bus.good([0x08, 0x00, 0x00, 0x01, 0x00, 0x00])) == 256 * 512
    assert bus.device.calls == [("read", 1, 256)]


def test_read_6_has_21_bits_of_lba(bus: Bus) -> None:
    cdb = [0x08, 0x1F, 0xFF, 0xFF, 0x01, 0x00]
    assert bus.refused(cdb) == fixed(LBA_OUT_OF_RANGE, information=0x1FFFFF)


def test_zero_blocks_transfer_nothing(bus: Bus) -> None:
    assert bus.good([0x28, 0, *[0, 0, 0, 64], 0, *[0, 0], 0]) == b""
    assert bus.good([0x2A, 0, *[0, 0, 0, 0], 0, *[0, 0], 0]) == b""
    assert bus.device.calls == []


@pytest.mark.parametrize(
    ("lba", "blocks", "first_outside"),
    [(63, 2, 64), (64, 1, 64), (65, 0, 65), (1 << 31, 1, 1 << 31)],
)
@pytest.mark.parametrize("opcode", [0x28, 0x2A, 0x2F])
def test_past_the_end(bus: Bus, opcode: int, lba: int, blocks: int, first_outside: int) -> None:
    """LBA OUT OF RANGE; INFORMATION is the first LBA that is not there."""
    cdb = [opcode, 0, *lba.to_bytes(4, "big"), 0, *blocks.to_bytes(2, "big"), 0]
    data_out = bytes(1024) if opcode == 0x2A else b""
    assert bus.refused(cdb, data_out) == fixed(LBA_OUT_OF_RANGE, information=first_outside)
    assert bus.device.calls == []


def test_an_lba_of_more_than_32_bits_does_not_fit_fixed_format(bus: Bus) -> None:
    """SPC-4, 4.5.3: VALID is zero then."""
    cdb = [0x88, 0, *[0xFF] * 8, *[0, 0, 0, 1], 0, 0]
    assert bus.refused(cdb) == fixed(LBA_OUT_OF_RANGE)


@pytest.mark.parametrize("cdb", [*list(READ_3_BLOCKS_AT_5.values())[1:]])
def test_rdprotect_is_refused(bus: Bus, cdb: list[int]) -> None:
    """No protection information: RDPROTECT must be zero (SBC-3)."""
    assert bus.refused(with_byte(cdb, 1, 0x20)) == in_cdb(1, bit=7)


@pytest.mark.parametrize("cdb", [*list(WRITE_2_BLOCKS_AT_7.values())[1:]])
def test_wrprotect_is_refused(bus: Bus, cdb: list[int]) -> None:
    assert bus.refused(with_byte(cdb, 1, 0xE0), bytes(1024)) == in_cdb(1, bit=7)
    assert bus.device.calls == []


def test_maximum_transfer_length_is_enforced() -> None:
    """What the Block Limits page says is what is refused: TRANSFER LENGTH is at byte 10."""
    bus = make_bus(HollowDevice(blocks=40000))
    most = int.from_bytes(bus.good([0x12, 1, 0xB0, 0, 64, 0])[8:12], "big")
    assert len(bus.good([0x88, 0, *[0] * 8, *most.to_bytes(4, "big"), 0, 0])) == most * 512
    refused = bus.refused([0x88, 0, *[0] * 8, *(most + 1).to_bytes(4, "big"), 0, 0])
    assert refused == in_cdb(10)


class TestForceUnitAccess:
    def test_a_fua_write_is_flushed(self, bus: Bus) -> None:
        bus.good([0x2A, 0x08, *[0, 0, 0, 7], 0, *[0, 1], 0], bytes(512))
        assert bus.device.calls == [("write", 7, 1), ("flush", 0, 0)]

    def test_a_fua_read_returns_what_is_durable(self, bus: Bus) -> None:
        bus.good([0x28, 0x08, *[0, 0, 0, 7], 0, *[0, 1], 0])
        assert bus.device.calls == [("flush", 0, 0), ("read", 7, 1)]

    def test_dpo_changes_nothing(self, bus: Bus) -> None:
        bus.good([0x2A, 0x10, *[0, 0, 0, 7], 0, *[0, 1], 0], bytes(512))
        assert bus.device.calls == [("write", 7, 1)]

    def test_a_fua_write_whose_flush_fails_is_not_good(self, bus: Bus) -> None:
        bus.device.fail = lambda call: "io-error" if call == "flush" else None
        cdb = [0x2A, 0x08, *[0, 0, 0, 7], 0, *[0, 1], 0]
        assert bus.refused(cdb, bytes(512)) == fixed(WRITE_ERROR)


class TestResiduals:
    """The initiator announces more or fewer bytes than the CDB says (RFC 7143, 11.4.5)."""

    def test_of_too_much_data_the_rest_is_left(self, bus: Bus) -> None:
        cdb = [0x2A, 0, *[0, 0, 0, 7], 0, *[0, 1], 0]
        assert bus.command(cdb, b"x" * 1024) == (0, b"", b"", 512)
        assert bus.device.block(8) == bus.device.filled(8)

    def test_of_too_little_data_what_came_is_written(self, bus: Bus) -> None:
        cdb = [0x2A, 0, *[0, 0, 0, 7], 0, *[0, 2], 0]
        assert bus.command(cdb, b"x" * 512) == (0, b"", b"", 1024)
        assert bus.device.calls == [("write", 7, 1)]

    def test_without_data_nothing_is_written(self, bus: Bus) -> None:
        cdb = [0x2A, 0, *[0, 0, 0, 7], 0, *[0, 1], 0]
        assert bus.command(cdb) == (0, b"", b"", 512)
        assert bus.device.calls == []

    def test_part_of_a_block_is_refused(self, bus: Bus) -> None:
        cdb = [0x2A, 0, *[0, 0, 0, 7], 0, *[0, 1], 0]
        status, sense, _, wanted = bus.command(cdb, b"x" * 200)
        assert (status, wanted) == (2, 512)
        assert sense == fixed(INVALID_FIELD_IN_INFORMATION_UNIT)
        assert bus.device.calls == []


class TestFailures:
    """Sense data by the stable code of the device's failure."""

    @pytest.mark.parametrize(
        ("code", "sense"),
        [
            ("io-error", fixed(READ_ERROR, information=7)),
            ("snapshot-invalid", fixed(READ_ERROR)),
            ("outside-snapshot", fixed(LBA_OUT_OF_RANGE)),
            ("closed", fixed(LUN_NOT_SUPPORTED)),
            ("something-new", fixed(INTERNAL_FAILURE)),
        ],
    )
    def test_of_a_read(self, bus: Bus, code: str, sense: bytes) -> None:
        bus.device.fail = lambda call: code
        assert bus.refused([0x28, 0, *[0, 0, 0, 7], 0, *[0, 1], 0]) == sense

    @pytest.mark.parametrize(
        ("code", "sense"),
        [
            ("io-error", fixed(WRITE_ERROR, information=7)),
            ("read-only", fixed(WRITE_PROTECTED)),
            ("store-full", fixed(NO_SPACE)),
            ("no-space", fixed(NO_SPACE)),
        ],
    )
    def test_of_a_write(self, bus: Bus, code: str, sense: bytes) -> None:
        bus.device.fail = lambda call: code
        assert bus.refused([0x2A, 0, *[0, 0, 0, 7], 0, *[0, 1], 0], bytes(512)) == sense

    def test_of_asking_for_the_size(self) -> None:
        class ClosedDevice(MemoryDevice):
            closed = False

            @property
            def size_bytes(self) -> int:
                if self.closed:
                    raise CodedFailure("closed")
                return super().size_bytes

        device = ClosedDevice()
        bus = make_bus(device)
        device.closed = True
        assert bus.refused([0x25, *[0] * 9]) == fixed(LUN_NOT_SUPPORTED)

    def test_a_defect_is_not_sense_data(self, bus: Bus) -> None:
        def broken(call: str) -> str | None:
            raise ZeroDivisionError

        bus.device.fail = broken
        with pytest.raises(ZeroDivisionError):
            bus.command([0x28, 0, *[0, 0, 0, 7], 0, *[0, 1], 0])


@pytest.mark.parametrize(
    "cdb",
    [
        *WRITE_2_BLOCKS_AT_7.values(),
        [0x41, 0, *[0, 0, 0, 7], 0, *[0, 1], 0],  # WRITE SAME (10)
        [0x93, 0, *[0] * 7, 7, *[0, 0, 0, 1], 0, 0],  # WRITE SAME (16)
        [0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0],  # UNMAP
    ],
)
def test_a_read_only_unit_is_write_protected(read_only_bus: Bus, cdb: list[int]) -> None:
    data_out = bytes(24) if cdb[0] == 0x42 else bytes(1024)
    assert read_only_bus.refused(cdb, data_out) == fixed(WRITE_PROTECTED)
    assert read_only_bus.device.calls == []


def test_a_read_only_unit_reads_and_synchronizes(read_only_bus: Bus) -> None:
    device = read_only_bus.device
    assert read_only_bus.good([0x28, 0, *[0, 0, 0, 7], 0, *[0, 1], 0]) == device.filled(7)
    assert read_only_bus.good([0x35, 0, *[0, 0, 0, 0], 0, *[0, 0], 0]) == b""


class TestSynchronizeCache:
    @pytest.mark.parametrize(
        "cdb",
        [
            [0x35, 0x00, *[0, 0, 0, 0], 0, *[0, 0], 0],
            [0x35, 0x02, *[0, 0, 0, 9], 0, *[0, 1], 0],  # IMMED: done all the same
            [0x91, 0x00, *[0] * 8, *[0] * 4, 0, 0],
        ],
    )
    def test_flushes(self, bus: Bus, cdb: list[int]) -> None:
        bus.good(cdb)
        assert bus.device.calls == [("flush", 0, 0)]

    def test_past_the_end(self, bus: Bus) -> None:
        cdb = [0x35, 0x00, *[0, 0, 0, 63], 0, *[0, 2], 0]
        assert bus.refused(cdb) == fixed(LBA_OUT_OF_RANGE, information=64)

    def test_a_failing_flush_is_not_good(self, bus: Bus) -> None:
        bus.device.fail = lambda call: "io-error"
        assert bus.refused([0x35, 0x00, *[0] * 8]) == fixed(WRITE_ERROR)
