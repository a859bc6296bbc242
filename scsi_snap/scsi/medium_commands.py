"""START STOP UNIT (SBC-3) and PREVENT ALLOW MEDIUM REMOVAL (SBC-3)."""

from typing import TYPE_CHECKING, Final

from scsi_snap.scsi.cdb import Cdb, Field, Layout, flag
from scsi_snap.scsi.operation import LONG_S, Access, Operation

if TYPE_CHECKING:
    from scsi_snap.scsi.invocation import Invocation


def start_stop_unit(invocation: "Invocation") -> bytes:
    """START STOP UNIT: before the unit stops, or its medium comes out, everything is durable,
    unless NO_FLUSH.

    A medium that is fixed does not come out, and the unit has no power conditions: both are
    refused. A unit whose medium is removable takes any power condition, at which the other fields
    mean nothing (SBC-3), and stays as it is: there is no power to be saved.
    """
    cdb, unit = invocation.cdb, invocation.unit
    if not unit.personality.removable:
        for name in ("load_eject", "power_condition", "power_condition_modifier"):
            if cdb[name]:
                cdb.refuse(name)
    if cdb["power_condition"]:
        return b""
    start = bool(cdb["start"])
    if cdb["load_eject"]:
        unit.readiness.set_loaded(start, invocation.itl, flush=not cdb["no_flush"])
    else:
        unit.readiness.set_started(
            start, removable=unit.personality.removable, flush=not cdb["no_flush"]
        )
    return b""


def prevent_allow_medium_removal(invocation: "Invocation") -> bytes:
    """PREVENT ALLOW MEDIUM REMOVAL: while any nexus prevents it, the medium stays as it is.

    A unit whose medium is fixed takes it too: there it changes nothing, a host that asks loses
    nothing, and what it prevents holds when the unit is made removable while the host is there.
    """
    readiness, itl = invocation.unit.readiness, invocation.itl
    if invocation.cdb["prevent"]:
        readiness.prevent(itl)
    else:
        readiness.allow([itl])
    return b""


def _starts(cdb: Cdb) -> bool:
    return bool(cdb["start"]) and not cdb["power_condition"]


def _allows(cdb: Cdb) -> bool:
    return not cdb["prevent"]


OPERATIONS: Final = (
    Operation(
        "START STOP UNIT",
        0x1B,
        Layout(
            6,
            flag("immed", 1, 0),
            Field("power_condition_modifier", 3, 3, 4),
            Field("power_condition", 4, 7, 4),
            flag("no_flush", 4, 2),
            flag("load_eject", 4, 1),
            flag("start", 4, 0),
        ),
        start_stop_unit,
        "SBC-3",
        Access.WRITE,
        harmless=_starts,
        timeout_s=LONG_S,
    ),
    Operation(
        "PREVENT ALLOW MEDIUM REMOVAL",
        0x1E,
        # PREVENT 10b and 11b were of media changers, and are obsolete.
        Layout(6, Field("prevent", 4, 1, 2, frozenset({0, 1}))),
        prevent_allow_medium_removal,
        "SBC-3",
        Access.WRITE,
        harmless=_allows,
    ),
)
