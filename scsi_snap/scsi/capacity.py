"""READ CAPACITY (SBC-3)."""

from typing import TYPE_CHECKING, Final

from scsi_snap.scsi.cdb import Layout, number
from scsi_snap.scsi.operation import Access, Operation

if TYPE_CHECKING:
    from scsi_snap.scsi.invocation import Invocation

_SHORT_BYTES = 8
_LBPME_LBPRZ = 0xC0


def read_capacity_10(invocation: "Invocation") -> bytes:
    """Eight bytes; the last LBA is FFFFFFFFh where only READ CAPACITY (16) can say it."""
    medium = invocation.unit.medium
    last_lba = min(medium.block_count - 1, 0xFFFFFFFF)
    return last_lba.to_bytes(4, "big") + medium.block_bytes.to_bytes(4, "big")


def read_capacity_16(invocation: "Invocation") -> bytes:
    """32 bytes. No protection information; where physical blocks are; thin, zeros.

    LOWEST ALIGNED LOGICAL BLOCK ADDRESS is zero: volumes begin at a physical block.
    """
    unit = invocation.unit
    medium = unit.medium
    data = bytearray(32)
    data[0:8] = (medium.block_count - 1).to_bytes(8, "big")
    data[8:12] = medium.block_bytes.to_bytes(4, "big")
    data[13] = medium.physical_block_blocks.bit_length() - 1
    data[14] = _LBPME_LBPRZ if unit.personality.thin else 0
    return bytes(data)


OPERATIONS: Final = (
    Operation(
        "READ CAPACITY (10)",
        0x25,
        Layout(10),
        read_capacity_10,
        "SBC-3",
        Access.ANY,
        data_in=lambda _cdb: _SHORT_BYTES,
        needs_medium=True,
    ),
    Operation(
        "READ CAPACITY (16)",
        0x9E,
        Layout(16, number("allocation_length", 10, 4)),
        read_capacity_16,
        "SBC-3",
        Access.ANY,
        service_action=0x10,
        needs_medium=True,
    ),
)
