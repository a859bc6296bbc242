"""REPORT TARGET PORT GROUPS (SPC-4, 5.16 and 6.37): asymmetric access, of which there is none.

All target ports of a target device are in one group that is always active/optimized. So TPGS says
that only the device server itself may ever change a state, and SET TARGET PORT GROUPS is not there.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from scsi_snap.scsi.cdb import Field, Layout, number
from scsi_snap.scsi.nexus import TargetPort
from scsi_snap.scsi.operation import Access, Operation

if TYPE_CHECKING:
    from scsi_snap.scsi.invocation import Invocation
    from scsi_snap.scsi.logical_unit import LogicalUnit

TARGET_PORT_GROUP: Final = 1
"""The one group that there is; 0 is not a group."""

TPGS_IMPLICIT: Final = 0x10
"""TPGS of standard INQUIRY data: implicit asymmetric logical unit access."""

_ACTIVE_OPTIMIZED = 0x0
_AO_SUP = 0x01

_LENGTH_ONLY, _EXTENDED = 0, 1
PARAMETER_DATA_FORMATS: Final = frozenset({_LENGTH_ONLY, _EXTENDED})

PORTS_MAX: Final = 255
"""TARGET PORT COUNT has one byte."""


def ports_of_device(unit: "LogicalUnit", asked: TargetPort) -> list[TargetPort]:
    """The ports of the target device of `asked` through which the unit is reached, by number. A
    target device is an iSCSI node: another target that shows the unit is another device.
    """
    ours = {each for each in unit.nexuses.target_ports() if each.target_name == asked.target_name}
    return sorted({asked, *ours}, key=lambda port: port.relative_identifier)


def report_target_port_groups(invocation: "Invocation") -> bytes:
    """The group, after a header of four bytes, or of eight with the implicit transition time."""
    ports = ports_of_device(invocation.unit, invocation.itl.mapping.port)
    groups = _group(ports[:PORTS_MAX])
    if invocation.cdb["parameter_data_format"] == _EXTENDED:
        # No state ever changes, so there is no time that a change takes.
        groups = bytes([_EXTENDED << 4, 0, 0, 0]) + groups
    return len(groups).to_bytes(4, "big") + groups


def _group(ports: Sequence[TargetPort]) -> bytes:
    """The target port group descriptor."""
    identifiers = b"".join(port.relative_identifier.to_bytes(4, "big") for port in ports)
    group = TARGET_PORT_GROUP.to_bytes(2, "big")
    return bytes([_ACTIVE_OPTIMIZED, _AO_SUP]) + group + bytes([0, 0, 0, len(ports)]) + identifiers


OPERATIONS: Final = (
    Operation(
        "REPORT TARGET PORT GROUPS",
        0xA3,
        Layout(
            12,
            Field("parameter_data_format", 1, 7, 3, PARAMETER_DATA_FORMATS),
            number("allocation_length", 6, 4),
        ),
        report_target_port_groups,
        "SPC-4",
        Access.ANY,
        service_action=0x0A,
    ),
)
