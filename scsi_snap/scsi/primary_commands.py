"""Commands of every device type that are not about its blocks (SPC-4, clause 6)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from scsi_snap.scsi.cdb import Field, Layout, flag, number
from scsi_snap.scsi.operation import Access, Operation
from scsi_snap.scsi.sense import Sense, SenseCode

if TYPE_CHECKING:
    from scsi_snap.scsi.cdb import Cdb
    from scsi_snap.scsi.invocation import Invocation, Router

_ADDRESSED, _WELL_KNOWN, _ALL = 0x00, 0x01, 0x02
LUN_SELECTIONS: Final = frozenset({_ADDRESSED, _WELL_KNOWN, _ALL})
"""SELECT REPORT of REPORT LUNS: the administrative logical units of SPC-5 are not there."""


def test_unit_ready(_invocation: "Invocation") -> bytes:
    """TEST UNIT READY: the checks before it are the command."""
    return b""


def request_sense(invocation: "Invocation") -> bytes:
    """REQUEST SENSE: GOOD, with sense data as Data-In, in the format that DESC chooses: a unit
    attention, which it clears, or why the unit is not ready.
    """
    unit = invocation.unit
    condition = unit.nexuses.take(invocation.itl) or unit.readiness.obstacle
    sense = Sense(condition) if condition else unit.background.condition()
    sense = sense or Sense(SenseCode.NO_ADDITIONAL_SENSE_INFORMATION)
    return sense.encode(descriptor_format=bool(invocation.cdb["descriptor_format"]))


def report_luns(invocation: "Invocation") -> bytes:
    """REPORT LUNS: the same list, whichever logical unit is asked."""
    return luns_selected(invocation.cdb, invocation.router, invocation.itl.nexus)


def luns_selected(cdb: "Cdb", router: "Router", nexus: int) -> bytes:
    """The list that SELECT REPORT chooses. There are no well known logical units."""
    luns: Sequence[int] = ()
    if cdb["select_report"] != _WELL_KNOWN:
        luns = router.luns()
        router.luns_reported(nexus)
    entries = b"".join(lun.to_bytes(8, "big") for lun in luns)
    return len(entries).to_bytes(4, "big") + bytes(4) + entries


OPERATIONS: Final = (
    Operation(
        "TEST UNIT READY",
        0x00,
        Layout(6),
        test_unit_ready,
        "SPC-4",
        Access.READINESS,
        needs_medium=True,
    ),
    Operation(
        "REQUEST SENSE",
        0x03,
        Layout(6, flag("descriptor_format", 1, 0), number("allocation_length", 4, 1)),
        request_sense,
        "SPC-4",
        Access.ANY,
        despite_unit_attention=True,
        despite_background=True,
    ),
    Operation(
        "REPORT LUNS",
        0xA0,
        Layout(
            12,
            Field("select_report", 2, 7, 8, LUN_SELECTIONS),
            number("allocation_length", 6, 4),
        ),
        report_luns,
        "SPC-4",
        Access.ANY,
        despite_unit_attention=True,
        despite_background=True,
    ),
)
