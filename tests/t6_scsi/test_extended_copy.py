"""EXTENDED COPY (LID1) and RECEIVE COPY RESULTS (SPC-4, 6.4 and 6.18 on), and VPD page 8Fh."""

from collections.abc import Callable
from uuid import UUID

import pytest

from scsi_snap.scsi import lun_address
from scsi_snap.scsi.identity import Identity, Personality
from scsi_snap.scsi.logical_unit import LogicalUnit
from scsi_snap.scsi.nexus import TargetPort
from scsi_snap.scsi.target import Target
from tests.t6_scsi import modes
from tests.t6_scsi.bus import initiator, make_bus
from tests.t6_scsi.fakes import MemoryDevice
from tests.t6_scsi.senses import (
    COMMAND_IN_PROGRESS,
    LIST_LENGTH_ERROR,
    WRITE_PROTECTED,
    fixed,
    in_cdb,
    in_list,
)

INLINE_DATA = (0x5, 0x26, 0x0B)
TOO_MANY_CSCDS = (0x5, 0x26, 0x06)
UNSUPPORTED_CSCD = (0x5, 0x26, 0x07)
TOO_MANY_SEGMENTS = (0x5, 0x26, 0x08)
UNSUPPORTED_SEGMENT = (0x5, 0x26, 0x09)
ABORTED = (0xA, 0x00, 0x00)
UNREACHABLE = (0xA, 0x08, 0x04)
THIRD_PARTY_FAILURE = (0xA, 0x0D, 0x01)
NOT_REACHABLE = (0xA, 0x0D, 0x02)
WRONG_TYPE = (0xA, 0x0D, 0x03)
INEXACT = (0xA, 0x26, 0x0A)

HOLD, DISCARD, NO_LIST_ID = 0b00, 0b10, 0b11
PAD, CAT, DC = 0x04, 0x01, 0x02
LUN_1, LUN_2 = lun_address.encode(1), lun_address.encode(2)


def naa_cscd(unit: LogicalUnit, block_bytes: int = 512, flags: int = 0, device: int = 0) -> bytes:
    """E4h; binary, NAA, of the logical unit; the disk block length."""
    naa = unit.personality.identity.naa
    head = bytes([0xE4, device, 0, 0, 0x01, 0x03, 0, len(naa)])
    return head + naa.ljust(20, b"\0") + bytes([flags]) + block_bytes.to_bytes(3, "big")


def blocks_segment(
    source: int, destination: int, blocks: int, lba: int, to_lba: int, flags: int = 0
) -> bytes:
    """02h, 0018h bytes."""
    head = bytes([0x02, flags, 0x00, 0x18]) + source.to_bytes(2, "big")
    head += destination.to_bytes(2, "big") + bytes(2) + blocks.to_bytes(2, "big")
    return head + lba.to_bytes(8, "big") + to_lba.to_bytes(8, "big")


def bytes_segment(
    source: int, destination: int, length: int, at: tuple[int, int], to: tuple[int, int]
) -> bytes:
    """0Ah, 001Ch bytes; `at` and `to` are LBA and byte offset."""
    head = bytes([0x0A, 0, 0x00, 0x1C]) + source.to_bytes(2, "big") + destination.to_bytes(2, "big")
    head += length.to_bytes(4, "big") + at[0].to_bytes(8, "big") + to[0].to_bytes(8, "big")
    return head + at[1].to_bytes(2, "big") + to[1].to_bytes(2, "big")


def copy_list(
    cscds: list[bytes], segments: list[bytes], list_id: int = 7, usage: int = HOLD, inline: int = 0
) -> bytes:
    cscd, segment = b"".join(cscds), b"".join(segments)
    head = bytes([list_id, usage << 3]) + len(cscd).to_bytes(2, "big") + bytes(4)
    head += len(segment).to_bytes(4, "big") + inline.to_bytes(4, "big")
    return head + cscd + segment + bytes(inline)


def extended_copy(length: int) -> list[int]:
    return [0x83, 0x00, *[0] * 8, *length.to_bytes(4, "big"), 0, 0]


def receive(action: int, list_id: int = 7, length: int = 1024) -> list[int]:
    return [0x84, action, list_id, *[0] * 7, *length.to_bytes(4, "big"), 0, 0]


def aborted(code: tuple[int, int, int], segment: int, field: int | None = None) -> bytes:
    """COPY ABORTED: the segment as COMMAND-SPECIFIC INFORMATION; SKSV, SD, field pointer."""
    pointer = (0, 0, 0) if field is None else (0xA0, 0, field)
    sense = bytearray(fixed(code, pointer=pointer))
    sense[8:12] = segment.to_bytes(4, "big")
    return bytes(sense)


