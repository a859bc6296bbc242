"""Standard INQUIRY data and the choice of a VPD page (SPC-4)."""

from typing import TYPE_CHECKING, Final

from scsi_snap.scsi import vpd
from scsi_snap.scsi.cdb import Layout, flag, number, refused
from scsi_snap.scsi.identity import REVISION, VENDOR, Personality
from scsi_snap.scsi.operation import Access, Operation
from scsi_snap.scsi.target_port_groups import TPGS_IMPLICIT, ports_of_device

if TYPE_CHECKING:
    from scsi_snap.scsi.invocation import Invocation

DIRECT_ACCESS: Final = 0x00
NO_LOGICAL_UNIT: Final = 0x7F
"""Peripheral qualifier 011b with device type 1Fh: nothing can be here."""

_VERSION_SPC_4 = 0x06
_RMB = 0x80
_HISUP = 0x10
_RESPONSE_DATA_FORMAT = 0x02
_3PC = 0x08
_MULTIP = 0x10
_CMDQUE = 0x02

VERSION_DESCRIPTORS: Final = {
    "SAM-5": 0x00A0,
    "iSCSI": 0x0960,
    "SPC-4": 0x0460,
    "SBC-3": 0x04C0,
}
"""No version claimed of each (SPC-4). Hosts look for these: one that finds SPC-5 or SBC-4 here
expects all of what those made mandatory, and one that looks for SBC-3 finds that it is not there. A
command that only a later standard has is found by REPORT SUPPORTED OPERATION CODES."""


def inquiry(invocation: "Invocation") -> bytes:
    """INQUIRY: standard data, or a VPD page with EVPD."""
    cdb, unit = invocation.cdb, invocation.unit
    if not cdb["evpd"]:
        if cdb["page_code"]:
            cdb.refuse("page_code")
        ports = ports_of_device(unit, invocation.itl.mapping.port)
        return standard_data(DIRECT_ACCESS, unit.personality, several_ports=len(ports) > 1)
    page = vpd.PAGES.get(cdb["page_code"])
    if page is None:
        cdb.refuse("page_code")
    return vpd.encode(cdb["page_code"], page(unit, invocation.itl.mapping.port))


def standard_data(
    peripheral: int, personality: Personality | None, *, several_ports: bool = False
) -> bytes:
    """96 bytes: qualifier and device type, what is supported, names, versions."""
    data = bytearray(96)
    data[0] = peripheral
    data[1] = _RMB if personality and personality.removable else 0
    data[2] = _VERSION_SPC_4
    data[3] = _HISUP | _RESPONSE_DATA_FORMAT
    data[4] = len(data) - 5
    data[5] = TPGS_IMPLICIT | _3PC if personality else 0
    data[6] = _MULTIP if several_ports else 0
    data[7] = _CMDQUE
    identity = personality.identity if personality else None
    data[8:16] = (identity.vendor if identity else VENDOR).encode("ascii").ljust(8)
    data[16:32] = (identity.product if identity else "").encode("ascii").ljust(16)
    data[32:36] = REVISION.encode("ascii").ljust(4)
    for index, descriptor in enumerate(VERSION_DESCRIPTORS.values()):
        data[58 + 2 * index : 60 + 2 * index] = descriptor.to_bytes(2, "big")
    return bytes(data)


OPERATIONS: Final = (
    Operation(
        "INQUIRY",
        0x12,
        Layout(
            6,
            refused("cmddt", 1, 1),
            flag("evpd", 1, 0),
            number("page_code", 2, 1),
            number("allocation_length", 3, 2),
        ),
        inquiry,
        "SPC-4",
        Access.ANY,
        despite_unit_attention=True,
        despite_background=True,
    ),
)
