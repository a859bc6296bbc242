"""READ, WRITE, VERIFY and SYNCHRONIZE CACHE (SBC-3, clause 5), in all their CDB sizes.

DPO is a hint about a cache that the devices below keep as they please. FUA is kept: a FUA WRITE is
durable when it ends, and a FUA READ returns what is durable. With WCE off every WRITE is FUA.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from scsi_snap.scsi.cdb import Cdb, Field, Layout, number
from scsi_snap.scsi.limits import PIECE_BYTES, TRANSFER_BYTES_MAX
from scsi_snap.scsi.operation import (
    DPO,
    FUA,
    IMMED,
    LONG_S,
    Access,
    Operation,
    blocks,
    six,
    sixteen,
    ten,
    twelve,
)
from scsi_snap.scsi.sense import SenseCode, refuse

if TYPE_CHECKING:
    from scsi_snap.scsi.invocation import Invocation

NO_COMPARE, COMPARE_EACH, COMPARE_ALL_WITH_ONE = 0, 1, 3
BYTE_CHECKS: Final = frozenset({NO_COMPARE, COMPARE_EACH, COMPARE_ALL_WITH_ONE})
"""BYTCHK of VERIFY (SBC-3); 2 is reserved."""


def read(invocation: "Invocation") -> bytes:
    """READ: the blocks, whole, as Data-In."""
    lba, blocks = transfer_range(invocation)
    if not blocks:
        return b""
    medium = invocation.unit.medium
    if invocation.cdb.get("fua"):
        medium.flush()
    return medium.read(lba, blocks)


def write(invocation: "Invocation") -> bytes:
    """WRITE. Where the initiator sends fewer bytes than the CDB says, what came is written.

    The transport reports the rest as a residual overflow (RFC 7143, 11.4.5.2). A block that came
    in part cannot be written, and is refused instead.
    """
    lba, _ = transfer_range(invocation)
    medium = invocation.unit.medium
    data = invocation.data_out[: invocation.data_out_wanted_bytes]
    if len(data) % medium.block_bytes:
        refuse(SenseCode.INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT)
    if data:
        medium.write(lba, data)
    if invocation.cdb.get("fua"):
        medium.flush()
    else:
        invocation.unit.written()
    return b""


def verify(invocation: "Invocation") -> bytes:
    """VERIFY: the blocks can be read, and with BYTCHK hold what the Data-Out buffer says."""
    lba, blocks = transfer_range(invocation)
    medium = invocation.unit.medium
    byte_check = invocation.cdb["byte_check"]
    expected = invocation.block_data()
    for first, count in pieces(lba, blocks, medium.block_bytes):
        found = medium.read(first, count)
        if byte_check == COMPARE_EACH:
            start = (first - lba) * medium.block_bytes
            _compare(found, expected[start : start + len(found)], first, medium.block_bytes)
        elif byte_check == COMPARE_ALL_WITH_ONE:
            _compare(found, expected * count, first, medium.block_bytes)
    return b""


def _compare(found: bytes, expected: bytes, lba: int, block_bytes: int) -> None:
    """Refuses with the first block that differs as INFORMATION."""
    if found == expected:
        return
    for start in range(0, len(found), block_bytes):
        if found[start : start + block_bytes] != expected[start : start + block_bytes]:
            refuse(SenseCode.MISCOMPARE_DURING_VERIFY_OPERATION, lba + start // block_bytes)


def synchronize_cache(invocation: "Invocation") -> bytes:
    """SYNCHRONIZE CACHE: everything, whatever the range, and done when it ends, whatever IMMED."""
    cdb = invocation.cdb
    check_range(invocation, cdb["lba"], cdb["number_of_blocks"])
    invocation.unit.medium.flush()
    return b""


def transfer_range(invocation: "Invocation") -> tuple[int, int]:
    """LBA and number of blocks of a transfer, within the medium and MAXIMUM TRANSFER LENGTH."""
    cdb = invocation.cdb
    lba, blocks = cdb["lba"], cdb["transfer_length"]
    check_range(invocation, lba, blocks)
    if blocks * invocation.unit.medium.block_bytes > TRANSFER_BYTES_MAX:
        cdb.refuse("transfer_length")
    return lba, blocks


def check_range(invocation: "Invocation", lba: int, blocks: int) -> None:
    """No block lies past the medium (SBC-3); INFORMATION is the first that would."""
    block_count = invocation.unit.medium.block_count
    if lba + blocks > block_count:
        refuse(SenseCode.LBA_OUT_OF_RANGE, max(lba, block_count))


def pieces(lba: int, blocks: int, block_bytes: int) -> Iterator[tuple[int, int]]:
    """A range in parts of bounded size: (first LBA, number of blocks)."""
    step = PIECE_BYTES // block_bytes
    for first in range(lba, lba + blocks, step):
        yield first, min(step, lba + blocks - first)


def _blocks_to_verify(cdb: Cdb, block_bytes: int) -> int:
    if cdb["byte_check"] == NO_COMPARE or not cdb["transfer_length"]:
        return 0
    return block_bytes if cdb["byte_check"] == COMPARE_ALL_WITH_ONE else blocks(cdb, block_bytes)


_VERIFY_FIELDS = (DPO, Field("byte_check", 1, 2, 2, BYTE_CHECKS))

OPERATIONS: Final = (
    Operation(
        "READ (6)",
        0x08,
        six(),
        read,
        "SBC-2",
        Access.READ,
        needs_medium=True,
    ),
    Operation(
        "WRITE (6)",
        0x0A,
        six(),
        write,
        "SBC-2",
        Access.WRITE,
        data_out=blocks,
        needs_medium=True,
        changes_medium=True,
    ),
    Operation(
        "READ (10)",
        0x28,
        ten("read_protect", "transfer_length", DPO, FUA),
        read,
        "SBC-3",
        Access.READ,
        needs_medium=True,
    ),
    Operation(
        "WRITE (10)",
        0x2A,
        ten("write_protect", "transfer_length", DPO, FUA),
        write,
        "SBC-3",
        Access.WRITE,
        data_out=blocks,
        needs_medium=True,
        changes_medium=True,
    ),
    Operation(
        "VERIFY (10)",
        0x2F,
        ten("verify_protect", "transfer_length", *_VERIFY_FIELDS),
        verify,
        "SBC-3",
        Access.READ,
        data_out=_blocks_to_verify,
        needs_medium=True,
    ),
    Operation(
        "SYNCHRONIZE CACHE (10)",
        0x35,
        Layout(10, IMMED, number("lba", 2, 4), number("number_of_blocks", 7, 2)),
        synchronize_cache,
        "SBC-3",
        Access.WRITE,
        needs_medium=True,
        timeout_s=LONG_S,
    ),
    Operation(
        "READ (16)",
        0x88,
        sixteen("read_protect", "transfer_length", DPO, FUA),
        read,
        "SBC-3 5.14",
        Access.READ,
        needs_medium=True,
    ),
    Operation(
        "WRITE (16)",
        0x8A,
        sixteen("write_protect", "transfer_length", DPO, FUA),
        write,
        "SBC-3",
        Access.WRITE,
        data_out=blocks,
        needs_medium=True,
        changes_medium=True,
    ),
    Operation(
        "VERIFY (16)",
        0x8F,
        sixteen("verify_protect", "transfer_length", *_VERIFY_FIELDS),
        verify,
        "SBC-3",
        Access.READ,
        data_out=_blocks_to_verify,
        needs_medium=True,
    ),
    Operation(
        "SYNCHRONIZE CACHE (16)",
        0x91,
        Layout(16, IMMED, number("lba", 2, 8), number("number_of_blocks", 10, 4)),
        synchronize_cache,
        "SBC-3",
        Access.WRITE,
        needs_medium=True,
        timeout_s=LONG_S,
    ),
    Operation(
        "READ (12)",
        0xA8,
        twelve("read_protect", "transfer_length", DPO, FUA),
        read,
        "SBC-3",
        Access.READ,
        needs_medium=True,
    ),
    Operation(
        "WRITE (12)",
        0xAA,
        twelve("write_protect", "transfer_length", DPO, FUA),
        write,
        "SBC-3",
        Access.WRITE,
        data_out=blocks,
        needs_medium=True,
        changes_medium=True,
    ),
    Operation(
        "VERIFY (12)",
        0xAF,
        twelve("verify_protect", "transfer_length", *_VERIFY_FIELDS),
        verify,
        "SBC-3",
        Access.READ,
        data_out=_blocks_to_verify,
        needs_medium=True,
    ),
)
