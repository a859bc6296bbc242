"""READ DEFECT DATA (SBC-4, 5.22 and 5.23): there is no defect list.

A pool replaces members, not blocks: nothing is remapped inside a unit. So both lists are empty,
and valid as such, in whichever address format is asked for.
"""

from typing import TYPE_CHECKING, Final

from scsi_snap.scsi.cdb import Field, Layout, flag, number
from scsi_snap.scsi.operation import Access, Operation

if TYPE_CHECKING:
    from scsi_snap.scsi.invocation import Invocation


def read_defect_data_10(invocation: "Invocation") -> bytes:
    """Four bytes: DEFECT LIST LENGTH is zero."""
    return bytes([0, _lists(invocation), 0, 0])


def read_defect_data_12(invocation: "Invocation") -> bytes:
    """Eight bytes: GENERATION CODE is not supported, DEFECT LIST LENGTH is zero."""
    return bytes([0, _lists(invocation)]) + bytes(6)


def _lists(invocation: "Invocation") -> int:
    """PLISTV, GLISTV and DEFECT LIST FORMAT, as they were requested."""
    cdb = invocation.cdb
    return cdb["request_plist"] << 4 | cdb["request_glist"] << 3 | cdb["defect_list_format"]


def _requests(byte: int) -> tuple[Field, ...]:
    return (
        flag("request_plist", byte, 4),
        flag("request_glist", byte, 3),
        Field("defect_list_format", byte, 2, 3),
    )


OPERATIONS: Final = (
    Operation(
        "READ DEFECT DATA (10)",
        0x37,
        Layout(10, *_requests(2), number("allocation_length", 7, 2)),
        read_defect_data_10,
        "SBC-4 5.22",
        Access.READ,
        needs_medium=True,
    ),
    Operation(
        "READ DEFECT DATA (12)",
        0xB7,
        Layout(
            12,
            *_requests(1),
            number("address_descriptor_index", 2, 4),
            number("allocation_length", 6, 4),
        ),
        read_defect_data_12,
        "SBC-4 5.23",
        Access.READ,
        needs_medium=True,
    ),
)
