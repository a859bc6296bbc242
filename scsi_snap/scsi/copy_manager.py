"""The copy manager: carries out a parsed EXTENDED COPY (SPC-4, 5.17).

Its invariant: both ends of every copy are logical units of the very view of the target that the
command came through, which is `Router.places`, or `Router.neighbours` of it, which everybody sees
who uses that view. There is no other way here to find a unit, so what an initiator could not read
or write by itself is not copied for it either.

All segments are planned before the first byte moves: ends found and asked whether they admit the
copy, ranges checked. While it runs, both ends are asked again between pieces.

How it ends: what is wrong with the parameter list is ILLEGAL REQUEST; what keeps a segment from
being copied is COPY ABORTED, with the segment's number as COMMAND-SPECIFIC INFORMATION and, where
one of its fields is to blame, that field.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from scsi_snap.scsi import copy_list
from scsi_snap.scsi.copy_list import CopyList, Cscd, Segment
from scsi_snap.scsi.copy_results import Copying
from scsi_snap.scsi.identification_pages import unit_designators
from scsi_snap.scsi.limits import (
    COPY_BYTES_MAX,
    COPY_PIECE_BYTES,
    COPY_SEGMENT_BYTES_MAX,
    PIECE_BYTES,
)
from scsi_snap.scsi.nexus import ItlNexus
from scsi_snap.scsi.operation import Access
from scsi_snap.scsi.reservations import ReservationConflict
from scsi_snap.scsi.sense import (
    CheckCondition,
    SegmentPointer,
    Sense,
    SenseCode,
    SenseKey,
    refuse_parameter,
)

if TYPE_CHECKING:
    from scsi_snap.scsi.invocation import Invocation
    from scsi_snap.scsi.logical_unit import LogicalUnit

_DIRECT_ACCESS = 0x00


@dataclass(frozen=True, slots=True)
class _End:
    """A unit that is copied from or to, and the I_T_L nexus that it is reached by."""

    unit: "LogicalUnit"
    itl: ItlNexus
    pads: bool

    @property
    def block_bytes(self) -> int:
        return self.unit.medium.block_bytes

    @contextmanager
    def admitted(self, access: Access, number: int) -> Iterator[None]:
        """Inside, it is read or written. What a READ or WRITE of this nexus would be refused for,
        or fails at, aborts the copy.
        """
        with _as_aborted(number), self.unit.admitted_copy(self.itl, access):
            yield

    def check(self, access: Access, number: int) -> None:
        """Aborts the copy where it could not be read or written now."""
        with self.admitted(access, number):
            pass


@dataclass(frozen=True, slots=True)
class _Move:
    """A planned segment: offsets from the start of each medium, in bytes."""

    number: int
    source: _End
    destination: _End
    source_offset: int
    offset: int
    length: int

    @property
    def in_whole_blocks(self) -> bool:
        """Of both ends: what the data path copies by itself."""
        source_bytes, block_bytes = self.source.block_bytes, self.destination.block_bytes
        in_source = (self.source_offset | self.length) % source_bytes == 0
        return in_source and (self.offset | self.length) % block_bytes == 0


def carry_out(invocation: "Invocation", wanted: CopyList, copying: Copying) -> None:
    """Copies; `copying` tells how far it is.

    One that had begun before begins again, unless it may have changed what it copies from.
    """
    moves = _plan(invocation, wanted)
    if invocation.repeated:
        _check_repeatable(moves)
    for move in moves:
        _copy(move, copying)
        with _as_aborted(move.number):
            move.destination.unit.written()
        copying.segments += 1


def _plan(invocation: "Invocation", wanted: CopyList) -> list[_Move]:
    ends: dict[int, _End] = {}
    moves = []
    total_bytes = 0
    for number, segment in enumerate(wanted.segments):
        for cscd_id, field in (
            (segment.source, copy_list.SOURCE_CSCD_FIELD),
            (segment.destination, copy_list.DESTINATION_CSCD_FIELD),
        ):
            if cscd_id not in ends:
                ends[cscd_id] = _find(invocation, wanted, cscd_id, number, field)
        move = _planned(number, segment, ends[segment.source], ends[segment.destination])
        total_bytes += move.length
        if move.length > COPY_SEGMENT_BYTES_MAX or total_bytes > COPY_BYTES_MAX:
            refuse_parameter(segment.offset + segment.length_field)
        moves.append(move)
    for move in moves:
        move.source.check(Access.READ, move.number)
        move.destination.check(Access.WRITE, move.number)
    return moves


def _check_repeatable(moves: list[_Move]) -> None:
    """Aborts a copy that writes where it reads: its source is not what it was any more."""
    for reading in moves:
        for writing in moves:
            if reading.source.unit is not writing.destination.unit:
                continue
            # Padding goes up to the end of the block.
            end = writing.offset + writing.length
            end += -end % writing.destination.block_bytes
            source_end = reading.source_offset + reading.length
            if reading.source_offset < end and writing.offset < source_end:
                code = SenseCode.SEGMENT_CANNOT_BE_COPIED
                raise CheckCondition(Sense(code, command_information=reading.number))


def _find(
    invocation: "Invocation", wanted: CopyList, cscd_id: int, number: int, field: int
) -> _End:
    """The unit that a CSCD descriptor ID means, in this view of the target or nowhere."""
    if cscd_id == copy_list.THIS_UNIT:
        return _End(invocation.unit, invocation.itl, pads=False)
    if cscd_id >= len(wanted.cscds) or wanted.cscds[cscd_id].is_null:
        _abort(SenseCode.UNREACHABLE_COPY_TARGET, number, field)
    cscd = wanted.cscds[cscd_id]
    if cscd.device_type != _DIRECT_ACCESS:
        _abort(SenseCode.INCORRECT_COPY_TARGET_DEVICE_TYPE, number, field)
    end = _named(invocation, cscd)
    if end is None:
        _abort(SenseCode.COPY_TARGET_DEVICE_NOT_REACHABLE, number, field)
    if cscd.block_bytes != end.block_bytes:
        refuse_parameter(cscd.offset + copy_list.CSCD_BLOCK_LENGTH_FIELD)
    return end


def _named(invocation: "Invocation", cscd: Cscd) -> _End | None:
    _, nexus, initiator = invocation.itl
    for mapping, unit in invocation.router.places():
        if cscd.designator in unit_designators(unit.personality.identity):
            return _End(unit, ItlNexus(mapping, nexus, initiator), cscd.pads)
    for itl, unit in invocation.router.neighbours():
        if cscd.designator in unit_designators(unit.personality.identity):
            return _End(unit, itl, cscd.pads)
    return None


def _planned(number: int, segment: Segment, source: _End, destination: _End) -> _Move:
    source_bytes, block_bytes = source.block_bytes, destination.block_bytes
    if segment.source_skip_bytes >= source_bytes:
        refuse_parameter(segment.offset + copy_list.SOURCE_SKIP_FIELD)
    if segment.destination_skip_bytes >= block_bytes:
        refuse_parameter(segment.offset + copy_list.DESTINATION_SKIP_FIELD)
    source_offset = segment.source_lba * source_bytes + segment.source_skip_bytes
    offset = segment.destination_lba * block_bytes + segment.destination_skip_bytes
    length = segment.length_in(source_bytes, block_bytes)
    for end, start, field in (
        (source, source_offset, copy_list.SOURCE_LBA_FIELD),
        (destination, offset, copy_list.DESTINATION_LBA_FIELD),
    ):
        if length and start + length > end.unit.medium.block_count * end.block_bytes:
            _abort(SenseCode.SEGMENT_CANNOT_BE_COPIED, number, field)
    residue = (offset + length) % block_bytes
    if residue or (source_offset + length) % source_bytes:
        # PAD and CAT of SPC-4. With CAT the residue would be kept for a segment to come.
        if segment.concatenates or not (source.pads or destination.pads):
            _abort(SenseCode.UNEXPECTED_INEXACT_SEGMENT, number, segment.length_field)
        if not destination.pads:
            length -= min(length, residue)
    return _Move(number, source, destination, source_offset, offset, length)


def _copy(move: _Move, copying: Copying) -> None:
    """Both ends are asked again before each piece."""
    copy_piece = _copy_blocks if move.in_whole_blocks else _copy_bytes
    for start in range(0, move.length, COPY_PIECE_BYTES):
        length = min(COPY_PIECE_BYTES, move.length - start)
        with (
            move.source.admitted(Access.READ, move.number),
            move.destination.admitted(Access.WRITE, move.number),
        ):
            copy_piece(move, start, length)
        copying.transferred_bytes += length


def _copy_blocks(move: _Move, start: int, length: int) -> None:
    source, destination = move.source.unit.medium, move.destination.unit.medium
    destination.copy_from(source, move.source_offset + start, move.offset + start, length)


def _copy_bytes(move: _Move, start: int, length: int) -> None:
    """Through memory: a part of a block at its start keeps what is before it, and at its end is
    filled up with zeros.
    """
    medium = move.destination.unit.medium
    block_bytes = medium.block_bytes
    at, end = move.offset + start, move.offset + start + length
    is_last = start + length == move.length
    while at < end:
        lba, skip = divmod(at, block_bytes)
        whole_bytes = min(PIECE_BYTES, end - at) // block_bytes * block_bytes
        count = whole_bytes if whole_bytes and not skip else min(block_bytes - skip, end - at)
        data = _read(move, move.source_offset + at - move.offset, count)
        if skip + count < block_bytes and is_last:
            data += bytes(block_bytes - skip - count)
        if len(data) % block_bytes:
            medium.replace_part(lba, skip, data)
        else:
            medium.write(lba, data)
        at += count


def _read(move: _Move, offset: int, length: int) -> bytes:
    medium = move.source.unit.medium
    first, skip = divmod(offset, medium.block_bytes)
    blocks = -(-(skip + length) // medium.block_bytes)
    return medium.read(first, blocks)[skip : skip + length]


@contextmanager
def _as_aborted(number: int) -> Iterator[None]:
    """What an end refuses or fails at aborts the copy."""
    try:
        yield
    except (CheckCondition, ReservationConflict) as refusal:
        code = SenseCode.THIRD_PARTY_DEVICE_FAILURE
        raise CheckCondition(Sense(code, command_information=number)) from refusal


def _abort(code: SenseCode, number: int, field: int) -> NoReturn:
    assert code.key is SenseKey.COPY_ABORTED
    raise CheckCondition(Sense(code, field=SegmentPointer(field), command_information=number))
