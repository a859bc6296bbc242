"""Vital product data pages of every device type (SPC-4, 7.8), from what the unit can do, and the
table of all pages.

`PAGES` maps a page code to the function that makes its contents; page 00h lists the same table.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from scsi_snap.scsi import block_pages
from scsi_snap.scsi.identification_pages import (
    device_identification,
    scsi_ports,
    unit_serial_number,
)
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


def _extended_inquiry(unit: "LogicalUnit", _port: TargetPort) -> bytes:
    """SPC-4, 7.8.7: no protection information, groups, priorities, microcode or referrals.

    HEADSUP, ORDSUP, SIMPSUP: the transport orders commands by their task attributes. V_SUP: there
    is a volatile cache where there is one to switch off. LUICLR: REPORTED LUNS DATA HAS CHANGED is
    reported once to a nexus, by whichever unit comes first.
    """
    page = bytearray(0x3C)
    page[1] = 0x04 | 0x02 | 0x01
    page[2] = 0x00 if unit.medium.read_only else 0x01
    page[3] = 0x01
    return bytes(page)


def _mode_page_policy(_unit: "LogicalUnit", _port: TargetPort) -> bytes:
    """SPC-4, 7.8.9: all pages and subpages are shared by all nexuses, and by no other unit."""
    return bytes([0x3F, 0xFF, 0x00, 0x00])


PAGES: Final[dict[int, Page]] = {
    0x00: _supported_pages,
    0x80: unit_serial_number,
    0x83: device_identification,
    0x86: _extended_inquiry,
    0x87: _mode_page_policy,
    0x88: scsi_ports,
    0x8F: third_party_copy,
    0xB0: block_pages.block_limits,
    0xB1: block_pages.block_device_characteristics,
    0xB2: block_pages.logical_block_provisioning,
}
