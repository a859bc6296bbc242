"""UNMAP and WRITE SAME (SBC-4, 5.35, 5.52, 5.53): deallocating, and filling with one block.

An unmapped block reads as zeros (LBPRZ). Blocks are not anchored, and ANCHOR is refused. A fully
provisioned unit has no UNMAP command, and refuses the UNMAP bit.
"""

from typing import TYPE_CHECKING, Final

from scsi_snap.scsi.block_commands import check_range, pieces
from scsi_snap.scsi.cdb import Cdb, Layout, flag, number, refused
from scsi_snap.scsi.limits import UNMAP_BYTES_MAX, UNMAP_DESCRIPTORS_MAX, WRITE_SAME_BYTES_MAX
from scsi_snap.scsi.operation import LONG_S, Access, Operation, parameter_list, sixteen, ten
from scsi_snap.scsi.sense import SenseCode, refuse, refuse_parameter

if TYPE_CHECKING:
    from scsi_snap.scsi.invocation import Invocation
    from scsi_snap.scsi.logical_unit import LogicalUnit

_HEADER_BYTES = 8
_DESCRIPTOR_BYTES = 16


def can_unmap(unit: "LogicalUnit") -> bool:
    """Whether a unit has UNMAP. One whose medium is write protected has, and refuses it as that."""
    return unit.personality.thin and unit.personality.unmap_command


def can_unmap_by_write_same(unit: "LogicalUnit") -> bool:
    """Whether the UNMAP bit of WRITE SAME is one to set."""
    return unit.personality.thin and unit.personality.unmap_by_write_same


def refuses_zero_count(unit: "LogicalUnit") -> bool:
    """WSNZ: where blocks can be deallocated, the rest of the unit is not, by a count left out."""
    return unit.personality.thin


def unmap(invocation: "Invocation") -> bytes:
    """UNMAP: every descriptor is checked before the first block is deallocated."""
    data = invocation.parameter_list()
    if not data:
        return b""
    ranges = _unmap_ranges(data)
    for lba, blocks in ranges:
        check_range(invocation, lba, blocks)
    medium = invocation.unit.medium
    if sum(blocks for _, blocks in ranges) * medium.block_bytes > UNMAP_BYTES_MAX:
        refuse_parameter(_HEADER_BYTES + 8)
    for lba, blocks in ranges:
        if blocks:
            medium.discard(lba, blocks)
    invocation.unit.written()
    return b""


def _unmap_ranges(data: bytes) -> list[tuple[int, int]]:
    """LBA and number of blocks of each whole block descriptor (SBC-4, 5.35.2).

    A descriptor that is cut short, by its length field or by that of the list, is not there.
    """
    if len(data) < _HEADER_BYTES:
        refuse(SenseCode.PARAMETER_LIST_LENGTH_ERROR)
    descriptors_bytes = min(int.from_bytes(data[2:4], "big"), len(data) - _HEADER_BYTES)
    count = descriptors_bytes // _DESCRIPTOR_BYTES
    if count > UNMAP_DESCRIPTORS_MAX:
        refuse_parameter(2)
    starts = range(_HEADER_BYTES, _HEADER_BYTES + count * _DESCRIPTOR_BYTES, _DESCRIPTOR_BYTES)
    return [
        (
            int.from_bytes(data[start : start + 8], "big"),
            int.from_bytes(data[start + 8 : start + 12], "big"),
        )
        for start in starts
    ]


def write_same(invocation: "Invocation") -> bytes:
    """WRITE SAME: one block, or zeros with NDOB, over a range; with UNMAP, zeros deallocate it.

    A count of zero means all blocks to the last, within the same limit, where it is not refused.
    """
    cdb, medium = invocation.cdb, invocation.unit.medium
    lba, blocks = cdb["lba"], cdb["number_of_blocks"]
    if cdb["unmap"] and not can_unmap_by_write_same(invocation.unit):
        cdb.refuse("unmap")
    if not blocks and refuses_zero_count(invocation.unit):
        cdb.refuse("number_of_blocks")
    check_range(invocation, lba, max(blocks, 1))
    blocks = blocks or medium.block_count - lba
    if blocks * medium.block_bytes > WRITE_SAME_BYTES_MAX:
        cdb.refuse("number_of_blocks")
    block = invocation.exact_block_data()
    if any(block):
        for first, count in pieces(lba, blocks, medium.block_bytes):
            medium.write(first, block * count)
    elif cdb["unmap"]:
        medium.discard(lba, blocks)
    else:
        medium.write_zeroes(lba, blocks)
    invocation.unit.written()
    return b""


def _one_block(cdb: Cdb, block_bytes: int) -> int:
    return 0 if cdb.get("no_data_out_buffer") else block_bytes


# PBDATA and LBDATA (obsolete) ask for other data than the block that was sent.
_WRITE_SAME_FIELDS = (
    refused("anchor", 1, 4),
    flag("unmap", 1, 3),
    refused("pbdata", 1, 2),
    refused("lbdata", 1, 1),
)

OPERATIONS: Final = (
    Operation(
        "WRITE SAME (10)",
        0x41,
        ten("write_protect", "number_of_blocks", *_WRITE_SAME_FIELDS),
        write_same,
        "SBC-4 5.52",
        Access.WRITE,
        data_out=_one_block,
        needs_medium=True,
        changes_medium=True,
        timeout_s=LONG_S,
    ),
    Operation(
        "UNMAP",
        0x42,
        Layout(10, refused("anchor", 1, 0), number("parameter_list_length", 7, 2)),
        unmap,
        "SBC-4 5.35",
        Access.WRITE,
        data_out=parameter_list,
        needs_medium=True,
        changes_medium=True,
        timeout_s=LONG_S,
        offered=can_unmap,
    ),
    Operation(
        "WRITE SAME (16)",
        0x93,
        sixteen(
            "write_protect",
            "number_of_blocks",
            *_WRITE_SAME_FIELDS,
            flag("no_data_out_buffer", 1, 0),
        ),
        write_same,
        "SBC-4 5.53",
        Access.WRITE,
        data_out=_one_block,
        needs_medium=True,
        changes_medium=True,
        timeout_s=LONG_S,
    ),
)