class Pair:
    """A bus with a second unit at LUN 1, of its own device."""

    def __init__(self, block_bytes: int = 512, device: MemoryDevice | None = None) -> None:
        self.bus = make_bus(device or MemoryDevice())
        self.other = MemoryDevice(block_bytes=block_bytes)
        self.other.data = bytearray(b"o" * len(self.other.data))
        self.other_unit = LogicalUnit(self.other, Personality(Identity(UUID(int=2))))
        self.bus.target.add_unit(1, self.other_unit)
        self.bus.clear_attentions(1)
        self.bus.clear_attentions(1, LUN_1)
        self.cscds = [naa_cscd(self.bus.unit), naa_cscd(self.other_unit, block_bytes)]

    def copy(self, *segments: bytes, usage: int = HOLD) -> None:
        data = copy_list(self.cscds, [*segments], usage=usage)
        self.bus.good(extended_copy(len(data)), data)

    def refused(self, *segments: bytes, cscds: list[bytes] | None = None) -> bytes:
        """The sense; nothing was written anywhere."""
        before = bytes(self.bus.device.data), bytes(self.other.data)
        data = copy_list(self.cscds if cscds is None else cscds, [*segments])
        sense = self.bus.refused(extended_copy(len(data)), data)
        assert before == (bytes(self.bus.device.data), bytes(self.other.data))
        return sense


@pytest.fixture
def pair() -> Pair:
    return Pair()


class TestCopy:
    def test_from_one_unit_to_another(self, pair: Pair) -> None:
        pair.copy(blocks_segment(0, 1, 3, 5, 20))
        assert pair.other.calls == [("copy_from", 20, 3)]
        assert [pair.other.block(lba) for lba in (19, 20, 22, 23)] == [
            b"o" * 512,
            pair.bus.device.filled(5),
            pair.bus.device.filled(7),
            b"o" * 512,
        ]

    def test_to_the_unit_that_it_was_sent_to(self, pair: Pair) -> None:
        pair.copy(blocks_segment(1, 0, 2, 0, 62))
        assert pair.bus.device.block(63) == b"o" * 512

    def test_within_one_unit_and_several_segments_in_order(self, pair: Pair) -> None:
        pair.copy(blocks_segment(0, 0, 1, 1, 2), blocks_segment(0, 0, 1, 2, 3))
        assert pair.bus.device.block(3) == pair.bus.device.filled(1)

    def test_descriptor_id_ffffh_is_the_unit_itself(self, pair: Pair) -> None:
        """As the third-party copy page says."""
        pair.copy(blocks_segment(0xFFFF, 1, 1, 9, 0))
        assert pair.other.block(0) == pair.bus.device.filled(9)

    @pytest.mark.parametrize("segments", [[], [blocks_segment(0, 1, 0, 64, 64)]])
    def test_nothing_to_copy(self, pair: Pair, segments: list[bytes]) -> None:
        """SPC-4: zero is not an error, in whichever field."""
        pair.copy(*segments)
        assert pair.other.calls == []
        pair.bus.good(extended_copy(0))

    def test_write_cache_off_makes_the_destination_durable(self, pair: Pair) -> None:
        page = bytes(4) + modes.NO_WCE
        pair.bus.good([0x15, 0x10, 0, 0, len(page), 0], page, lun=LUN_1)
        pair.other.calls.clear()
        pair.copy(blocks_segment(0, 1, 1, 0, 0))
        assert pair.other.calls == [("copy_from", 0, 1), ("flush", 0, 0)]

    @pytest.mark.parametrize("kind", ["naa", "t10", "short serial"])
    def test_any_name_of_the_unit_that_fits(self, pair: Pair, kind: str) -> None:
        """CODE SET, ASSOCIATION and DESIGNATOR TYPE as on the device identification page."""
        identity = Identity(UUID(int=3), chosen_serial="S1")
        device = MemoryDevice()
        pair.bus.target.add_unit(2, LogicalUnit(device, Personality(identity)))
        pair.bus.clear_attentions(1)
        name = identity.naa if kind == "naa" else b"SCSISNAPS1"
        kinds = bytes([0x01, 0x03]) if kind == "naa" else bytes([0x02, 0x01])
        cscd = bytes([0xE4, 0, 0, 0]) + kinds + bytes([0, len(name)]) + name.ljust(20, b"\0")
        data = copy_list([*pair.cscds, cscd + bytes([0, 0, 2, 0])], [blocks_segment(1, 2, 1, 0, 0)])
        pair.bus.good(extended_copy(len(data)), data)
        assert device.block(0) == b"o" * 512


