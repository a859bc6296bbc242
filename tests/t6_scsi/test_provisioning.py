"""UNMAP and WRITE SAME."""

import pytest

from tests.t6_scsi.bus import Bus, make_bus
from tests.t6_scsi.fakes import HollowDevice, MemoryDevice
from tests.t6_scsi.senses import (
    INVALID_FIELD_IN_INFORMATION_UNIT,
    INVALID_OPCODE,
    LBA_OUT_OF_RANGE,
    LIST_LENGTH_ERROR,
    NO_SPACE,
    fixed,
    in_cdb,
    in_list,
)


def unmap_list(*ranges: tuple[int, int]) -> bytes:
    """SBC-3: data length, block descriptor data length, descriptors."""
    body = b"".join(
        lba.to_bytes(8, "big") + blocks.to_bytes(4, "big") + bytes(4) for lba, blocks in ranges
    )
    return (len(body) + 6).to_bytes(2, "big") + len(body).to_bytes(2, "big") + bytes(4) + body


def unmap(length: int) -> list[int]:
    return [0x42, 0x00, 0, 0, 0, 0, 0x00, *length.to_bytes(2, "big"), 0x00]


class TestUnmap:
    def test_each_descriptor(self, bus_of: Bus) -> None:
        data = unmap_list((3, 2), (10, 1), (5, 0))
        assert bus_of.command(unmap(len(data)), data) == (0, b"", b"", len(data))
        assert bus_of.device.calls == [("discard", 3, 2), ("discard", 10, 1)]
        assert bus_of.device.block(4) == bytes(bus_of.device.block_bytes)

    @pytest.mark.parametrize("data", [b"", unmap_list()])
    def test_nothing_to_do(self, bus: Bus, data: bytes) -> None:
        bus.good(unmap(len(data)), data)
        assert bus.device.calls == []

    @pytest.mark.parametrize("length", range(1, 8))
    def test_a_header_cut_short(self, bus: Bus, length: int) -> None:
        assert bus.refused(unmap(length), unmap_list()[:length]) == fixed(LIST_LENGTH_ERROR)

    def test_a_descriptor_that_the_list_cuts_short_is_not_there(self, bus: Bus) -> None:
        """SBC-4, 5.35.2."""
        data = unmap_list((3, 2), (10, 1))[:-1]
        bus.good(unmap(len(data)), data)
        assert bus.device.calls == [("discard", 3, 2)]

    def test_a_list_cut_short_on_the_way(self, bus: Bus) -> None:
        data = unmap_list((3, 2))
        assert bus.refused(unmap(len(data)), data[:-8]) == fixed(LIST_LENGTH_ERROR)

    def test_one_descriptor_out_of_range_and_none_is_done(self, bus: Bus) -> None:
        data = unmap_list((3, 2), (63, 2))
        assert bus.refused(unmap(len(data)), data) == fixed(LBA_OUT_OF_RANGE, information=64)
        assert bus.device.calls == []

    def test_the_limits_of_the_block_limits_page(self) -> None:
        """MAXIMUM UNMAP LBA COUNT and … BLOCK DESCRIPTOR COUNT are what is refused."""
        bus = make_bus(HollowDevice(blocks=600000))
        page = bus.good([0x12, 1, 0xB0, 0, 64, 0])
        most_blocks = int.from_bytes(page[20:24], "big")
        most_descriptors = int.from_bytes(page[24:28], "big")
        data = unmap_list((0, most_blocks))
        bus.good(unmap(len(data)), data)
        data = unmap_list((0, most_blocks), (most_blocks, 1))
        assert bus.refused(unmap(len(data)), data) == in_list(16)
        data = unmap_list(*[(0, 1)] * most_descriptors)
        bus.good(unmap(len(data)), data)
        data = unmap_list(*[(0, 1)] * (most_descriptors + 1))
        assert bus.refused(unmap(len(data)), data) == in_list(2)

    def test_anchor_is_refused(self, bus: Bus) -> None:
        data = unmap_list((3, 2))
        assert bus.refused([0x42, 0x01, *unmap(len(data))[2:]], data) == in_cdb(1, bit=0)

    def test_no_room(self, bus: Bus) -> None:
        bus.device.fail = lambda call: "store-full"
        data = unmap_list((3, 2))
        assert bus.refused(unmap(len(data)), data) == fixed(NO_SPACE)


