"""PERSISTENT RESERVE OUT (SPC-4, 6.16): registering, reserving, fencing.

Each handler reads its parameter list and hands the unit the rule of `reservations` to apply; the
unit makes the outcome durable and tells whom it concerns.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from scsi_snap.scsi import reservation_effects, transport_id
from scsi_snap.scsi.cdb import Field, Layout, number
from scsi_snap.scsi.nexus import InitiatorPort, TargetPort
from scsi_snap.scsi.operation import LONG_S, Access, Handler, Operation, parameter_list
from scsi_snap.scsi.reservation_effects import Effect
from scsi_snap.scsi.reservations import (
    FLAGS_BYTE,
    KEY_BYTE,
    SPEC_I_PT_BIT,
    TRANSPORT_IDS_BYTE,
    Change,
    ItNexus,
    PersistentReservations,
    ReservationType,
)
from scsi_snap.scsi.sense import SenseCode, refuse, refuse_parameter
from scsi_snap.scsi.unit_reservations import Rule, it_nexus

if TYPE_CHECKING:
    from scsi_snap.scsi.invocation import Invocation

_LIST_BYTES = 24
_SPEC_I_PT, _ALL_TG_PT, _APTPL = 0x08, 0x04, 0x01
_ALL_TG_PT_BIT = 2

_MOVE_FLAGS_BYTE = 17
_UNREG, _MOVE_APTPL = 0x02, 0x01
_PORT_BYTE, _LENGTH_BYTE = 18, 20


def _unless_done(invocation: "Invocation", effect: Effect, rule: Rule) -> Rule:
    """The rule, but of a command that may have been carried out before where that is so."""
    if not invocation.repeated:
        return rule
    return lambda state: Change(state) if effect(state) else rule(state)


class _List:
    """The basic parameter list (SPC-4, 6.16.3)."""

    def __init__(self, invocation: "Invocation", *, may_specify_ports: bool = False) -> None:
        data = invocation.parameter_list()
        if len(data) < _LIST_BYTES:
            refuse(SenseCode.PARAMETER_LIST_LENGTH_ERROR)
        flags = data[FLAGS_BYTE]
        specifies = bool(flags & _SPEC_I_PT)
        if specifies and not may_specify_ports:
            refuse_parameter(FLAGS_BYTE, SPEC_I_PT_BIT)
        if not specifies and len(data) != _LIST_BYTES:
            refuse(SenseCode.PARAMETER_LIST_LENGTH_ERROR)
        self.key: Final = int.from_bytes(data[0:8], "big")
        self.action_key: Final = int.from_bytes(data[8:16], "big")
        self.all_target_ports: Final = bool(flags & _ALL_TG_PT)
        self.persists: Final = bool(flags & _APTPL)
        self.specified: Final = _transport_ids(data, _LIST_BYTES) if specifies else None
        """None without SPEC_I_PT."""


def _transport_ids(data: bytes, length_byte: int) -> list[transport_id.TransportId]:
    """TRANSPORTID PARAMETER DATA LENGTH, and as many bytes of them."""
    start = length_byte + 4
    end = start + int.from_bytes(data[length_byte:start], "big")
    if len(data) < start or len(data) < end:
        refuse(SenseCode.PARAMETER_LIST_LENGTH_ERROR)
    return transport_id.parse_list(data[:end], start)


def _kind(invocation: "Invocation") -> ReservationType:
    """SCOPE and TYPE of a reservation to be made."""
    cdb = invocation.cdb
    if cdb["scope"]:
        cdb.refuse("scope")
    try:
        return ReservationType(cdb["type"])
    except ValueError:
        cdb.refuse("type")


def register(invocation: "Invocation") -> bytes:
    """REGISTER."""
    wanted = _List(invocation, may_specify_ports=True)
    return _register(invocation, wanted, wanted.key)


def register_and_ignore_existing_key(invocation: "Invocation") -> bytes:
    """REGISTER AND IGNORE EXISTING KEY."""
    return _register(invocation, _List(invocation), None)


def _register(invocation: "Invocation", wanted: _List, key: int | None) -> bytes:
    unit, by = invocation.unit, it_nexus(invocation.itl)
    reservations = unit.reservations
    ports = unit.nexuses.target_ports() if wanted.all_target_ports else [by.port]
    initiators = None
    if wanted.specified is not None:
        known = reservations.initiator_ports()
        initiators = _initiators(wanted.specified, known) - {by.initiator}

    def rule(state: PersistentReservations) -> Change:
        return state.register(
            by,
            key,
            wanted.action_key,
            ports=ports,
            initiators=initiators,
            persists=wanted.persists,
        )

    effect = reservation_effects.registered(
        by, wanted.action_key, ports, initiators, persists=wanted.persists
    )
    reservations.change(_unless_done(invocation, effect, rule))
    return b""


def _initiators(
    specified: Collection[transport_id.TransportId], known: Collection[InitiatorPort]
) -> set[InitiatorPort]:
    """Ports named one by one, and of an initiator named whole, those that are known."""
    named = {each.port for each in specified if each.port is not None}
    return named | {
        port for port in known for each in specified if each.port is None and each.covers(port)
    }


def reserve(invocation: "Invocation") -> bytes:
    """RESERVE."""
    wanted, by = _List(invocation), it_nexus(invocation.itl)
    invocation.unit.reservations.change(
        lambda state: state.reserve(by, wanted.key, lambda: _kind(invocation))
    )
    return b""


def release(invocation: "Invocation") -> bytes:
    """RELEASE; a SCOPE that is not that of the unit is none of the reservation."""
    wanted, by, cdb = _List(invocation), it_nexus(invocation.itl), invocation.cdb
    kind = None if cdb["scope"] else cdb["type"]
    invocation.unit.reservations.change(lambda state: state.release(by, wanted.key, kind))
    return b""


def clear(invocation: "Invocation") -> bytes:
    """CLEAR."""
    wanted, by = _List(invocation), it_nexus(invocation.itl)
    invocation.unit.reservations.change(
        _unless_done(
            invocation, reservation_effects.cleared, lambda state: state.clear(by, wanted.key)
        )
    )
    return b""


def preempt(invocation: "Invocation") -> bytes:
    """PREEMPT."""
    invocation.unit.reservations.change(_preemption(invocation))
    return b""


def preempt_and_abort(invocation: "Invocation") -> bytes:
    """PREEMPT AND ABORT: ends when the commands of who was preempted have ended. What those
    prevented of the medium they prevent no more.
    """
    unit = invocation.unit
    unit.readiness.allow(unit.reservations.change_and_abort(_preemption(invocation)))
    return b""


def _preemption(invocation: "Invocation") -> Rule:
    wanted, by = _List(invocation), it_nexus(invocation.itl)

    def kind() -> ReservationType:
        return _kind(invocation)

    effect = reservation_effects.preempted(by, wanted.key, wanted.action_key, kind)
    return _unless_done(
        invocation,
        effect,
        lambda state: state.preempt(by, wanted.key, wanted.action_key, kind),
    )


def register_and_move(invocation: "Invocation") -> bytes:
    """REGISTER AND MOVE (SPC-4, 6.16.4), which has a parameter list of its own."""
    data, unit, by = invocation.parameter_list(), invocation.unit, it_nexus(invocation.itl)
    if len(data) < _LIST_BYTES:
        refuse(SenseCode.PARAMETER_LIST_LENGTH_ERROR)
    found = _transport_ids(data, _LENGTH_BYTE)
    if len(found) != 1 or found[0].port is None:
        refuse_parameter(TRANSPORT_IDS_BYTE)
    relative = int.from_bytes(data[_PORT_BYTE : _PORT_BYTE + 2], "big")
    # The numbers are those of one SCSI target device, and each iSCSI target is one.
    target = by.port.target_name
    ports = [each for each in unit.nexuses.target_ports() if each.target_name == target]
    to = ItNexus(found[0].port, _port(ports, relative))
    if to == by:
        refuse_parameter(TRANSPORT_IDS_BYTE)
    key, new_key = (int.from_bytes(data[at : at + 8], "big") for at in (0, KEY_BYTE))
    unregister = bool(data[_MOVE_FLAGS_BYTE] & _UNREG)
    persists = bool(data[_MOVE_FLAGS_BYTE] & _MOVE_APTPL)
    unit.reservations.change(
        _unless_done(
            invocation,
            reservation_effects.moved(
                by, key, new_key, to, unregister=unregister, persists=persists
            ),
            lambda state: state.register_and_move(
                by, key, new_key, to, unregister=unregister, persists=persists
            ),
        )
    )
    return b""


def _port(ports: Collection[TargetPort], relative: int) -> TargetPort:
    for port in ports:
        if port.relative_identifier == relative:
            return port
    refuse_parameter(_PORT_BYTE)


def replace_lost_reservation(invocation: "Invocation") -> bytes:
    """REPLACE LOST RESERVATION: the unit only takes it while its reservations are lost."""
    wanted, by = _List(invocation), it_nexus(invocation.itl)
    if wanted.key:
        refuse_parameter(0)
    if not wanted.action_key:
        refuse_parameter(KEY_BYTE)
    if wanted.all_target_ports:
        refuse_parameter(FLAGS_BYTE, _ALL_TG_PT_BIT)
    kind = _kind(invocation)
    reservations = invocation.unit.reservations
    if invocation.repeated and reservations.lost is None:
        effect = reservation_effects.replaced(by, wanted.action_key, kind)
        if effect(reservations.read()):
            return b""
    reservations.replace_lost(
        lambda state: state.replace_lost(by, wanted.action_key, kind, persists=wanted.persists)
    )
    return b""


_LAYOUT = Layout(
    10, Field("scope", 2, 7, 4), Field("type", 2, 3, 4), number("parameter_list_length", 5, 4)
)
_ACTIONS: Final[tuple[tuple[str, Handler], ...]] = (
    ("REGISTER", register),
    ("RESERVE", reserve),
    ("RELEASE", release),
    ("CLEAR", clear),
    ("PREEMPT", preempt),
    ("PREEMPT AND ABORT", preempt_and_abort),
    ("REGISTER AND IGNORE EXISTING KEY", register_and_ignore_existing_key),
    ("REGISTER AND MOVE", register_and_move),
    ("REPLACE LOST RESERVATION", replace_lost_reservation),
)

OPERATIONS: Final = tuple(
    Operation(
        f"PERSISTENT RESERVE OUT / {name}",
        0x5F,
        _LAYOUT,
        handler,
        "SPC-4",
        Access.RESERVATION,
        service_action=action,
        data_out=parameter_list,
        once=True,
        timeout_s=LONG_S,
    )
    for action, (name, handler) in enumerate(_ACTIONS)
)
