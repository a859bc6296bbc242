"""COMPARE AND WRITE, ORWRITE and WRITE ATOMIC: bus traces (SBC-4, 4.29, 5.3, 5.10, 5.48)."""

import threading

import pytest

from tests.t6_scsi.bus import Bus, make_bus
from tests.t6_scsi.fakes import HollowDevice, MemoryDevice
from tests.t6_scsi.modes import D_SENSE, NO_WCE, SWP, select_6
from tests.t6_scsi.senses import (
    INCOMPLETE_ATOMIC_WRITES,
    INVALID_FIELD_IN_INFORMATION_UNIT,
    INVALID_OPCODE,
    LBA_OUT_OF_RANGE,
    MISCOMPARE,
    NO_SPACE,
    WRITE_ERROR,
    WRITE_PROTECTED,
    fixed,
    in_cdb,
)

DPO, FUA = 0x10, 0x08


def compare_and_write(lba: int, blocks: int, flags: int = 0) -> list[int]:
    return [0x89, flags, *lba.to_bytes(8, "big"), 0, 0, 0, blocks, 0, 0]


def or_write(lba: int, blocks: int, flags: int = 0) -> list[int]:
    return [0x8B, flags, *lba.to_bytes(8, "big"), *blocks.to_bytes(4, "big"), 0, 0]


def write_atomic(lba: int, blocks: int, *, boundary: int = 0, flags: int = 0) -> list[int]:
    numbers = [*boundary.to_bytes(2, "big"), *blocks.to_bytes(2, "big")]
    return [0x9C, flags, *lba.to_bytes(8, "big"), *numbers, 0, 0]


def has_command(bus: Bus, opcode: int) -> bool:
    one = bus.good([0xA3, 0x0C, 1, opcode, 0, 0, *[0, 0, 0, 99], 0, 0])
    return one[1] == 0x03