def write_same(lba: int, blocks: int, flags: int, size: int = 10) -> list[int]:
    if size == 10:
        return [0x41, flags, *lba.to_bytes(4, "big"), 0, *blocks.to_bytes(2, "big"), 0]
    return [0x93, flags, *lba.to_bytes(8, "big"), *blocks.to_bytes(4, "big"), 0, 0]


UNMAP, ANCHOR, NDOB, PBDATA, LBDATA = 0x08, 0x10, 0x01, 0x04, 0x02


@pytest.mark.parametrize("size", [10, 16])
class TestWriteSame:
    def test_one_block_over_a_range(self, bus_of: Bus, size: int) -> None:
        device = bus_of.device
        block = b"w" * device.block_bytes
        assert bus_of.command(write_same(3, 4, 0, size), block) == (0, b"", b"", len(block))
        assert device.data[3 * len(block) : 7 * len(block)] == block * 4
        assert device.block(7) == device.filled(7)

    def test_zeros(self, bus: Bus, size: int) -> None:
        bus.good(write_same(3, 4, 0, size), bytes(512))
        assert bus.device.calls == [("write_zeroes", 3, 4)]

    def test_zeros_with_unmap_deallocate(self, bus: Bus, size: int) -> None:
        bus.good(write_same(3, 4, UNMAP, size), bytes(512))
        assert bus.device.calls == [("discard", 3, 4)]

    def test_other_data_with_unmap_is_written(self, bus: Bus, size: int) -> None:
        """SBC-3: an unmapped block would read as zeros, so it cannot stand for this data."""
        bus.good(write_same(3, 1, UNMAP, size), b"w" * 512)
        assert bus.device.calls == [("write", 3, 1)]

    def test_zero_blocks_are_refused(self, bus: Bus, size: int) -> None:
        """WSNZ, which thin units say."""
        assert bus.good([0x12, 1, 0xB0, 0, 64, 0])[4] == 0x01
        assert bus.refused(write_same(3, 0, 0, size), bytes(512)) == in_cdb(7 if size == 10 else 10)

    def test_past_the_end(self, bus: Bus, size: int) -> None:
        sense = bus.refused(write_same(60, 5, 0, size), bytes(512))
        assert sense == fixed(LBA_OUT_OF_RANGE, information=64)

    @pytest.mark.parametrize(
        ("flag", "bit"), [(ANCHOR, 4), (ANCHOR | UNMAP, 4), (PBDATA, 2), (LBDATA, 1), (0x20, 7)]
    )
    def test_flags_that_are_refused(self, bus: Bus, size: int, flag: int, bit: int) -> None:
        assert bus.refused(write_same(3, 1, flag, size), bytes(512)) == in_cdb(1, bit=bit)

    @pytest.mark.parametrize("length", [0, 511, 513, 1024])
    def test_not_one_block_of_data(self, bus: Bus, size: int, length: int) -> None:
        sense = bus.refused(write_same(3, 1, 0, size), bytes(length))
        assert sense == fixed(INVALID_FIELD_IN_INFORMATION_UNIT)
        assert bus.device.calls == []


def test_write_same_without_a_buffer(bus: Bus) -> None:
    assert bus.command(write_same(3, 4, NDOB, 16)) == (0, b"", b"", 0)
    assert bus.command(write_same(3, 4, NDOB | UNMAP, 16)) == (0, b"", b"", 0)
    assert bus.device.calls == [("write_zeroes", 3, 4), ("discard", 3, 4)]


