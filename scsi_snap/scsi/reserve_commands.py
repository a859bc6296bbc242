"""RESERVE and RELEASE (SPC-2), as compatible reservation handling has them (SPC-4, 5.13.3).

Of the whole unit and for the nexus itself: extents and third parties are obsolete, and refused.
"""

from typing import TYPE_CHECKING, Final

from scsi_snap.scsi.cdb import Layout, refused
from scsi_snap.scsi.operation import Access, Operation

if TYPE_CHECKING:
    from scsi_snap.scsi.invocation import Invocation


def reserve(invocation: "Invocation") -> bytes:
    """RESERVE: the unit is this nexus's alone until it releases it, or is lost, or a reset."""
    invocation.unit.reservations.reserve(invocation.itl)
    return b""


def release(invocation: "Invocation") -> bytes:
    """RELEASE."""
    invocation.unit.reservations.release(invocation.itl)
    return b""


_SIX = Layout(6, refused("third_party", 1, 4), refused("extent", 1, 0))
_TEN = Layout(10, refused("third_party", 1, 4), refused("long_id", 1, 1), refused("extent", 1, 0))

OPERATIONS: Final = (
    Operation("RESERVE (6)", 0x16, _SIX, reserve, "SPC-2", Access.RESERVATION),
    Operation("RELEASE (6)", 0x17, _SIX, release, "SPC-2", Access.RESERVATION),
    Operation("RESERVE (10)", 0x56, _TEN, reserve, "SPC-2", Access.RESERVATION),
    Operation("RELEASE (10)", 0x57, _TEN, release, "SPC-2", Access.RESERVATION),
)
