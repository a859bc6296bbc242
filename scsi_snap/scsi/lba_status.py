"""GET LBA STATUS (SBC-4, 5.6): which blocks are mapped.

A unit without thin provisioning has all its blocks mapped, and its device is not asked. A snapshot
is as thin as its volume, though nothing of it can be deallocated. Nothing is anchored, and no block
is known to be unreadable, so that the reports of those are empty.

An answer ends early where the initiator's room is full, or after `LBA_STATUS_RUNS_MAX` runs; the
initiator asks on from where it ended. An answer without any run has looked to the end.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from scsi_snap.scsi.block_commands import check_range
from scsi_snap.scsi.cdb import Field, Layout, number
from scsi_snap.scsi.limits import LBA_STATUS_RUNS_MAX
from scsi_snap.scsi.operation import Access, Operation

if TYPE_CHECKING:
    from scsi_snap.scsi.invocation import Invocation
    from scsi_snap.scsi.logical_unit import LogicalUnit

ALL, KNOWN, MAPPED, DEALLOCATED, ANCHORED, UNREADABLE = 0x00, 0x01, 0x02, 0x03, 0x04, 0x10
REPORT_TYPES: Final = frozenset({ALL, KNOWN, MAPPED, DEALLOCATED, ANCHORED, UNREADABLE})
"""REPORT TYPE (SBC-4, table 49)."""

_WANTED: Final = {
    ALL: frozenset({True, False}),
    KNOWN: frozenset({True, False}),
    MAPPED: frozenset({True}),
    DEALLOCATED: frozenset({False}),
    ANCHORED: frozenset[bool](),
    UNREADABLE: frozenset[bool](),
}
"""Which runs a report has: the mapped ones, the others."""

_NOT_SAID, _ROOM_FULL, _END_OF_MEDIUM = 0, 1, 3
"""COMPLETION CONDITION (SBC-4, table 51)."""

_MAPPED_OR_UNKNOWN, _DEALLOCATED, _MAPPED = 0x0, 0x1, 0x3
"""PROVISIONING STATUS (SBC-4, table 53)."""

_REPORT_TYPE_PROCESSED = 0x01
_HEADER_BYTES, _DESCRIPTOR_BYTES = 8, 16
_DESCRIPTOR_BLOCKS_MAX = 0xFFFFFFFF

Run = tuple[int, int, bool]
"""First LBA, number of blocks, whether they are mapped."""


def get_lba_status(invocation: "Invocation") -> bytes:
    """GET LBA STATUS: descriptors of the runs that REPORT TYPE asks for, from an LBA on."""
    cdb, unit = invocation.cdb, invocation.unit
    lba, report_type = cdb["lba"], cdb["report_type"]
    check_range(invocation, lba, 1)
    end = unit.medium.block_count
    room = max((cdb["allocation_length"] - _HEADER_BYTES) // _DESCRIPTOR_BYTES, 1)
    wanted = _WANTED[report_type]
    found: list[Run] = []
    reached = lba if wanted else end
    for looked, run in enumerate(_runs(unit, reached, end), 1):
        first, count, mapped = run
        reached = first + count
        if mapped in wanted:
            found.append(run)
        if len(found) == room or (found and looked >= LBA_STATUS_RUNS_MAX):
            break
    if reached == end:
        condition = _END_OF_MEDIUM
    else:
        condition = _ROOM_FULL if len(found) == room else _NOT_SAID
    return _parameter_data(found, condition, report_type)


def _runs(unit: "LogicalUnit", lba: int, end: int) -> Iterator[Run]:
    """The range in runs, none longer than a descriptor can say."""
    while lba < end:
        for count, mapped in _asked(unit, lba, end):
            stop = lba + count
            while lba < stop:
                some = min(stop - lba, _DESCRIPTOR_BLOCKS_MAX)
                yield lba, some, mapped
                lba += some


def _asked(unit: "LogicalUnit", lba: int, end: int) -> list[tuple[int, bool]]:
    if not unit.personality.thin:
        return [(end - lba, True)]
    return unit.medium.lba_status(lba, end - lba)


def _parameter_data(runs: list[Run], condition: int, report_type: int) -> bytes:
    """SBC-4, 5.6.2. Status 0h says mapped where all runs are asked for, 3h in other reports."""
    mapped_status = _MAPPED_OR_UNKNOWN if report_type == ALL else _MAPPED
    length = _HEADER_BYTES - 4 + len(runs) * _DESCRIPTOR_BYTES
    data = length.to_bytes(4, "big") + bytes(3)
    data += bytes([condition << 1 | _REPORT_TYPE_PROCESSED])
    for lba, count, mapped in runs:
        status = mapped_status if mapped else _DEALLOCATED
        data += lba.to_bytes(8, "big") + count.to_bytes(4, "big") + bytes([status, 0, 0, 0])
    return data


OPERATIONS: Final = (
    Operation(
        "GET LBA STATUS",
        0x9E,
        Layout(
            16,
            number("lba", 2, 8),
            number("allocation_length", 10, 4),
            Field("report_type", 14, 7, 8, REPORT_TYPES),
        ),
        get_lba_status,
        "SBC-4 5.6",
        Access.READ,
        service_action=0x12,
        needs_medium=True,
    ),
)
