"""VERIFY and WRITE AND VERIFY (SBC-4, 5.36 to 5.38 and 5.44 to 5.46).

A verify operation is a read from the medium whose data goes nowhere. WRITE AND VERIFY makes what it
wrote durable before it reads it back, so that the medium is looked at and not the data just sent.
"""

from typing import TYPE_CHECKING, Final

from scsi_snap.scsi.block_commands import pieces, transfer_range, write_blocks
from scsi_snap.scsi.cdb import Cdb, Field
from scsi_snap.scsi.operation import (
    DPO,
    Access,
    Operation,
    blocks,
    sixteen,
    ten,
    twelve,
)
from scsi_snap.scsi.sense import SenseCode, refuse

if TYPE_CHECKING:
    from scsi_snap.scsi.device import Medium
    from scsi_snap.scsi.invocation import Invocation

NO_COMPARE, COMPARE_EACH, COMPARE_ALL_WITH_ONE = 0, 1, 3
BYTE_CHECKS: Final = frozenset({NO_COMPARE, COMPARE_EACH, COMPARE_ALL_WITH_ONE})
"""BYTCHK of VERIFY (SBC-4, 5.36); 2 is reserved."""

WRITTEN_BYTE_CHECKS: Final = frozenset({NO_COMPARE, COMPARE_EACH})
"""BYTCHK of WRITE AND VERIFY (SBC-4, 5.44); 3 is reserved too."""


def verify(invocation: "Invocation") -> bytes:
    """VERIFY: the blocks can be read, and with BYTCHK hold what the Data-Out buffer says."""
    lba, count = transfer_range(invocation)
    expected = invocation.block_data()
    _verify(invocation.unit.medium, lba, count, invocation.cdb["byte_check"], expected)
    return b""


def write_and_verify(invocation: "Invocation") -> bytes:
    """WRITE AND VERIFY: of what came, as WRITE takes it."""
    medium = invocation.unit.medium
    lba, data = write_blocks(invocation)
    medium.flush()
    _verify(medium, lba, len(data) // medium.block_bytes, invocation.cdb["byte_check"], data)
    return b""


def _verify(medium: "Medium", lba: int, count: int, byte_check: int, expected: bytes) -> None:
    for first, some in pieces(lba, count, medium.block_bytes):
        found = medium.read(first, some)
        if byte_check == COMPARE_EACH:
            start = (first - lba) * medium.block_bytes
            _compare(found, expected[start : start + len(found)], first, medium.block_bytes)
        elif byte_check == COMPARE_ALL_WITH_ONE:
            _compare(found, expected * some, first, medium.block_bytes)


def _compare(found: bytes, expected: bytes, lba: int, block_bytes: int) -> None:
    """Refuses with the first block that differs as INFORMATION."""
    if found == expected:
        return
    for start in range(0, len(found), block_bytes):
        if found[start : start + block_bytes] != expected[start : start + block_bytes]:
            refuse(SenseCode.MISCOMPARE_DURING_VERIFY_OPERATION, lba + start // block_bytes)


def _blocks_to_verify(cdb: Cdb, block_bytes: int) -> int:
    if cdb["byte_check"] == NO_COMPARE or not cdb["transfer_length"]:
        return 0
    return block_bytes if cdb["byte_check"] == COMPARE_ALL_WITH_ONE else blocks(cdb, block_bytes)


_VERIFY_FIELDS = (DPO, Field("byte_check", 1, 2, 2, BYTE_CHECKS))
_WRITE_AND_VERIFY_FIELDS = (DPO, Field("byte_check", 1, 2, 2, WRITTEN_BYTE_CHECKS))

OPERATIONS: Final = (
    Operation(
        "WRITE AND VERIFY (10)",
        0x2E,
        ten("write_protect", "transfer_length", *_WRITE_AND_VERIFY_FIELDS),
        write_and_verify,
        "SBC-4 5.44",
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
        "SBC-4 5.36",
        Access.READ,
        data_out=_blocks_to_verify,
        needs_medium=True,
    ),
    Operation(
        "WRITE AND VERIFY (16)",
        0x8E,
        sixteen("write_protect", "transfer_length", *_WRITE_AND_VERIFY_FIELDS),
        write_and_verify,
        "SBC-4 5.46",
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
        "SBC-4 5.38",
        Access.READ,
        data_out=_blocks_to_verify,
        needs_medium=True,
    ),
    Operation(
        "WRITE AND VERIFY (12)",
        0xAE,
        twelve("write_protect", "transfer_length", *_WRITE_AND_VERIFY_FIELDS),
        write_and_verify,
        "SBC-4 5.45",
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
        "SBC-4 5.37",
        Access.READ,
        data_out=_blocks_to_verify,
        needs_medium=True,
    ),
)
