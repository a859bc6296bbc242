"""Vital product data pages of every device type (SPC-4, 7.8), from what the unit can do, and the
table of all pages.

`PAGES` maps a page code to the function that makes its contents; page 00h lists the same table.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from scsi_snap.scsi import block_pages
from scsi_snap.scsi.identity import Identity
from scsi_snap.scsi.nexus import TargetPort
from scsi_snap.scsi.third_party_copy_page import third_party_copy

if TYPE_CHECKING:
    from scsi_snap.scsi.logical_unit import LogicalUnit

Page = Callable[["LogicalUnit", TargetPort], bytes]


def encode(page_code: int, contents: bytes) -> bytes:
    """The page with its header; the device type is that of a direct-access block device."""
    return bytes([0x00, page_code]) + len(contents).to_bytes(2, "big") + contents


def _supported_pages(_unit: "LogicalUnit", _port: TargetPort) -> bytes:
    return bytes(sorted(PAGES))


def _unit_serial_number(unit: "LogicalUnit", _port: TargetPort) -> bytes:
    return unit.personality.identity.serial_number.encode("ascii")


_BINARY, _ASCII, _UTF8 = 0x1, 0x2, 0x3
_OF_UNIT, _OF_PORT, _OF_DEVICE = 0x0, 0x1, 0x2
_T10_VENDOR_ID, _NAA, _RELATIVE_TARGET_PORT, _SCSI_NAME = 0x1, 0x3, 0x4, 0x8
_ISCSI = 0x5


def _device_identification(unit: "LogicalUnit", port: TargetPort) -> bytes:
    """SPC-4, 7.8.6: names of the logical unit, of the target port, of the target device."""
    target = port.target_name
    port_name = f"{target},t,0x{port.portal_group_tag:04x}"
    return b"".join(
        [
            *unit_designators(unit.personality.identity),
            _designator(
                _BINARY,
                _OF_PORT,
                _RELATIVE_TARGET_PORT,
                port.relative_identifier.to_bytes(4, "big"),
            ),
            _designator(_UTF8, _OF_PORT, _SCSI_NAME, _name(port_name)),
            _designator(_UTF8, _OF_DEVICE, _SCSI_NAME, _name(target)),
        ]
    )


def unit_designators(identity: Identity) -> list[bytes]:
    """The designation descriptors that name the logical unit itself."""
    vendor_id = identity.vendor.encode("ascii").ljust(8) + identity.serial_number.encode("ascii")
    return [
        _designator(_BINARY, _OF_UNIT, _NAA, identity.naa),
        _designator(_ASCII, _OF_UNIT, _T10_VENDOR_ID, vendor_id),
        _designator(_UTF8, _OF_UNIT, _SCSI_NAME, _name(f"naa.{identity.naa.hex()}")),
    ]


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


PAGES: Final[dict[int, Page]] = {
    0x00: _supported_pages,
    0x80: _unit_serial_number,
    0x83: _device_identification,
    0x8F: third_party_copy,
    0xB0: block_pages.block_limits,
    0xB1: block_pages.block_device_characteristics,
    0xB2: block_pages.logical_block_provisioning,
}
