"""REPORT and SET IDENTIFYING INFORMATION (SPC-4, 5.6, 6.32 and 6.43): what an administrator writes
on a logical unit. It is kept with the volume, so it outlives resets, restarts and moves.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from scsi_snap.scsi.cdb import Field, Layout, number
from scsi_snap.scsi.operation import Access, Operation, parameter_list
from scsi_snap.scsi.sense import SenseCode, refuse_parameter

if TYPE_CHECKING:
    from scsi_snap.scsi.cdb import Cdb
    from scsi_snap.scsi.invocation import Invocation


@dataclass(frozen=True, slots=True)
class _Kind:
    """A type of information: the caretaker's name for it, and how much of it is kept."""

    name: str
    bytes_max: int


_TEXT = 0x02
KINDS: Final = {0x00: _Kind("information", 64), _TEXT: _Kind("text-information", 256)}
"""By INFORMATION TYPE (SPC-4, 5.6); lengths are those that the standard suggests."""

_SUPPORTED_KINDS = 0x7F


def report_identifying_information(invocation: "Invocation") -> bytes:
    """The information of one type, or which types there are."""
    if invocation.cdb["information_type"] == _SUPPORTED_KINDS:
        descriptors = b"".join(
            bytes([code << 1, 0]) + kind.bytes_max.to_bytes(2, "big")
            for code, kind in sorted(KINDS.items())
        )
        return bytes(2) + len(descriptors).to_bytes(2, "big") + descriptors
    kept = invocation.unit.care.information(_kind(invocation.cdb).name)
    return bytes(2) + len(kept).to_bytes(2, "big") + kept


def set_identifying_information(invocation: "Invocation") -> bytes:
    """Replaces the information of one type; no bytes remove it. The other nexuses are told
    of a change (SPC-4, 6.43).
    """
    cdb = invocation.cdb
    kind = _kind(cdb)
    if cdb["parameter_list_length"] > kind.bytes_max:
        cdb.refuse("parameter_list_length")
    data = invocation.parameter_list()
    if data and cdb["information_type"] == _TEXT:
        _check_text(data)
    unit = invocation.unit
    if data != unit.care.information(kind.name):
        unit.care.keep_information(kind.name, data)
        unit.nexuses.establish(SenseCode.DEVICE_IDENTIFIER_CHANGED, but=invocation.itl)
    return b""


def _kind(cdb: "Cdb") -> _Kind:
    kind = KINDS.get(cdb["information_type"])
    if kind is None:
        cdb.refuse("information_type")
    return kind


def _check_text(data: bytes) -> None:
    """Text is UTF-8 and ends with its only null (SPC-4, 4.3.2)."""
    end = data.find(b"\x00")
    if end != len(data) - 1:
        refuse_parameter(len(data) - 1 if end < 0 else end)
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        refuse_parameter(error.start)


OPERATIONS: Final = (
    Operation(
        "REPORT IDENTIFYING INFORMATION",
        0xA3,
        Layout(12, number("allocation_length", 6, 4), Field("information_type", 10, 7, 7)),
        report_identifying_information,
        "SPC-4",
        Access.ANY,
        service_action=0x05,
    ),
    Operation(
        "SET IDENTIFYING INFORMATION",
        0xA4,
        Layout(12, number("parameter_list_length", 6, 4), Field("information_type", 10, 7, 7)),
        set_identifying_information,
        "SPC-4",
        Access.WRITE,
        service_action=0x06,
        data_out=parameter_list,
        changes_medium=True,
    ),
)
