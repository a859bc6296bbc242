"""EXTENDED COPY (LID1) (SPC-4, 6.4)."""

from typing import TYPE_CHECKING, Final

from scsi_snap.scsi import copy_list, copy_manager
from scsi_snap.scsi.cdb import Layout, number
from scsi_snap.scsi.copy_results import Copying
from scsi_snap.scsi.operation import LONG_S, Access, Operation, parameter_list
from scsi_snap.scsi.sense import CheckCondition, SenseKey

if TYPE_CHECKING:
    from scsi_snap.scsi.invocation import Invocation


def extended_copy(invocation: "Invocation") -> bytes:
    """EXTENDED COPY: ends when all is copied. Its outcome is kept only if a segment was reached:
    a list that is malformed leaves nothing.
    """
    data = invocation.parameter_list()
    if not data:
        return b""
    wanted = copy_list.parse(data)
    if wanted.usage == copy_list.NO_LIST_ID:
        copy_manager.carry_out(invocation, wanted, Copying())
    else:
        _identified(invocation, wanted)
    return b""


def _identified(invocation: "Invocation", wanted: copy_list.CopyList) -> None:
    unit, itl = invocation.unit, invocation.itl
    copying = unit.copy_results.begin(itl, wanted.list_id)
    hold = False
    try:
        copy_manager.carry_out(invocation, wanted, copying)
        hold = wanted.usage == copy_list.HOLD
    except CheckCondition as check:
        descriptor_format = unit.mode_pages.descriptor_sense
        copying.failure = check.sense.encode(descriptor_format=descriptor_format)
        in_segment = check.sense.code.key is SenseKey.COPY_ABORTED
        hold = in_segment and wanted.usage == copy_list.HOLD
        raise
    finally:
        unit.copy_results.end(itl, wanted.list_id, copying, hold=hold)


OPERATIONS: Final = (
    Operation(
        "EXTENDED COPY (LID1)",
        0x83,
        Layout(16, number("parameter_list_length", 10, 4)),
        extended_copy,
        "SPC-4",
        Access.WRITE,
        service_action=0x00,
        data_out=parameter_list,
        once=True,
        timeout_s=LONG_S,
    ),
)
