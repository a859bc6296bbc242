"""SYNCHRONIZE CACHE and PRE-FETCH (SBC-4, 5.13, 5.14, 5.33, 5.34).

The cache is the page cache that the pool's members lie under, and what it holds is not ours to
say: PRE-FETCH reads the blocks, which brings them there, and takes `PREFETCH_BYTES_MAX` for what
fits. Both commands have done their work when they end, whatever IMMED.
"""

from typing import TYPE_CHECKING, Final

from scsi_snap.scsi.block_commands import check_range, pieces
from scsi_snap.scsi.cdb import Layout, number
from scsi_snap.scsi.limits import PREFETCH_BYTES_MAX
from scsi_snap.scsi.operation import IMMED, LONG_S, Access, Operation
from scsi_snap.scsi.request import Status

if TYPE_CHECKING:
    from scsi_snap.scsi.invocation import Invocation


def synchronize_cache(invocation: "Invocation") -> bytes:
    """SYNCHRONIZE CACHE: everything, whatever the range."""
    cdb = invocation.cdb
    check_range(invocation, cdb["lba"], cdb["number_of_blocks"])
    invocation.unit.medium.flush()
    return b""


def pre_fetch(invocation: "Invocation") -> bytes | Status:
    """PRE-FETCH: CONDITION MET where all blocks fit the cache, GOOD where some did not.

    A length of zero means all blocks to the last; any other is bounded by MAXIMUM PREFETCH LENGTH.
    """
    cdb, medium = invocation.cdb, invocation.unit.medium
    lba, asked = cdb["lba"], cdb["prefetch_length"]
    check_range(invocation, lba, asked)
    fitting = PREFETCH_BYTES_MAX // medium.block_bytes
    if asked > fitting:
        cdb.refuse("prefetch_length")
    wanted = asked or medium.block_count - lba
    for first, count in pieces(lba, min(wanted, fitting), medium.block_bytes):
        medium.read(first, count)
    return Status.CONDITION_MET if wanted <= fitting else b""


OPERATIONS: Final = (
    Operation(
        "PRE-FETCH (10)",
        0x34,
        Layout(10, IMMED, number("lba", 2, 4), number("prefetch_length", 7, 2)),
        pre_fetch,
        "SBC-4 5.13",
        Access.READ,
        needs_medium=True,
    ),
    Operation(
        "SYNCHRONIZE CACHE (10)",
        0x35,
        Layout(10, IMMED, number("lba", 2, 4), number("number_of_blocks", 7, 2)),
        synchronize_cache,
        "SBC-4 5.33",
        Access.WRITE,
        needs_medium=True,
        timeout_s=LONG_S,
    ),
    Operation(
        "PRE-FETCH (16)",
        0x90,
        Layout(16, IMMED, number("lba", 2, 8), number("prefetch_length", 10, 4)),
        pre_fetch,
        "SBC-4 5.14",
        Access.READ,
        needs_medium=True,
    ),
    Operation(
        "SYNCHRONIZE CACHE (16)",
        0x91,
        Layout(16, IMMED, number("lba", 2, 8), number("number_of_blocks", 10, 4)),
        synchronize_cache,
        "SBC-4 5.34",
        Access.WRITE,
        needs_medium=True,
        timeout_s=LONG_S,
    ),
)
