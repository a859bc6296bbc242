"""REPORT SUPPORTED OPERATION CODES and … TASK MANAGEMENT FUNCTIONS (SPC-4)."""

from typing import TYPE_CHECKING, Final

from scsi_snap.scsi.cdb import Field, Layout, flag, number
from scsi_snap.scsi.operation import Access, Operation
from scsi_snap.scsi.task_management import SUPPORTED, Function

if TYPE_CHECKING:
    from scsi_snap.scsi.invocation import Invocation

_ALL, _BY_OPERATION_CODE, _BY_SERVICE_ACTION, _BY_EITHER = range(4)
REPORTING_OPTIONS: Final = frozenset({_ALL, _BY_OPERATION_CODE, _BY_SERVICE_ACTION, _BY_EITHER})

_NOT_SUPPORTED, _SUPPORTED = 0x1, 0x3

_SERVACTV = 0x01
_CTDP_IN_LIST, _CTDP_IN_ONE = 0x02, 0x80

_FUNCTION_BITS = {
    Function.ABORT_TASK: 0x8000,
    Function.ABORT_TASK_SET: 0x4000,
    Function.CLEAR_ACA: 0x2000,
    Function.CLEAR_TASK_SET: 0x1000,
    Function.LOGICAL_UNIT_RESET: 0x0800,
    Function.QUERY_TASK: 0x0400,
    Function.TARGET_WARM_RESET: 0x0200,
    Function.QUERY_ASYNCHRONOUS_EVENT: 0x0004,
    Function.QUERY_TASK_SET: 0x0002,
    Function.I_T_NEXUS_RESET: 0x0001,
}
"""Bits of the first two bytes (SPC-4). Sessions below iSCSI protocol level 2 have no use of those
that RFC 7144 brought; the data are about the unit, and it has them."""


def report_supported_operation_codes(invocation: "Invocation") -> bytes:
    """All commands, or one by operation code and service action."""
    cdb = invocation.cdb
    option, timeouts = cdb["reporting_options"], bool(cdb["return_timeouts"])
    if option == _ALL:
        descriptors = b"".join(_listed(each, timeouts) for each in invocation.unit.operations)
        return len(descriptors).to_bytes(4, "big") + descriptors
    code, action = cdb["requested_operation_code"], cdb["requested_service_action"]
    same_code = [each for each in invocation.unit.operations if each.operation_code == code]
    has_actions = any(each.service_action is not None for each in same_code)
    if option == _BY_OPERATION_CODE and has_actions:
        cdb.refuse("requested_service_action")
    if option == _BY_SERVICE_ACTION and same_code and not has_actions:
        cdb.refuse("requested_service_action")
    for each in same_code:
        if each.service_action == (action if has_actions else None):
            return _one(each, timeouts)
    return bytes([0, _NOT_SUPPORTED, 0, 0])


def _listed(operation: Operation, timeouts: bool) -> bytes:
    """A command descriptor (SPC-4)."""
    has_action = operation.service_action is not None
    flags = (_SERVACTV if has_action else 0) | (_CTDP_IN_LIST if timeouts else 0)
    descriptor = bytes([operation.operation_code, 0])
    descriptor += (operation.service_action or 0).to_bytes(2, "big")
    descriptor += bytes([0, flags]) + operation.layout.length.to_bytes(2, "big")
    return descriptor + (_timeouts(operation) if timeouts else b"")


def _one(operation: Operation, timeouts: bool) -> bytes:
    """The one-command format (SPC-4)."""
    flags = _SUPPORTED | (_CTDP_IN_ONE if timeouts else 0)
    usage = operation.layout.usage_data(operation.operation_code, operation.service_action)
    data = bytes([0, flags]) + len(usage).to_bytes(2, "big") + usage
    return data + (_timeouts(operation) if timeouts else b"")


def _timeouts(operation: Operation) -> bytes:
    """The command timeouts descriptor: nominal time not said, recommended time-out in seconds."""
    return bytes([0x00, 0x0A, 0, 0]) + bytes(4) + operation.timeout_s.to_bytes(4, "big")


def report_supported_task_management_functions(invocation: "Invocation") -> bytes:
    """Four bytes, or sixteen with REPD, where no time-outs are said."""
    supported = sum(bit for function, bit in _FUNCTION_BITS.items() if function in SUPPORTED)
    if not invocation.cdb["return_extended_data"]:
        return supported.to_bytes(2, "big") + bytes([0, 0])
    return supported.to_bytes(2, "big") + bytes([0, 0x0C]) + bytes(12)


OPERATIONS: Final = (
    Operation(
        "REPORT SUPPORTED OPERATION CODES",
        0xA3,
        Layout(
            12,
            flag("return_timeouts", 2, 7),
            Field("reporting_options", 2, 2, 3, REPORTING_OPTIONS),
            number("requested_operation_code", 3, 1),
            number("requested_service_action", 4, 2),
            number("allocation_length", 6, 4),
        ),
        report_supported_operation_codes,
        "SPC-4",
        Access.READ,
        service_action=0x0C,
        despite_background=True,
    ),
    Operation(
        "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS",
        0xA3,
        Layout(12, flag("return_extended_data", 2, 7), number("allocation_length", 6, 4)),
        report_supported_task_management_functions,
        "SPC-4",
        Access.READ,
        service_action=0x0D,
        despite_background=True,
    ),
)