class TestBlockLengths:
    """PAD, CAT and DC between 512 and 4096 bytes (SPC-4, tables of 6.4.6.2)."""

    @pytest.fixture
    def pair(self) -> Pair:
        return Pair(block_bytes=4096)

    @pytest.mark.parametrize(("blocks", "flags"), [(16, 0), (2, DC)])
    def test_exact(self, pair: Pair, blocks: int, flags: int) -> None:
        """DC: the number counts blocks of the destination."""
        pair.copy(blocks_segment(0, 1, blocks, 8, 1, flags))
        assert pair.other.data[4096:12288] == pair.bus.device.data[4096:12288]
        assert pair.other.calls == [("copy_from", 1, 2)]

    @pytest.mark.parametrize("flags", [0, CAT])
    def test_inexact(self, pair: Pair, flags: int) -> None:
        sense = pair.refused(blocks_segment(0, 1, 9, 8, 1, flags))
        assert sense == aborted(INEXACT, 0, 10)

    def test_a_destination_that_pads_is_filled_up_with_zeros(self, pair: Pair) -> None:
        pair.cscds[1] = naa_cscd(pair.other_unit, 4096, PAD)
        pair.copy(blocks_segment(0, 1, 9, 8, 1))
        copied = bytes(pair.bus.device.data[4096 : 4096 + 9 * 512])
        assert pair.other.data[4096:12288] == copied.ljust(8192, b"\0")

    def test_a_source_that_pads_is_cut_to_whole_blocks(self, pair: Pair) -> None:
        pair.cscds[0] = naa_cscd(pair.bus.unit, 512, PAD)
        pair.copy(blocks_segment(0, 1, 9, 8, 1))
        assert pair.other.data[4096:8192] == pair.bus.device.data[4096:8192]
        assert pair.other.block(2) == b"o" * 4096

    def test_part_of_a_source_block(self, pair: Pair) -> None:
        pair.cscds[1] = naa_cscd(pair.other_unit, 4096, PAD)
        pair.other.data[:4096] = bytes(range(256)) * 16
        pair.copy(blocks_segment(1, 0, 3, 0, 1, DC))
        assert pair.bus.device.data[512:2048] == pair.other.data[:1536]

    def test_a_disk_block_length_that_is_not_the_unit_s(self, pair: Pair) -> None:
        cscds = [pair.cscds[0], naa_cscd(pair.other_unit, 512)]
        assert pair.refused(blocks_segment(0, 1, 8, 0, 0), cscds=cscds) == in_list(16 + 32 + 29)


class TestOffsets:
    """Segment descriptor 0Ah."""

    def test_whole_blocks_go_within_the_data_path(self, pair: Pair) -> None:
        pair.copy(bytes_segment(0, 1, 1024, (5, 0), (6, 0)))
        assert pair.other.calls == [("copy_from", 6, 2)]

    def test_into_the_middle_of_a_block(self, pair: Pair) -> None:
        """What is before stays, and what does not fill the last block is padded."""
        pair.cscds[1] = naa_cscd(pair.other_unit, 512, PAD)
        pair.copy(bytes_segment(0, 1, 1300, (5, 100), (6, 200)))
        source = bytes(pair.bus.device.data)
        copied = source[5 * 512 + 100 : 5 * 512 + 1400]
        expected = (b"o" * 200 + copied).ljust(3 * 512, b"\0")
        assert pair.other.data[6 * 512 : 9 * 512] == expected
        assert pair.other.block(9) == b"o" * 512

    def test_somebody_else_writes_the_block_meanwhile(self, pair: Pair) -> None:
        """Bytes before the offset are those of the other write, not older ones."""
        pair.cscds[1] = naa_cscd(pair.other_unit, 512, PAD)
        turns = iter([True, False])

        def between(call: str) -> None:
            if call == "compare_and_write" and next(turns):
                pair.other.data[6 * 512 : 7 * 512] = b"n" * 512

        pair.other.fail = between
        pair.copy(bytes_segment(0, 1, 512 - 8, (5, 0), (6, 8)))
        assert pair.other.block(6) == b"n" * 8 + pair.bus.device.filled(5)[:504]

    def test_more_than_a_piece(self) -> None:
        pair = Pair()
        pair.bus.device.data = bytearray(bytes(range(251)) * 80000)[: 512 * 39000]
        pair.other.data = bytearray(512 * 39000)
        pair.cscds[1] = naa_cscd(pair.other_unit, 512, PAD)
        pair.copy(bytes_segment(0, 1, 512 * 38000, (1, 7), (2, 7)))
        assert (
            pair.other.data[2 * 512 + 7 : 512 * 38002 + 7]
            == (pair.bus.device.data[512 + 7 : 512 * 38001 + 7])
        )

    @pytest.mark.parametrize(
        ("at", "to", "field"), [((0, 512), (0, 0), 28), ((0, 0), (0, 512), 30)]
    )
    def test_an_offset_past_the_block(
        self, pair: Pair, at: tuple[int, int], to: tuple[int, int], field: int
    ) -> None:
        assert pair.refused(bytes_segment(0, 1, 512, at, to)) == in_list(16 + 64 + field)


