"""Who and where: the vital product data pages 80h, 83h and 88h (SPC-4, 7.8).

Designators name the logical unit, the target port and the target device. A target device is an
iSCSI node; its ports are the portal groups through which the unit can be reached. Another target
that shows the unit is another device, and has ports of its own.
"""

from typing import TYPE_CHECKING

from scsi_snap.scsi.identity import Identity
from scsi_snap.scsi.nexus import TargetPort
from scsi_snap.scsi.target_port_groups import TARGET_PORT_GROUP, ports_of_device

if TYPE_CHECKING:
    from scsi_snap.scsi.logical_unit import LogicalUnit

_BINARY, _ASCII, _UTF8 = 0x1, 0x2, 0x3
_OF_UNIT, _OF_PORT, _OF_DEVICE = 0x0, 0x1, 0x2
_T10_VENDOR_ID, _NAA, _SCSI_NAME = 0x1, 0x3, 0x8
_RELATIVE_TARGET_PORT, _TARGET_PORT_GROUP, _LOGICAL_UNIT_GROUP = 0x4, 0x5, 0x6
_ISCSI = 0x5

_UNIT_GROUP = 1
"""All units of a target are one logical unit group: their port groups never differ in state."""


def unit_serial_number(unit: "LogicalUnit", _port: TargetPort) -> bytes:
    """SPC-4, 7.8.15."""
    return unit.personality.identity.serial_number.encode("ascii")


def device_identification(unit: "LogicalUnit", port: TargetPort) -> bytes:
    """SPC-4, 7.8.6: names of the logical unit, of the target port, of the target device."""
    return b"".join(
        [
            *unit_designators(unit.personality.identity),
            _number(_OF_UNIT, _LOGICAL_UNIT_GROUP, _UNIT_GROUP),
            _number(_OF_PORT, _RELATIVE_TARGET_PORT, port.relative_identifier),
            _number(_OF_PORT, _TARGET_PORT_GROUP, TARGET_PORT_GROUP),
            _port_name(port),
            _designator(_UTF8, _OF_DEVICE, _SCSI_NAME, _name(port.target_name)),
        ]
    )


def unit_designators(identity: Identity) -> list[bytes]:
    """The designation descriptors that name the logical unit itself, and nothing else."""
    vendor_id = identity.vendor.encode("ascii").ljust(8) + identity.serial_number.encode("ascii")
    return [
        _designator(_BINARY, _OF_UNIT, _NAA, identity.naa),
        _designator(_ASCII, _OF_UNIT, _T10_VENDOR_ID, vendor_id),
        _designator(_UTF8, _OF_UNIT, _SCSI_NAME, _name(f"naa.{identity.naa.hex()}")),
    ]


def scsi_ports(unit: "LogicalUnit", port: TargetPort) -> bytes:
    """SPC-4, 7.8.14: each target port, with its name. There are no initiator ports."""
    return b"".join(_port(each) for each in ports_of_device(unit, port))


def _port(port: TargetPort) -> bytes:
    name = _port_name(port)
    relative = port.relative_identifier.to_bytes(4, "big")
    return relative + bytes(6) + len(name).to_bytes(2, "big") + name


def _port_name(port: TargetPort) -> bytes:
    name = f"{port.target_name},t,0x{port.portal_group_tag:04x}"
    return _designator(_UTF8, _OF_PORT, _SCSI_NAME, _name(name))


def _number(association: int, kind: int, value: int) -> bytes:
    return _designator(_BINARY, association, kind, value.to_bytes(4, "big"))


def _designator(code_set: int, association: int, kind: int, value: bytes) -> bytes:
    """PIV says that the protocol identifier means something, which it does off the unit itself."""
    by_protocol = association != _OF_UNIT
    first = code_set | (_ISCSI << 4 if by_protocol else 0)
    second = kind | association << 4 | (0x80 if by_protocol else 0)
    return bytes([first, second, 0, len(value)]) + value


def _name(text: str) -> bytes:
    """SCSI name string (SPC-4): ended by a null, padded to a multiple of four."""
    data = text.encode("utf-8") + b"\x00"
    return data + bytes(-len(data) % 4)
