"""SEND DIAGNOSTIC and RECEIVE DIAGNOSTIC RESULTS (SPC-4, 6.42 and 6.28).

There is the default self-test, which every device server has, and diagnostic page 00h, which says
that there are no others.
"""

from typing import TYPE_CHECKING, Final

from scsi_snap.scsi.cdb import Layout, flag, number, refused
from scsi_snap.scsi.operation import LONG_S, Access, Operation, parameter_list
from scsi_snap.scsi.sense import CheckCondition, Sense, SenseCode, refuse, refuse_parameter

if TYPE_CHECKING:
    from scsi_snap.scsi.device import Medium
    from scsi_snap.scsi.invocation import Invocation

_SUPPORTED_PAGES = 0x00
_PAGE = bytes([_SUPPORTED_PAGES, 0, 0, 1, _SUPPORTED_PAGES])
_PAGE_REQUEST = bytes([_SUPPORTED_PAGES, 0, 0, 0])


def send_diagnostic(invocation: "Invocation") -> bytes:
    """The default self-test, or diagnostic page 00h, which asks for nothing."""
    cdb = invocation.cdb
    length = cdb["parameter_list_length"]
    if cdb["self_test"]:
        if length:
            cdb.refuse("parameter_list_length")
        _self_test(invocation.unit.medium)
        return b""
    if length and not cdb["page_format"]:
        cdb.refuse("page_format")
    if length:
        _check_page(invocation.parameter_list())
    return b""


def _self_test(medium: "Medium") -> None:
    """What a READ and a SYNCHRONIZE CACHE need: both ends of the medium, and a way to the disks."""
    try:
        for lba in {0, medium.block_count - 1}:
            _read_there(medium, lba)
        if not medium.read_only:
            medium.flush()
    except CheckCondition as failure:
        raise CheckCondition(Sense(SenseCode.LOGICAL_UNIT_FAILED_SELF_TEST)) from failure


def _read_there(medium: "Medium", lba: int) -> None:
    try:
        medium.read(lba, 1)
    except CheckCondition as failure:
        # A snapshot of a range has nothing to read outside of it, and is well.
        if failure.sense.code is not SenseCode.LBA_OUT_OF_RANGE:
            raise


def _check_page(data: bytes) -> None:
    if len(data) < len(_PAGE_REQUEST):
        refuse(SenseCode.PARAMETER_LIST_LENGTH_ERROR)
    if data[0] != _SUPPORTED_PAGES:
        refuse_parameter(0)
    if data[2:] != _PAGE_REQUEST[2:]:
        refuse_parameter(2)


def receive_diagnostic_results(invocation: "Invocation") -> bytes:
    """Page 00h: with PCV by its number, else as the page that SEND DIAGNOSTIC would have chosen."""
    cdb = invocation.cdb
    if cdb["page_code"] != _SUPPORTED_PAGES and cdb["page_code_valid"]:
        cdb.refuse("page_code")
    return _PAGE


OPERATIONS: Final = (
    Operation(
        "RECEIVE DIAGNOSTIC RESULTS",
        0x1C,
        Layout(
            6,
            flag("page_code_valid", 1, 0),
            number("page_code", 2, 1),
            number("allocation_length", 3, 2),
        ),
        receive_diagnostic_results,
        "SPC-4",
        Access.READ,
    ),
    Operation(
        "SEND DIAGNOSTIC",
        0x1D,
        Layout(
            6,
            refused("self_test_code", 1, 7, 3),
            flag("page_format", 1, 4),
            flag("self_test", 1, 2),
            number("parameter_list_length", 3, 2),
        ),
        send_diagnostic,
        "SPC-4",
        Access.WRITE,
        data_out=parameter_list,
        needs_medium=True,
        timeout_s=LONG_S,
    ),
)