class TestParameterList:
    """Errors detected before segment descriptors are processed (SPC-4, 6.4.3)."""

    def test_cut_short_by_the_cdb(self, pair: Pair) -> None:
        """libiscsi's ParamHdr: within a CSCD descriptor, within a segment descriptor."""
        data = copy_list(pair.cscds, [blocks_segment(0, 1, 1, 0, 0)])
        for length in [*range(1, 16), 16 + 63, len(data) - 1]:
            sense = pair.bus.refused(extended_copy(length), data[:length])
            assert sense == fixed(LIST_LENGTH_ERROR)
        sense = pair.bus.refused(extended_copy(len(data)), data[:-1])
        assert sense == fixed(LIST_LENGTH_ERROR)

    def test_limits_are_those_reported(self, pair: Pair) -> None:
        limits = pair.bus.good(receive(0x03))
        cscds, segments = (int.from_bytes(limits[at : at + 2], "big") for at in (8, 10))
        list_bytes = int.from_bytes(limits[12:16], "big")
        one = blocks_segment(0, 0, 1, 0, 0)
        data = copy_list([pair.cscds[0]] * cscds, [one] * segments)
        pair.bus.good(extended_copy(len(data)), data)
        data = copy_list([pair.cscds[0]] * (cscds + 1), [one])
        assert pair.bus.refused(extended_copy(len(data)), data) == fixed(TOO_MANY_CSCDS)
        data = copy_list([pair.cscds[0]], [one] * (segments + 1))
        assert pair.bus.refused(extended_copy(len(data)), data) == fixed(TOO_MANY_SEGMENTS)
        data = copy_list([pair.cscds[0]] * (cscds + 1), [one] * (list_bytes // 28))
        assert pair.bus.refused(extended_copy(len(data)), data) == fixed(LIST_LENGTH_ERROR)

    def test_descriptor_types(self, pair: Pair) -> None:
        """libiscsi's DescrType: Fibre Channel name; stream to stream."""
        fibre = b"\xe0" + pair.cscds[0][1:]
        one = blocks_segment(0, 0, 1, 0, 0)
        assert pair.refused(one, cscds=[fibre]) == fixed(UNSUPPORTED_CSCD)
        assert pair.refused(b"\x03" + one[1:]) == fixed(UNSUPPORTED_SEGMENT)

    def test_fields_of_descriptors(self, pair: Pair) -> None:
        one = blocks_segment(0, 0, 1, 0, 0)
        cscd = bytearray(pair.cscds[0])
        cscd[7] = 21  # DESIGNATOR LENGTH
        assert pair.refused(one, cscds=[bytes(cscd)]) == in_list(16 + 7)
        length = one[:2] + b"\x00\x19" + one[4:]
        assert pair.refused(length) == in_list(16 + 64 + 2)

    def test_lu_id_type_means_nothing_here(self, pair: Pair) -> None:
        """SPC-4: ignored in this descriptor; libiscsi's ValidTgtDescr."""
        pair.cscds[0] = b"\xe4\x80" + pair.cscds[0][2:]
        pair.copy(blocks_segment(0, 1, 1, 0, 0))

    def test_a_list_of_cscds_that_is_no_multiple(self, pair: Pair) -> None:
        assert pair.refused(cscds=[pair.cscds[0][:-4]]) == fixed(LIST_LENGTH_ERROR)

    def test_list_id_usage(self, pair: Pair) -> None:
        data = copy_list([], [], usage=0b01)
        assert pair.bus.refused(extended_copy(len(data)), data) == in_list(1, bit=4)
        data = copy_list([], [], list_id=1, usage=NO_LIST_ID)
        assert pair.bus.refused(extended_copy(len(data)), data) == in_list(0)
        data = copy_list([], [], list_id=0, usage=NO_LIST_ID)
        pair.bus.good(extended_copy(len(data)), data)

    def test_inline_data(self, pair: Pair) -> None:
        """MAXIMUM INLINE DATA LENGTH is zero."""
        data = copy_list([], [], inline=8)
        assert pair.bus.refused(extended_copy(len(data)), data) == fixed(INLINE_DATA)

    def test_a_segment_or_a_copy_that_is_too_long(self, pair: Pair) -> None:
        most = int.from_bytes(pair.bus.good(receive(0x03))[16:20], "big")
        huge = HugeDevice(most)
        pair.bus.target.add_unit(2, LogicalUnit(huge, Personality(Identity(UUID(int=3)))))
        pair.bus.clear_attentions(1)
        (unit,) = (unit for mapping, unit in pair.bus.target.places() if mapping.lun == LUN_2)
        pair.cscds[0] = naa_cscd(unit)
        one = bytes_segment(0, 0, most, (0, 0), (0, 0))
        pair.copy(one, one)
        assert sum(blocks for name, _, blocks in huge.calls if name == "copy_from") == most // 256
        too_long = bytes_segment(0, 0, most + 512, (0, 0), (0, 0))
        assert pair.refused(too_long) == in_list(16 + 64 + 8)
        assert pair.refused(*[one] * 5) == in_list(16 + 64 + 4 * 32 + 8)


class HugeDevice(MemoryDevice):
    """Of any size; copying within it does nothing."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(blocks=0)
        self._size_bytes = 2 * size_bytes

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def copy_from(
        self, source: MemoryDevice, source_offset_bytes: int, offset_bytes: int, length_bytes: int
    ) -> None:
        self.calls.append(("copy_from", offset_bytes // 512, length_bytes // 512))


class TestAborted:
    """Errors detected while segment descriptors are processed: COPY ABORTED (SPC-4, 6.4.3)."""

    def test_a_unit_of_another_target_is_not_reachable(self, pair: Pair) -> None:
        """What is not mapped to the initiator is neither read nor written, whoever else has it."""
        secret = MemoryDevice()
        unit = LogicalUnit(secret, Personality(Identity(UUID(int=3))))
        Target(TargetPort("iqn.2026-11.org.example:another")).add_unit(0, unit)
        cscds = [pair.cscds[0], naa_cscd(unit)]
        before = bytes(secret.data)
        for ends, field in (((0, 1), 6), ((1, 0), 4)):
            first = blocks_segment(0, 0, 1, 0, 1)
            sense = pair.refused(first, blocks_segment(*ends, 1, 0, 0), cscds=cscds)
            assert sense == aborted(NOT_REACHABLE, 1, field)
        assert secret.calls == [] and bytes(secret.data) == before
        # The same initiator gets at it once it is mapped where its commands go.
        pair.bus.target.add_unit(2, unit)
        pair.bus.clear_attentions(1)
        pair.cscds = cscds
        pair.copy(blocks_segment(1, 0, 1, 0, 0))

    def test_a_neighbour_is_reached_as_long_as_it_is_one(self, pair: Pair) -> None:
        """Behind the kernel's target each unit has a target of its own; here as another's nexus."""
        device = MemoryDevice()
        unit = LogicalUnit(device, Personality(Identity(UUID(int=3))))
        other = Target(TargetPort("iqn.2026-11.org.example:another"))
        other.add_unit(0, unit, read_only=True)
        other.nexus_begins(9, initiator(9))
        device.data[:512] = b"n" * 512
        pair.bus.target.set_neighbours(other.reached(9))
        pair.cscds = [pair.cscds[0], naa_cscd(unit)]
        pair.copy(blocks_segment(1, 0, 1, 0, 4))
        assert bytes(pair.bus.device.data[4 * 512 : 5 * 512]) == b"n" * 512
        sense = pair.refused(blocks_segment(0, 1, 1, 0, 0), cscds=pair.cscds)
        assert sense[2] & 0xF == 0xA, "it is read-only where it is reached"
        assert pair.bus.target.luns() == [0, LUN_1]
        other.remove_unit(0)
        sense = pair.refused(blocks_segment(1, 0, 1, 0, 0), cscds=pair.cscds)
        assert sense[2] & 0xF == 0xA, "it has gone"
        pair.bus.target.set_neighbours(())
        sense = pair.refused(blocks_segment(1, 0, 1, 0, 0), cscds=pair.cscds)
        assert sense == aborted(NOT_REACHABLE, 0, 4)

    def test_a_unit_that_was_unmapped(self, pair: Pair) -> None:
        pair.bus.target.remove_unit(1)
        pair.bus.clear_attentions(1)
        sense = pair.refused(blocks_segment(1, 0, 1, 0, 0))
        assert sense == aborted(NOT_REACHABLE, 0, 4)

    @pytest.mark.parametrize("name", [b"\x30" * 8, b"", b"\x30" * 20])
    def test_a_name_that_nothing_has(self, pair: Pair, name: bytes) -> None:
        cscd = bytearray(pair.cscds[1])
        cscd[7:28] = bytes([len(name)]) + name.ljust(20, b"\0")
        cscds = [pair.cscds[0], bytes(cscd)]
        sense = pair.refused(blocks_segment(0, 1, 1, 0, 0), cscds=cscds)
        assert sense == aborted(NOT_REACHABLE, 0, 6)

    def test_a_descriptor_that_is_not_there(self, pair: Pair) -> None:
        """libiscsi's ValidSegDescr."""
        sense = pair.refused(blocks_segment(0, 2, 1, 0, 0))
        assert sense == aborted(UNREACHABLE, 0, 6)

    def test_a_null_device(self, pair: Pair) -> None:
        """NUL: as if it could not be reached (SPC-3)."""
        cscds = [naa_cscd(pair.bus.unit, device=0x20)]
        assert pair.refused(blocks_segment(0, 0, 1, 0, 0), cscds=cscds) == (
            aborted(UNREACHABLE, 0, 4)
        )

    def test_a_device_type_that_it_is_not(self, pair: Pair) -> None:
        cscds = [pair.cscds[0], naa_cscd(pair.other_unit, device=0x01)]
        assert pair.refused(blocks_segment(0, 1, 1, 0, 0), cscds=cscds) == (
            aborted(WRONG_TYPE, 0, 6)
        )

    @pytest.mark.parametrize(
        ("lba", "to_lba", "field"), [(63, 0, 12), (0, 63, 20), (1 << 64 - 1, 0, 12)]
    )
    def test_past_the_end(self, pair: Pair, lba: int, to_lba: int, field: int) -> None:
        """A later segment's is seen before the first is copied."""
        fine = blocks_segment(0, 1, 1, 0, 0)
        sense = pair.refused(fine, blocks_segment(0, 1, 2, lba, to_lba))
        assert sense == aborted(ABORTED, 1, field)

    def test_a_destination_that_is_write_protected(self, pair: Pair) -> None:
        page = bytes(4) + modes.SWP
        pair.bus.good([0x15, 0x10, 0, 0, len(page), 0], page, lun=LUN_1)
        sense = pair.refused(blocks_segment(0, 1, 1, 0, 0))
        assert sense == aborted(THIRD_PARTY_FAILURE, 0)
        pair.copy(blocks_segment(1, 0, 1, 0, 0))
        write = [0x2A, 0, 0, 0, 0, 0, 0, 0, 1, 0]
        assert pair.bus.refused(write, bytes(512), lun=LUN_1) == fixed(WRITE_PROTECTED)

    def test_a_later_segment_that_is_refused_keeps_the_first_from_being_copied(
        self, pair: Pair
    ) -> None:
        modes.select_6(pair.bus, modes.SWP)
        sense = pair.refused(blocks_segment(0, 1, 1, 0, 0), blocks_segment(1, 0, 1, 0, 0))
        assert sense == aborted(THIRD_PARTY_FAILURE, 1)

    def test_a_destination_that_is_mapped_read_only(self, pair: Pair) -> None:
        """At its place in this view, whatever the unit is elsewhere."""
        pair.bus.target.remove_unit(1)
        pair.bus.target.add_unit(1, pair.other_unit, read_only=True)
        pair.bus.clear_attentions(1)
        sense = pair.refused(blocks_segment(0, 1, 1, 0, 0))
        assert sense == aborted(THIRD_PARTY_FAILURE, 0)
        pair.copy(blocks_segment(1, 0, 1, 0, 0))

    @pytest.mark.parametrize("ends", [(0, 1), (1, 0)])
    def test_an_end_that_another_initiator_has_reserved(
        self, pair: Pair, ends: tuple[int, int]
    ) -> None:
        """By RESERVE nothing of it may be read either."""
        pair.bus.clear_attentions(2, LUN_1)
        pair.bus.good([0x16, 0, 0, 0, 0, 0], lun=LUN_1, nexus=2)
        sense = pair.refused(blocks_segment(*ends, 1, 0, 0))
        assert sense == aborted(THIRD_PARTY_FAILURE, 0)
        pair.bus.good([0x17, 0, 0, 0, 0, 0], lun=LUN_1, nexus=2)
        pair.copy(blocks_segment(*ends, 1, 0, 0))

    def test_a_persistent_reservation_of_the_destination(self, pair: Pair) -> None:
        """WRITE EXCLUSIVE: it may be copied from, not to; by its holder both."""
        pair.bus.clear_attentions(2, LUN_1)
        pair.bus.clear_attentions(2)
        register = [0x5F, 0x00, 0, 0, 0, 0, 0, 0, 24, 0]
        pair.bus.good(register, bytes(8) + b"holder!!" + bytes(8), lun=LUN_1, nexus=2)
        reserve = [0x5F, 0x01, 0x01, 0, 0, 0, 0, 0, 24, 0]
        pair.bus.good(reserve, b"holder!!" + bytes(16), lun=LUN_1, nexus=2)
        sense = pair.refused(blocks_segment(0, 1, 1, 0, 0))
        assert sense == aborted(THIRD_PARTY_FAILURE, 0)
        pair.copy(blocks_segment(1, 0, 1, 0, 0))
        data = copy_list(pair.cscds, [blocks_segment(0, 1, 1, 0, 0)])
        pair.bus.good(extended_copy(len(data)), data, nexus=2)

    @pytest.mark.parametrize("ends", [(0, 1), (1, 0)])
    def test_an_end_that_is_stopped(self, pair: Pair, ends: tuple[int, int]) -> None:
        pair.bus.good([0x1B, 0, 0, 0, 0, 0], lun=LUN_1)
        sense = pair.refused(blocks_segment(*ends, 1, 0, 0))
        assert sense == aborted(THIRD_PARTY_FAILURE, 0)

    @pytest.mark.parametrize(("lun", "failing"), [(0, "read"), (1, "copy_from")])
    def test_a_device_that_fails(self, pair: Pair, lun: int, failing: str) -> None:
        device = [pair.bus.device, pair.other][lun]
        device.fail = lambda call: "io-error" if call == failing else None
        sense = pair.refused(blocks_segment(0, 1, 1, 0, 0))
        assert sense == aborted(THIRD_PARTY_FAILURE, 0)

    def test_an_end_that_changes_while_it_is_copied(self) -> None:
        """Both ends are asked again between pieces: stopping one ends the copy soon."""
        pair = Pair()
        pair.bus.device.data = bytearray(512 * 40000)
        pair.other.data = bytearray(512 * 40000)

        def stop(call: str) -> None:
            if call == "copy_from":
                pair.bus.unit.readiness.set_started(False, removable=False)

        pair.other.fail = stop
        data = copy_list(pair.cscds, [blocks_segment(0, 1, 40000, 0, 0)])
        sense = pair.bus.refused(extended_copy(len(data)), data)
        assert sense == aborted(THIRD_PARTY_FAILURE, 0)
        assert pair.other.calls == [("copy_from", 0, (8 << 20) // 512)]


class TestResults:
    def test_status_of_a_copy_is_told_once(self, pair: Pair) -> None:
        """COPY STATUS: completed without errors, segments, bytes."""
        assert pair.bus.refused(receive(0x00)) == in_cdb(2)
        pair.copy(blocks_segment(0, 1, 3, 0, 0), blocks_segment(0, 1, 1, 0, 0))
        assert pair.bus.good(receive(0x01)) == bytes(4)
        assert pair.bus.good(receive(0x04)) == bytes(4)
        status = bytes.fromhex("00000008 01 0002 00") + (2048).to_bytes(4, "big")
        assert pair.bus.good(receive(0x00)) == status
        assert pair.bus.refused(receive(0x00)) == in_cdb(2)

    @pytest.mark.parametrize("usage", [DISCARD, NO_LIST_ID])
    def test_nothing_is_kept_where_it_was_not_asked_for(self, pair: Pair, usage: int) -> None:
        list_id = 0 if usage == NO_LIST_ID else 7
        data = copy_list(pair.cscds, [blocks_segment(0, 1, 1, 0, 0)], list_id, usage)
        pair.bus.good(extended_copy(len(data)), data)
        assert pair.bus.refused(receive(0x00, list_id)) == in_cdb(2)

    def test_a_failure(self, pair: Pair) -> None:
        """FAILED SEGMENT DETAILS stay until they were told whole, and COPY STATUS is told apart."""
        sense = pair.refused(blocks_segment(0, 2, 1, 0, 0))
        status = bytes.fromhex("00000008 02 0000 00 00000000")
        assert pair.bus.good(receive(0x00)) == status
        assert pair.bus.refused(receive(0x00)) == in_cdb(2)
        details = (74).to_bytes(4, "big") + bytes(52) + b"\x02\x00\x00\x12" + sense
        assert pair.bus.good(receive(0x04, length=20)) == details[:20]
        assert pair.bus.good(receive(0x04)) == details
        assert pair.bus.good(receive(0x04)) == bytes(4)

    def test_a_malformed_list_leaves_nothing(self, pair: Pair) -> None:
        pair.refused(b"\x03" + bytes(27))
        assert pair.bus.refused(receive(0x00)) == in_cdb(2)

    def test_each_nexus_has_its_own(self, pair: Pair) -> None:
        pair.copy(blocks_segment(0, 1, 1, 0, 0))
        pair.bus.clear_attentions(2)
        assert pair.bus.refused(receive(0x00), nexus=2) == in_cdb(2)
        pair.bus.good(receive(0x00))

    @pytest.mark.parametrize("event", ["reset", "nexus lost", "newer copies"])
    def test_what_ends_them(self, pair: Pair, event: str) -> None:
        pair.copy(blocks_segment(0, 1, 1, 0, 0))
        if event == "reset":
            pair.bus.unit.reset()
        elif event == "nexus lost":
            pair.bus.lose(1)
        for list_id in range(100, 116) if event == "newer copies" else ():
            data = copy_list(pair.cscds, [blocks_segment(0, 1, 1, 0, 0)], list_id)
            pair.bus.good(extended_copy(len(data)), data)
        pair.bus.clear_attentions(1)
        assert pair.bus.refused(receive(0x00)) == in_cdb(2)

    def test_while_it_is_copied(self, pair: Pair) -> None:
        """COPY STATUS: in progress; the identifier is taken; RECEIVE DATA has to wait."""
        seen: list[bytes] = []
        one = blocks_segment(0, 1, 1, 0, 0)
        data = copy_list(pair.cscds, [one])

        def look(call: str) -> None:
            seen.append(pair.bus.good(receive(0x00)))
            seen.append(pair.bus.refused(receive(0x01)))
            seen.append(pair.bus.refused(extended_copy(len(data)), data))

        pair.other.fail = once(look)
        pair.copy(one)
        in_progress = bytes.fromhex("00000008 00 0000 00 00000000")
        assert seen == [in_progress, in_cdb(2), fixed(COMMAND_IN_PROGRESS)]

    def test_operating_parameters(self, pair: Pair) -> None:
        """SNLID; limits; no inline or held data; descriptor types, ascending."""
        assert pair.bus.good(receive(0x03)) == bytes.fromhex(
            "0000002b 01 000000 0010 0040 00000a00 10000000 00000000 00000000 00000000"
            "0000 0008 08 00 00 00 000000 03 02 0a e4"
        )

    @pytest.mark.parametrize(
        ("copied", "unit", "count"), [(4096, 0, 4096), (1 << 32, 1, 1 << 22), (1 << 63, 4, 1 << 23)]
    )
    def test_transfer_count_units(self, pair: Pair, copied: int, unit: int, count: int) -> None:
        """The smallest unit of 1024 to the n that it fits in."""
        pair.copy(blocks_segment(0, 1, 1, 0, 0))
        mapping = next(mapping for mapping, unit in pair.bus.target.places())
        kept = pair.bus.unit.copy_results._kept
        (itl,) = (each for each in kept if each.mapping is mapping)
        kept[itl][7].transferred_bytes = copied
        assert pair.bus.good(receive(0x00))[7:] == bytes([unit]) + count.to_bytes(4, "big")


def once(act: Callable[[str], None]) -> Callable[[str], None]:
    """Acts at the first call, and not while it acts."""
    left = [act]

    def call(name: str) -> None:
        if left:
            left.pop()(name)

    return call


def test_the_third_party_copy_page(pair: Pair) -> None:
    """SPC-4, 7.8.17: supported commands, parameter data, descriptors, CSCD IDs, general copies."""
    page = pair.bus.good([0x12, 1, 0x8F, 4, 0, 0])
    assert page == bytes.fromhex(
        "00 8f 0064"
        "0001 000c 09 83 01 00 84 04 00 01 03 04 0000"
        "0004 001c 00000000 0010 0040 00000a00 00000000 000000000000000000000000"
        "0008 0004 03 02 0a e4"
        "000c 0004 0002 ffff"
        "8001 0020 00000008 00000008 10000000 00 00 000000000000000000000000000000000000"
    )
