"""COMPARE AND WRITE, ORWRITE and WRITE ATOMIC (SBC-4, 4.25, 4.27 and 4.29).

What these promise is kept by the device alone: COMPARE AND WRITE and ORWRITE are one uninterrupted
sequence against everybody's changes, and a WRITE ATOMIC is all there or not there, after a power
cut too. Here are their CDBs and their limits.

WRITE ATOMIC takes whole physical blocks (ATOMIC ALIGNMENT, ATOMIC TRANSFER LENGTH GRANULARITY).
With an ATOMIC BOUNDARY it is a row of atomic writes, each of that length.
"""

from typing import TYPE_CHECKING, Final

from scsi_snap.scsi.block_commands import check_range, settle, transfer_range
from scsi_snap.scsi.cdb import Cdb, Layout, number, refused
from scsi_snap.scsi.limits import COMPARE_AND_WRITE_BLOCKS_MAX, TRANSFER_BYTES_MAX
from scsi_snap.scsi.operation import (
    DPO,
    FUA,
    Access,
    Operation,
    blocks,
    sixteen,
)
from scsi_snap.scsi.sense import CheckCondition, Sense, SenseCode, refuse

if TYPE_CHECKING:
    from scsi_snap.scsi.device import Medium
    from scsi_snap.scsi.invocation import Invocation
    from scsi_snap.scsi.logical_unit import LogicalUnit


def compare_and_write(invocation: "Invocation") -> bytes:
    """COMPARE AND WRITE (SBC-4, 5.3): the Data-Out buffer is what to compare, then what to write.

    A miscompare says as INFORMATION where in the Data-Out buffer the first other byte is.
    """
    cdb, medium = invocation.cdb, invocation.unit.medium
    lba, count = cdb["lba"], cdb["number_of_blocks"]
    check_range(invocation, lba, count)
    if count > COMPARE_AND_WRITE_BLOCKS_MAX:
        cdb.refuse("number_of_blocks")
    if not count:
        # A host that sends the data of 256 blocks has counted past the field's one byte: GOOD would
        # tell it that all it sent was equal, and is written.
        if invocation.expected.bytes == 2 * 256 * medium.block_bytes:
            cdb.refuse("number_of_blocks")
        return b""
    data = invocation.exact_block_data()
    middle = count * medium.block_bytes
    expected, wanted = data[:middle], data[middle:]
    difference = medium.compare_and_write(lba, expected, wanted)
    if difference is not None and not (
        invocation.repeated and _was_begun(medium, lba, expected, wanted)
    ):
        refuse(SenseCode.MISCOMPARE_DURING_VERIFY_OPERATION, difference)
    settle(invocation)
    return b""


def _was_begun(medium: "Medium", lba: int, expected: bytes, wanted: bytes) -> bool:
    """Whether every block holds what was expected or what is to be written, as the process left
    it that was carrying the command out. Then it is brought to its end.
    """
    step = medium.block_bytes
    found = medium.read(lba, len(wanted) // step)
    for start in range(0, len(found), step):
        block = slice(start, start + step)
        if found[block] not in (expected[block], wanted[block]):
            return False
    return medium.compare_and_write(lba, found, wanted) is None


def or_write(invocation: "Invocation") -> bytes:
    """ORWRITE (SBC-4, 5.10): sets the bits that are set in the Data-Out buffer."""
    lba, count = transfer_range(invocation)
    data = invocation.block_data()
    if count:
        invocation.unit.medium.or_write(lba, data)
        settle(invocation)
    return b""


def write_atomic(invocation: "Invocation") -> bytes:
    """WRITE ATOMIC (SBC-4, 5.48)."""
    cdb, medium = invocation.cdb, invocation.unit.medium
    lba, count = cdb["lba"], cdb["transfer_length"]
    check_range(invocation, lba, count)
    step = _atomic_step(medium, cdb)
    data = invocation.block_data()
    for done in range(0, count, step):
        some = min(step, count - done)
        start = done * medium.block_bytes
        try:
            medium.write_atomic(lba + done, data[start : start + some * medium.block_bytes])
        except CheckCondition as failure:
            if not done:
                raise
            # Only the ones before it happened (SBC-4, 4.29.1).
            incomplete = SenseCode.INCOMPLETE_MULTIPLE_ATOMIC_WRITE_OPERATIONS
            raise CheckCondition(Sense(incomplete)) from failure
    if count:
        settle(invocation)
    return b""


def _atomic_step(medium: "Medium", cdb: Cdb) -> int:
    """How many blocks one atomic write has, in the order of checks of SBC-4, 4.29.1."""
    count, boundary = cdb["transfer_length"], cdb["atomic_boundary"]
    longest, unit = medium.atomic_blocks_max, medium.physical_block_blocks
    if boundary > longest:
        cdb.refuse("atomic_boundary")
    if count > (atomic_blocks_with_boundary_max(medium) if boundary else longest):
        cdb.refuse("transfer_length")
    for name, blocks_of in (("lba", cdb["lba"]), ("transfer_length", count)):
        if blocks_of % unit:
            cdb.refuse(name)
    if boundary % unit:
        cdb.refuse("atomic_boundary")
    return boundary or longest


def atomic_blocks_with_boundary_max(medium: "Medium") -> int:
    """MAXIMUM ATOMIC TRANSFER LENGTH WITH ATOMIC BOUNDARY: that of any transfer, while TRANSFER
    LENGTH has two bytes; a multiple of the granularity.
    """
    most = min(TRANSFER_BYTES_MAX // medium.block_bytes, 0xFFFF)
    return most - most % medium.physical_block_blocks


def has_atomic_writes(unit: "LogicalUnit") -> bool:
    """Whether a unit offers WRITE ATOMIC: snapshots and devices that cannot do it do not."""
    return unit.medium.atomic_blocks_max > 0


def _two_instances(cdb: Cdb, block_bytes: int) -> int:
    return 2 * cdb["number_of_blocks"] * block_bytes


OPERATIONS: Final = (
    Operation(
        "COMPARE AND WRITE",
        0x89,
        Layout(
            16,
            refused("write_protect", 1, 7, 3),
            DPO,
            FUA,
            number("lba", 2, 8),
            number("number_of_blocks", 13, 1),
        ),
        compare_and_write,
        "SBC-4 5.3",
        Access.WRITE,
        data_out=_two_instances,
        once=True,
        needs_medium=True,
        changes_medium=True,
    ),
    Operation(
        "ORWRITE (16)",
        0x8B,
        sixteen("or_protect", "transfer_length", DPO, FUA),
        or_write,
        "SBC-4 5.10",
        Access.WRITE,
        data_out=blocks,
        needs_medium=True,
        changes_medium=True,
    ),
    Operation(
        "WRITE ATOMIC (16)",
        0x9C,
        Layout(
            16,
            refused("write_protect", 1, 7, 3),
            DPO,
            FUA,
            number("lba", 2, 8),
            number("atomic_boundary", 10, 2),
            number("transfer_length", 12, 2),
        ),
        write_atomic,
        "SBC-4 5.48",
        Access.WRITE,
        data_out=blocks,
        needs_medium=True,
        changes_medium=True,
        offered=has_atomic_writes,
    ),
)