class TestCompareAndWrite:
    def test_a_match_is_written(self, bus_of: Bus) -> None:
        device = bus_of.device
        old, new = device.filled(5) + device.filled(6), b"n" * 2 * device.block_bytes
        assert bus_of.command(compare_and_write(5, 2), old + new) == (
            0,
            b"",
            b"",
            2 * len(new),
        )
        assert device.block(5) + device.block(6) == new
        assert device.block(7) == device.filled(7)
        assert device.calls == [("compare_and_write", 5, 2)]

    @pytest.mark.parametrize("different", [0, 511, 512, 1023])
    def test_a_miscompare_says_where_in_the_buffer(self, bus: Bus, different: int) -> None:
        """SBC-4, 5.3: INFORMATION is the offset of the first other byte in the Data-Out buffer."""
        old = bytearray(bus.device.filled(5) + bus.device.filled(6))
        old[different] ^= 0x80
        old[1023] ^= 0x01
        sense = bus.refused(compare_and_write(5, 2), bytes(old) + b"n" * 1024)
        assert sense == fixed(MISCOMPARE, information=different)
        assert bus.device.block(5) + bus.device.block(6) == bus.device.filled(
            5
        ) + bus.device.filled(6)

    def test_a_miscompare_in_descriptor_format(self, bus: Bus) -> None:
        select_6(bus, D_SENSE)
        bus.clear_attentions(1)
        sense = bus.refused(compare_and_write(5, 1), b"x" * 1024)
        assert sense == bytes.fromhex("720e1d00 0000000c 000a8000 0000000000000000")

    def test_zero_blocks(self, bus: Bus) -> None:
        """No error, and no data is transferred."""
        assert bus.command(compare_and_write(64, 0)) == (0, b"", b"", 0)
        assert bus.command(compare_and_write(5, 0), bytes(512)) == (0, b"", b"", 0)
        assert bus.device.calls == []

    def test_both_instances_but_a_count_of_none(self, bus: Bus) -> None:
        """SBC-4, 5.3: none is no error; what came is a residual, as the command wanted nothing."""
        for blocks in (1, 2, 511, 513):
            assert bus.command(compare_and_write(0, 0), bytes(blocks * 512)) == (0, b"", b"", 0)
        assert bus.device.calls == []

    def test_a_count_of_256_does_not_fit_its_field(self, bus: Bus) -> None:
        """The data of 256 blocks is not called equal."""
        assert bus.refused(compare_and_write(0, 0), bytes(2 * 256 * 512)) == in_cdb(13)

    @pytest.mark.parametrize("length", [0, 512, 1536, 2047, 2049, 4096])
    def test_not_two_instances(self, bus: Bus, length: int) -> None:
        sense = bus.refused(compare_and_write(5, 2), bytes(length))
        assert sense == fixed(INVALID_FIELD_IN_INFORMATION_UNIT)
        assert bus.device.calls == []

    @pytest.mark.parametrize(
        ("lba", "blocks", "outside"), [(63, 2, 64), (64, 1, 64), (65, 0, 65), (1 << 31, 1, 1 << 31)]
    )
    def test_past_the_end(self, bus: Bus, lba: int, blocks: int, outside: int) -> None:
        sense = bus.refused(compare_and_write(lba, blocks), bytes(1024 * blocks))
        assert sense == fixed(LBA_OUT_OF_RANGE, information=outside)

    def test_the_longest_is_what_the_field_and_the_page_say(self) -> None:
        bus = make_bus(MemoryDevice(blocks=300))
        most = bus.good([0x12, 1, 0xB0, 0, 64, 0])[5]
        assert most == 255
        old = bytes(bus.device.data[: most * 512])
        bus.good(compare_and_write(0, most), old + bytes(len(old)))
        assert not any(bus.device.data[: most * 512])

    def test_wrprotect_is_refused(self, bus: Bus) -> None:
        assert bus.refused(compare_and_write(5, 1, 0x20), bytes(1024)) == in_cdb(1, bit=7)

    def test_fua_is_kept_and_dpo_changes_nothing(self, bus: Bus) -> None:
        data = bus.device.filled(5) * 2
        bus.good(compare_and_write(5, 1, DPO | FUA), data)
        assert bus.device.calls == [("compare_and_write", 5, 1), ("flush", 0, 0)]

    def test_without_a_write_cache_it_is_durable(self, bus: Bus) -> None:
        select_6(bus, NO_WCE)
        bus.device.calls.clear()
        bus.good(compare_and_write(5, 1), bus.device.filled(5) * 2)
        assert bus.device.calls == [("compare_and_write", 5, 1), ("flush", 0, 0)]

    def test_a_write_protected_medium(self, read_only_bus: Bus) -> None:
        sense = read_only_bus.refused(compare_and_write(5, 1), bytes(1024))
        assert sense == fixed(WRITE_PROTECTED)

    @pytest.mark.parametrize(
        ("code", "sense"),
        [("io-error", fixed(WRITE_ERROR, information=5)), ("store-full", fixed(NO_SPACE))],
    )
    def test_failures(self, bus: Bus, code: str, sense: bytes) -> None:
        bus.device.fail = lambda call: code
        assert bus.refused(compare_and_write(5, 1), bytes(1024)) == sense

    def test_of_many_at_once_each_finds_what_another_left(self) -> None:
        """Every count from 0 on is taken by exactly one (SBC-4, 4.25)."""
        bus = make_bus(MemoryDevice())
        bus.device.data[:512] = bytes(512)
        taken: list[int] = []

        def count(nexus: int) -> None:
            for value in range(50):
                old, new = value.to_bytes(512, "big"), (value + 1).to_bytes(512, "big")
                cdb = compare_and_write(0, 1)
                if bus.command(cdb, old + new, nexus=nexus)[0] == 0:
                    taken.append(value)

        for nexus in range(1, 5):
            bus.begin(nexus)
            bus.clear_attentions(nexus)
        threads = [threading.Thread(target=count, args=(nexus,)) for nexus in range(1, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(taken) == list(range(len(set(taken))))
        assert bus.device.block(0) == len(taken).to_bytes(512, "big")


class TestOrWrite:
    def test_bits_are_set(self, bus_of: Bus) -> None:
        device = bus_of.device
        data = b"\xf0" * 2 * device.block_bytes
        old = device.filled(5) + device.filled(6)
        assert bus_of.command(or_write(5, 2), data) == (0, b"", b"", len(data))
        expected = bytes(byte | 0xF0 for byte in old)
        assert device.block(5) + device.block(6) == expected
        assert device.calls == [("or_write", 5, 2)]

    def test_zero_blocks(self, bus: Bus) -> None:
        assert bus.command(or_write(64, 0)) == (0, b"", b"", 0)
        assert bus.device.calls == []

    @pytest.mark.parametrize("length", [0, 512, 1023])
    def test_too_little_data(self, bus: Bus, length: int) -> None:
        sense = bus.refused(or_write(5, 2), bytes(length))
        assert sense == fixed(INVALID_FIELD_IN_INFORMATION_UNIT)
        assert bus.device.calls == []

    @pytest.mark.parametrize(("lba", "blocks", "outside"), [(63, 2, 64), (65, 0, 65)])
    def test_past_the_end(self, bus: Bus, lba: int, blocks: int, outside: int) -> None:
        sense = bus.refused(or_write(lba, blocks), bytes(512 * blocks))
        assert sense == fixed(LBA_OUT_OF_RANGE, information=outside)

    def test_maximum_transfer_length_is_enforced(self) -> None:
        bus = make_bus(HollowDevice(blocks=40000))
        assert bus.refused(or_write(0, 32769), b"") == in_cdb(10)

    def test_orprotect_is_refused(self, bus: Bus) -> None:
        assert bus.refused(or_write(5, 1, 0x20), bytes(512)) == in_cdb(1, bit=7)

    def test_fua(self, bus: Bus) -> None:
        bus.good(or_write(5, 1, FUA), bytes(512))
        assert bus.device.calls == [("or_write", 5, 1), ("flush", 0, 0)]

    def test_a_write_protected_medium(self, read_only_bus: Bus) -> None:
        assert read_only_bus.refused(or_write(5, 1), bytes(512)) == fixed(WRITE_PROTECTED)

    def test_a_failure(self, bus: Bus) -> None:
        bus.device.fail = lambda call: "io-error"
        assert bus.refused(or_write(5, 1), bytes(512)) == fixed(WRITE_ERROR, information=5)


class TestWriteAtomic:
    """The bus's device has physical blocks of 4096 bytes and atomic writes of up to eight."""

    def test_the_blocks_are_written_by_one_call(self, bus: Bus) -> None:
        data = b"a" * 16 * 512
        assert bus.command(write_atomic(8, 16), data) == (0, b"", b"", len(data))
        assert bus.device.calls == [("write_atomic", 8, 16)]
        assert bus.device.data[8 * 512 : 24 * 512] == data
        assert bus.device.block(24) == bus.device.filled(24)

    def test_large_blocks(self) -> None:
        bus = make_bus(MemoryDevice(block_bytes=4096))
        bus.good(write_atomic(3, 1), b"a" * 4096)
        assert bus.device.calls == [("write_atomic", 3, 1)]

    def test_zero_blocks(self, bus: Bus) -> None:
        assert bus.command(write_atomic(8, 0)) == (0, b"", b"", 0)
        assert bus.device.calls == []

    @pytest.mark.parametrize(("lba", "blocks", "outside"), [(56, 16, 64), (72, 0, 72), (64, 8, 64)])
    def test_past_the_end(self, bus: Bus, lba: int, blocks: int, outside: int) -> None:
        sense = bus.refused(write_atomic(lba, blocks), bytes(512 * blocks))
        assert sense == fixed(LBA_OUT_OF_RANGE, information=outside)

    def test_alignment_and_granularity(self, bus: Bus) -> None:
        """SBC-4, 4.29.1: what the Block Limits page says is what is refused."""
        page = bus.good([0x12, 1, 0xB0, 0, 64, 0])
        alignment, granularity = (int.from_bytes(page[at : at + 4], "big") for at in (48, 52))
        assert (alignment, granularity) == (8, 8)
        assert bus.refused(write_atomic(1, 8), bytes(4096)) == in_cdb(2)
        assert bus.refused(write_atomic(8, 1), bytes(512)) == in_cdb(12)
        assert bus.refused(write_atomic(8, 9), bytes(9 * 512)) == in_cdb(12)
        assert bus.refused(write_atomic(8, 16, boundary=12), bytes(8192)) == in_cdb(10)
        assert bus.device.calls == []

    def test_maximum_atomic_transfer_length(self) -> None:
        bus = make_bus(MemoryDevice(blocks=256))
        most = int.from_bytes(bus.good([0x12, 1, 0xB0, 0, 64, 0])[44:48], "big")
        assert most == 64
        bus.good(write_atomic(0, most), bytes(most * 512))
        assert bus.refused(write_atomic(0, most + 8), bytes((most + 8) * 512)) == in_cdb(12)

    def test_an_atomic_boundary_makes_several(self) -> None:
        """SBC-4, 5.48: each atomic write is as long as the boundary; the last may be shorter."""
        bus = make_bus(MemoryDevice(blocks=256))
        data = bytes(n % 251 for n in range(88 * 512))
        bus.good(write_atomic(8, 88, boundary=32), data)
        assert bus.device.calls == [
            ("write_atomic", 8, 32),
            ("write_atomic", 40, 32),
            ("write_atomic", 72, 24),
        ]
        assert bus.device.data[8 * 512 : 96 * 512] == data

    def test_maximum_atomic_boundary_size(self) -> None:
        bus = make_bus(MemoryDevice(blocks=256))
        page = bus.good([0x12, 1, 0xB0, 0, 64, 0])
        most = int.from_bytes(page[60:64], "big")
        bus.good(write_atomic(0, 128, boundary=most), bytes(128 * 512))
        assert bus.refused(write_atomic(0, 128, boundary=most + 8), bytes(65536)) == in_cdb(10)

    def test_maximum_atomic_transfer_length_with_atomic_boundary(self) -> None:
        bus = make_bus(HollowDevice(blocks=70000))
        most = int.from_bytes(bus.good([0x12, 1, 0xB0, 0, 64, 0])[56:60], "big")
        assert most == 32768
        assert bus.refused(write_atomic(0, most + 8, boundary=8), b"") == in_cdb(12)

    def test_a_failure_of_the_first_leaves_its_own_sense(self, bus: Bus) -> None:
        bus.device.fail = lambda call: "io-error"
        sense = bus.refused(write_atomic(8, 16), bytes(8192))
        assert sense == fixed(WRITE_ERROR, information=8)

    def test_a_failure_between_atomic_writes(self, bus: Bus) -> None:
        """SBC-4, 4.29.1: ABORTED COMMAND, INCOMPLETE MULTIPLE ATOMIC WRITE OPERATIONS."""
        bus.device.fail = lambda call: "io-error" if bus.device.calls else None
        sense = bus.refused(write_atomic(8, 16, boundary=8), b"a" * 8192)
        assert sense == fixed(INCOMPLETE_ATOMIC_WRITES)
        assert bus.device.block(15) == b"a" * 512
        assert bus.device.block(16) == bus.device.filled(16)

    @pytest.mark.parametrize("length", [0, 4096, 8191])
    def test_too_little_data(self, bus: Bus, length: int) -> None:
        sense = bus.refused(write_atomic(8, 16), bytes(length))
        assert sense == fixed(INVALID_FIELD_IN_INFORMATION_UNIT)
        assert bus.device.calls == []

    def test_wrprotect_is_refused(self, bus: Bus) -> None:
        assert bus.refused(write_atomic(8, 8, flags=0x20), bytes(4096)) == in_cdb(1, bit=7)

    def test_fua(self, bus: Bus) -> None:
        bus.good(write_atomic(8, 8, flags=DPO | FUA), bytes(4096))
        assert bus.device.calls == [("write_atomic", 8, 8), ("flush", 0, 0)]

    def test_a_write_protected_unit(self, bus: Bus) -> None:
        """Write protected by mode page: the command is there, and refused."""
        select_6(bus, SWP)
        assert bus.refused(write_atomic(8, 8), bytes(4096)) == fixed(WRITE_PROTECTED)

    def test_a_device_without_it_does_not_offer_it(self, read_only_bus: Bus) -> None:
        assert read_only_bus.refused(write_atomic(8, 8), bytes(4096)) == fixed(INVALID_OPCODE)
        assert not has_command(read_only_bus, 0x9C)
        assert has_command(read_only_bus, 0x89)

    def test_a_device_with_it_does(self, bus: Bus) -> None:
        assert has_command(bus, 0x9C)
