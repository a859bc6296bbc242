"""The parameter list of EXTENDED COPY (LID1) (SPC-4, 6.4): header, CSCD descriptors, segments.

A CSCD (copy source or copy destination) descriptor names a logical unit; a segment descriptor names
two of them by their index, and says what to copy between them. This is the door: what is malformed
is refused here as ILLEGAL REQUEST, before anything is copied; a `CopyList` that exists is well
formed. Whether its units are there, and its ranges within them, is for the copy manager to see.
"""

from dataclasses import dataclass
from typing import Final

from scsi_snap.scsi.limits import (
    COPY_CSCD_DESCRIPTORS_MAX,
    COPY_DESCRIPTOR_LIST_BYTES_MAX,
    COPY_SEGMENTS_MAX,
)
from scsi_snap.scsi.sense import SenseCode, refuse, refuse_parameter

IDENTIFICATION: Final = 0xE4
BLOCK_TO_BLOCK, BLOCK_TO_BLOCK_OFFSET = 0x02, 0x0A
DESCRIPTOR_TYPES: Final = (BLOCK_TO_BLOCK, BLOCK_TO_BLOCK_OFFSET, IDENTIFICATION)
"""Ascending, as RECEIVE COPY OPERATING PARAMETERS lists them."""

THIS_UNIT: Final = 0xFFFF
"""The CSCD descriptor ID of the unit that the command came to."""

HOLD, DISCARD, NO_LIST_ID = 0b00, 0b10, 0b11
"""LIST ID USAGE. In SPC-2 the upper bit was NRCR, which meant the same as DISCARD does."""

_HEADER_BYTES = 16
_CSCD_BYTES = 32
_SEGMENT_BYTES = {BLOCK_TO_BLOCK: 28, BLOCK_TO_BLOCK_OFFSET: 32}
_DESIGNATOR_BYTES_MAX = 20


@dataclass(frozen=True, slots=True)
class Cscd:
    """An identification CSCD descriptor (E4h)."""

    offset: int
    """Where it begins in the parameter list."""
    is_null: bool
    device_type: int
    designator: bytes
    """As the device identification page has it, from CODE SET on, PROTOCOL IDENTIFIER zero."""
    pads: bool
    block_bytes: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment descriptor: 02h, which counts blocks, or 0Ah, where `blocks` is None."""

    offset: int
    """Where it begins in the parameter list."""
    source: int
    destination: int
    concatenates: bool
    """CAT: what does not fill a block is kept for the next segment."""
    counts_destination_blocks: bool
    """DC."""
    blocks: int | None
    length_bytes: int
    source_lba: int
    destination_lba: int
    source_skip_bytes: int
    """Into the source's first block."""
    destination_skip_bytes: int

    @property
    def length_field(self) -> int:
        """The byte of the descriptor where its length is."""
        return 8 if self.blocks is None else 10

    def length_in(self, source_block_bytes: int, destination_block_bytes: int) -> int:
        """How many bytes it is about."""
        if self.blocks is None:
            return self.length_bytes
        counts_destination = self.counts_destination_blocks
        return self.blocks * (destination_block_bytes if counts_destination else source_block_bytes)


SOURCE_LBA_FIELD, DESTINATION_LBA_FIELD = 12, 20
SOURCE_CSCD_FIELD, DESTINATION_CSCD_FIELD = 4, 6
SOURCE_SKIP_FIELD, DESTINATION_SKIP_FIELD = 28, 30
CSCD_BLOCK_LENGTH_FIELD: Final = 29
"""Bytes of their descriptors, for sense data."""


@dataclass(frozen=True, slots=True)
class CopyList:
    """A whole parameter list."""

    list_id: int
    usage: int
    cscds: tuple[Cscd, ...]
    segments: tuple[Segment, ...]


