"""RECEIVE COPY RESULTS (84h) in its service actions for EXTENDED COPY (LID1) (SPC-4)."""

from typing import TYPE_CHECKING, Final

from scsi_snap.scsi.cdb import Layout, number
from scsi_snap.scsi.copy_list import DESCRIPTOR_TYPES
from scsi_snap.scsi.copy_results import Copying
from scsi_snap.scsi.limits import (
    COPY_CONCURRENT_MAX,
    COPY_CSCD_DESCRIPTORS_MAX,
    COPY_DESCRIPTOR_LIST_BYTES_MAX,
    COPY_SEGMENT_BYTES_MAX,
    COPY_SEGMENTS_MAX,
)
from scsi_snap.scsi.operation import Access, Operation
from scsi_snap.scsi.request import Status
from scsi_snap.scsi.third_party_copy_page import DATA_SEGMENT_GRANULARITY

if TYPE_CHECKING:
    from scsi_snap.scsi.invocation import Invocation

_IN_PROGRESS, _WITHOUT_ERRORS, _WITH_ERRORS = 0x00, 0x01, 0x02
_UNITS_MAX: Final = 6
"""TRANSFER COUNT UNITS: exbibytes; each unit below is a 1024th."""
_SNLID = 0x01


def copy_status(invocation: "Invocation") -> bytes:
    """COPY STATUS: how far a copy is, or how it ended, which is told once."""
    list_id = invocation.cdb["list_identifier"]
    copying = _find(invocation)
    if not copying.status_is_held:
        invocation.cdb.refuse("list_identifier")
    ended = copying.ended
    status = (_WITH_ERRORS if copying.failed else _WITHOUT_ERRORS) if ended else _IN_PROGRESS
    unit, count = _transfer_count(copying.transferred_bytes)
    data = (8).to_bytes(4, "big") + bytes([status]) + copying.segments.to_bytes(2, "big")
    data += bytes([unit]) + count.to_bytes(4, "big")
    if ended:
        invocation.unit.copy_results.status_told(invocation.itl, list_id, copying)
    return data


def _transfer_count(transferred_bytes: int) -> tuple[int, int]:
    """The smallest unit that the number fits in, and the number, rounded down."""
    for unit in range(_UNITS_MAX):
        count = transferred_bytes >> 10 * unit
        if count < 1 << 32:
            return unit, count
    return _UNITS_MAX, transferred_bytes >> 10 * _UNITS_MAX


def receive_data(invocation: "Invocation") -> bytes:
    """RECEIVE DATA: no segment that is supported holds any."""
    if not _find(invocation).ended:
        invocation.cdb.refuse("list_identifier")
    return bytes(4)


def operating_parameters(_invocation: "Invocation") -> bytes:
    """OPERATING PARAMETERS: the limits. SNLID: a copy may go without a list identifier."""
    data = bytearray(44)
    data[4] = _SNLID
    data[8:10] = COPY_CSCD_DESCRIPTORS_MAX.to_bytes(2, "big")
    data[10:12] = COPY_SEGMENTS_MAX.to_bytes(2, "big")
    data[12:16] = COPY_DESCRIPTOR_LIST_BYTES_MAX.to_bytes(4, "big")
    data[16:20] = COPY_SEGMENT_BYTES_MAX.to_bytes(4, "big")
    data[34:36] = COPY_CONCURRENT_MAX.to_bytes(2, "big")
    data[36] = COPY_CONCURRENT_MAX
    data[37] = DATA_SEGMENT_GRANULARITY
    data[43] = len(DESCRIPTOR_TYPES)
    data += bytes(DESCRIPTOR_TYPES)
    data[0:4] = (len(data) - 4).to_bytes(4, "big")
    return bytes(data)


def failed_segment_details(invocation: "Invocation") -> bytes:
    """FAILED SEGMENT DETAILS: the sense data that a copy ended with, told whole once."""
    cdb = invocation.cdb
    results, list_id = invocation.unit.copy_results, cdb["list_identifier"]
    copying = results.find(invocation.itl, list_id)
    if copying is None or not copying.ended or not copying.failed:
        return bytes(4)
    data = bytearray(60)
    data[56] = Status.CHECK_CONDITION
    data[58:60] = len(copying.failure).to_bytes(2, "big")
    data += copying.failure
    data[0:4] = (len(data) - 4).to_bytes(4, "big")
    if cdb["allocation_length"] == 0 or cdb["allocation_length"] >= len(data):
        results.failure_told(invocation.itl, list_id, copying)
    return bytes(data)


def _find(invocation: "Invocation") -> Copying:
    copying = invocation.unit.copy_results.find(invocation.itl, invocation.cdb["list_identifier"])
    if copying is None:
        invocation.cdb.refuse("list_identifier")
    return copying


_LAYOUT = Layout(16, number("list_identifier", 2, 1), number("allocation_length", 10, 4))

OPERATIONS: Final = (
    Operation(
        "RECEIVE COPY STATUS (LID1)",
        0x84,
        _LAYOUT,
        copy_status,
        "SPC-4",
        Access.ANY,
        service_action=0x00,
    ),
    Operation(
        "RECEIVE COPY DATA (LID1)",
        0x84,
        _LAYOUT,
        receive_data,
        "SPC-4",
        Access.ANY,
        service_action=0x01,
    ),
    Operation(
        "RECEIVE COPY OPERATING PARAMETERS",
        0x84,
        Layout(16, number("allocation_length", 10, 4)),
        operating_parameters,
        "SPC-4",
        Access.ANY,
        service_action=0x03,
    ),
    Operation(
        "RECEIVE COPY FAILURE DETAILS (LID1)",
        0x84,
        _LAYOUT,
        failed_segment_details,
        "SPC-4",
        Access.ANY,
        service_action=0x04,
    ),
)
