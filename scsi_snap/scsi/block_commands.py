"""READ and WRITE (SBC-3, clause 5), in all their CDB sizes, and what other block commands share.

DPO is a hint about a cache that the devices below keep as they please. FUA is kept: a FUA WRITE is
durable when it ends, and a FUA READ returns what is durable. With WCE off every WRITE is FUA.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from scsi_snap.scsi.cdb import Cdb
from scsi_snap.scsi.limits import PIECE_BYTES, TRANSFER_BYTES_MAX
from scsi_snap.scsi.operation import (
    DPO,
    FUA,
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


def read(invocation: "Invocation") -> bytes:
    """READ: the blocks, whole, as Data-In."""
    lba, blocks = transfer_range(invocation)
    if not blocks:
        return b""
    medium = invocation.unit.medium
    if invocation.cdb.get("fua"):
        medium.flush()
    return medium.read(lba, blocks)


def blocks_to_read(cdb: Cdb) -> int:
    """TRANSFER LENGTH."""
    return cdb["transfer_length"]


def write(invocation: "Invocation") -> bytes:
    """WRITE: durable at its end with FUA, or where there is no write cache."""
    write_blocks(invocation)
    settle(invocation)
    return b""


def write_blocks(invocation: "Invocation") -> tuple[int, bytes]:
    """Writes the blocks of a transfer, as many as came: the first LBA, and the data."""
    lba, _ = transfer_range(invocation)
    data = invocation.first_blocks()
    if data:
        invocation.unit.medium.write(lba, data)
    return lba, data


def settle(invocation: "Invocation") -> None:
    """After a command has changed blocks: durable now with FUA, or where there is no cache."""
    if invocation.cdb.get("fua"):
        invocation.unit.medium.flush()
    else:
        invocation.unit.written()


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


OPERATIONS: Final = (
    Operation(
        "READ (6)",
        0x08,
        six(),
        read,
        "SBC-2",
        Access.READ,
        data_in=blocks_to_read,
        bears_data_out=True,
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
        data_in=blocks_to_read,
        bears_data_out=True,
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
        "READ (16)",
        0x88,
        sixteen("read_protect", "transfer_length", DPO, FUA),
        read,
        "SBC-3 5.14",
        Access.READ,
        data_in=blocks_to_read,
        bears_data_out=True,
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
        "READ (12)",
        0xA8,
        twelve("read_protect", "transfer_length", DPO, FUA),
        read,
        "SBC-3",
        Access.READ,
        data_in=blocks_to_read,
        bears_data_out=True,
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
)