class TestFullyProvisioned:
    """A unit that says LBPME zero (SBC-4, 4.7.2)."""

    @pytest.fixture
    def bus(self) -> Bus:
        return make_bus(MemoryDevice(), thin=False)

    def test_it_claims_nothing_of_provisioning(self, bus: Bus) -> None:
        """No MAXIMUM UNMAP fields, no granularity; no LBPU, LBPWS, LBPWS10, type; no LBPME."""
        assert bus.good([0x12, 1, 0xB0, 0, 64, 0])[20:36] == bytes(16)
        assert bus.good([0x12, 1, 0xB2, 0, 64, 0])[4:] == bytes(4)
        assert bus.good([0x9E, 0x10, *[0] * 8, *[0, 0, 0, 32], 0, 0])[13:15] == b"\x03\x00"

    def test_it_has_no_unmap(self, bus: Bus) -> None:
        data = unmap_list((3, 2))
        assert bus.refused(unmap(len(data)), data) == fixed(INVALID_OPCODE)
        one = bus.good([0xA3, 0x0C, 1, 0x42, 0, 0, *[0, 0, 0, 99], 0, 0])
        assert one == bytes([0, 0x01, 0, 0])
        listed = bus.good([0xA3, 0x0C, 0, 0, 0, 0, *[0, 0, 0xFF, 0xFF], 0, 0])
        assert 0x42 not in listed[4::8]
        assert bus.device.calls == []

    @pytest.mark.parametrize("size", [10, 16])
    def test_the_unmap_bit_is_refused(self, bus: Bus, size: int) -> None:
        """SBC-4, 5.52."""
        assert bus.refused(write_same(3, 4, UNMAP, size), bytes(512)) == in_cdb(1, bit=3)
        assert bus.device.calls == []

    @pytest.mark.parametrize("size", [10, 16])
    def test_a_count_of_zero_means_to_the_last_block(self, bus: Bus, size: int) -> None:
        """SBC-4, 5.52: WSNZ is zero."""
        assert bus.good([0x12, 1, 0xB0, 0, 64, 0])[4] == 0
        bus.good(write_same(60, 0, 0, size), bytes(512))
        assert bus.device.calls == [("write_zeroes", 60, 4)]
        sense = bus.refused(write_same(64, 0, 0, size), bytes(512))
        assert sense == fixed(LBA_OUT_OF_RANGE, information=64)

    def test_a_count_of_zero_that_is_more_than_the_limit(self) -> None:
        bus = make_bus(HollowDevice(blocks=40000), thin=False)
        assert bus.refused(write_same(0, 0, 0, 16), bytes(512)) == in_cdb(10)


def test_maximum_write_same_length_is_enforced() -> None:
    bus = make_bus(HollowDevice(blocks=40000))
    most = int.from_bytes(bus.good([0x12, 1, 0xB0, 0, 64, 0])[36:44], "big")
    bus.good(write_same(0, most, 0, 16), b"w" * 512)
    assert all(blocks <= 2048 for _, _, blocks in bus.device.calls)
    assert bus.refused(write_same(0, most + 1, 0, 16), b"w" * 512) == in_cdb(10)


PROVISIONING_PAGE = [0x12, 1, 0xB2, 0, 8, 0]
READ_CAPACITY_16 = [0x9E, 0x10, *[0] * 11, 32, 0, 0]


class TestWhatGivesBlocksBack:
    """SBC-4, 6.6.7: LBPU, LBPWS and LBPWS10 each say which command does."""

    def write_same(self, bus: Bus) -> bytes:
        status, sense, _, _ = bus.command([0x41, 0x08, 0, 0, 0, 3, 0, 0, 2, 0], bytes(512))
        return sense if status else b""

    def test_only_unmap(self) -> None:
        bus = make_bus(MemoryDevice(), unmap_by_write_same=False)
        assert bus.good(PROVISIONING_PAGE)[5] == 0x80 | 0x04
        data = unmap_list((3, 2))
        bus.good(unmap(len(data)), data)
        assert self.write_same(bus) == in_cdb(1, bit=3)

    def test_only_write_same(self) -> None:
        bus = make_bus(MemoryDevice(), unmap_command=False)
        assert bus.good(PROVISIONING_PAGE)[5] == 0x40 | 0x20 | 0x04
        data = unmap_list((3, 2))
        assert bus.refused(unmap(len(data)), data) == fixed(INVALID_OPCODE)
        assert self.write_same(bus) == b""
        assert bus.device.calls == [("discard", 3, 2)]


@pytest.mark.parametrize(
    ("block_bytes", "physical_bytes", "exponent"), [(512, 4096, 3), (512, 512, 0), (4096, 512, 0)]
)
def test_logical_blocks_of_a_physical_one(
    block_bytes: int, physical_bytes: int, exponent: int
) -> None:
    """READ CAPACITY (16): a power of two; a logical block is never more than a physical one."""
    bus = make_bus(MemoryDevice(block_bytes=block_bytes), physical_block_bytes=physical_bytes)
    assert bus.good(READ_CAPACITY_16)[13] == exponent