def parse(data: bytes) -> CopyList:
    """STR is kept whatever it says, as segments are copied in order; PRIORITY is a hint."""
    if len(data) < _HEADER_BYTES:
        refuse(SenseCode.PARAMETER_LIST_LENGTH_ERROR)
    cscds_bytes = int.from_bytes(data[2:4], "big")
    segments_bytes = int.from_bytes(data[8:12], "big")
    inline_bytes = int.from_bytes(data[12:16], "big")
    descriptors_bytes = cscds_bytes + segments_bytes
    if descriptors_bytes > COPY_DESCRIPTOR_LIST_BYTES_MAX or cscds_bytes % _CSCD_BYTES:
        refuse(SenseCode.PARAMETER_LIST_LENGTH_ERROR)
    if len(data) < _HEADER_BYTES + descriptors_bytes + inline_bytes:
        refuse(SenseCode.PARAMETER_LIST_LENGTH_ERROR)
    if inline_bytes:
        refuse(SenseCode.INLINE_DATA_LENGTH_EXCEEDED)
    usage = data[1] >> 3 & 0b11
    if usage not in (HOLD, DISCARD, NO_LIST_ID):
        refuse_parameter(1, 4)
    if usage == NO_LIST_ID and data[0]:
        refuse_parameter(0)
    segments_start = _HEADER_BYTES + cscds_bytes
    return CopyList(
        list_id=data[0],
        usage=usage,
        cscds=_cscds(data, segments_start),
        segments=_segments(data, segments_start, segments_start + segments_bytes),
    )


def _cscds(data: bytes, end: int) -> tuple[Cscd, ...]:
    starts = range(_HEADER_BYTES, end, _CSCD_BYTES)
    if len(starts) > COPY_CSCD_DESCRIPTORS_MAX:
        refuse(SenseCode.TOO_MANY_TARGET_DESCRIPTORS)
    return tuple(_cscd(data[start : start + _CSCD_BYTES], start) for start in starts)


def _cscd(data: bytes, offset: int) -> Cscd:
    """LU ID TYPE is about descriptors of other kinds (SPC-4). NUL, which SPC-4 has no more, is
    taken as older hosts mean it: as a unit that cannot be reached.
    """
    if data[0] != IDENTIFICATION:
        refuse(SenseCode.UNSUPPORTED_TARGET_DESCRIPTOR_TYPE_CODE)
    length = data[7]
    if length > _DESIGNATOR_BYTES_MAX:
        refuse_parameter(offset + 7)
    header = bytes([data[4] & 0x0F, data[5] & 0x3F, 0, length])
    return Cscd(
        offset=offset,
        is_null=bool(data[1] & 0x20),
        device_type=data[1] & 0x1F,
        designator=header + data[8 : 8 + length],
        pads=bool(data[28] & 0x04),
        block_bytes=int.from_bytes(data[29:32], "big"),
    )


def _segments(data: bytes, start: int, end: int) -> tuple[Segment, ...]:
    """Ends, as each descriptor is longer than nothing."""
    found: list[Segment] = []
    while start < end:
        if len(found) == COPY_SEGMENTS_MAX:
            refuse(SenseCode.TOO_MANY_SEGMENT_DESCRIPTORS)
        length = _SEGMENT_BYTES.get(data[start])
        if length is None:
            refuse(SenseCode.UNSUPPORTED_SEGMENT_DESCRIPTOR_TYPE_CODE)
        if start + length > end:
            refuse(SenseCode.PARAMETER_LIST_LENGTH_ERROR)
        if int.from_bytes(data[start + 2 : start + 4], "big") != length - 4:
            refuse_parameter(start + 2)
        found.append(_segment(data[start : start + length], start))
        start += length
    return tuple(found)


def _segment(data: bytes, offset: int) -> Segment:
    def number(first: int, width: int) -> int:
        return int.from_bytes(data[first : first + width], "big")

    with_offset = data[0] == BLOCK_TO_BLOCK_OFFSET
    return Segment(
        offset=offset,
        source=number(SOURCE_CSCD_FIELD, 2),
        destination=number(DESTINATION_CSCD_FIELD, 2),
        concatenates=bool(data[1] & 0x01),
        counts_destination_blocks=bool(data[1] & 0x02) and not with_offset,
        blocks=None if with_offset else number(10, 2),
        length_bytes=number(8, 4) if with_offset else 0,
        source_lba=number(SOURCE_LBA_FIELD, 8),
        destination_lba=number(DESTINATION_LBA_FIELD, 8),
        source_skip_bytes=number(SOURCE_SKIP_FIELD, 2) if with_offset else 0,
        destination_skip_bytes=number(DESTINATION_SKIP_FIELD, 2) if with_offset else 0,
    )
