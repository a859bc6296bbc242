"""PERSISTENT RESERVE IN (SPC-4, 6.15): what is registered and reserved."""

from typing import TYPE_CHECKING, Final

from scsi_snap.scsi import transport_id
from scsi_snap.scsi.cdb import Layout, number
from scsi_snap.scsi.operation import Access, Operation
from scsi_snap.scsi.reservations import PersistentReservations, ReservationType

if TYPE_CHECKING:
    from scsi_snap.scsi.invocation import Invocation

_RLR_C_CRH_SIP_C_ATP_C_PTPL_C = 0x80 | 0x10 | 0x08 | 0x04 | 0x01
_TMV = 0x80
_ALLOW_COMMANDS = 0b100 << 4
"""As the table of SPC-4, 5.13.1 has it, RECEIVE COPY RESULTS included."""
_PTPL_A = 0x01

_TYPE_MASK: Final = {
    ReservationType.WRITE_EXCLUSIVE_ALL_REGISTRANTS: 0x8000,
    ReservationType.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY: 0x4000,
    ReservationType.WRITE_EXCLUSIVE_REGISTRANTS_ONLY: 0x2000,
    ReservationType.EXCLUSIVE_ACCESS: 0x0800,
    ReservationType.WRITE_EXCLUSIVE: 0x0200,
    ReservationType.EXCLUSIVE_ACCESS_ALL_REGISTRANTS: 0x0001,
}

_R_HOLDER = 0x01


def read_keys(invocation: "Invocation") -> bytes:
    """READ KEYS: one key for each registered nexus, duplicates too."""
    state = invocation.unit.reservations.read()
    return _counted(state, b"".join(key.to_bytes(8, "big") for key in state.keys.values()))


def read_reservation(invocation: "Invocation") -> bytes:
    """READ RESERVATION: the holder's key, and scope and type."""
    state = invocation.unit.reservations.read()
    if state.reservation is None:
        return _counted(state, b"")
    descriptor = state.holder_key.to_bytes(8, "big") + bytes(5)
    return _counted(state, descriptor + bytes([state.reservation.type, 0, 0]))


def report_capabilities(invocation: "Invocation") -> bytes:
    """REPORT CAPABILITIES: eight bytes."""
    active = _PTPL_A if invocation.unit.reservations.read().persists else 0
    flags = bytes([_RLR_C_CRH_SIP_C_ATP_C_PTPL_C, _TMV | _ALLOW_COMMANDS | active])
    return b"\x00\x08" + flags + sum(_TYPE_MASK.values()).to_bytes(2, "big") + bytes(2)


def read_full_status(invocation: "Invocation") -> bytes:
    """READ FULL STATUS: a descriptor for each registered nexus.

    A registration through all target ports is one of each, so ALL_TG_PT is zero.
    """
    state = invocation.unit.reservations.read()
    # A record may be older than the number that a port has now.
    ports = {port: port for port in invocation.unit.nexuses.target_ports()}
    descriptors = b""
    for nexus, key in state.keys.items():
        held = state.reservation if state.holds(nexus) else None
        name = transport_id.encode(nexus.initiator)
        descriptors += key.to_bytes(8, "big") + bytes(4)
        descriptors += bytes([_R_HOLDER, held.type]) if held else bytes(2)
        port = ports.get(nexus.port, nexus.port)
        descriptors += bytes(4) + port.relative_identifier.to_bytes(2, "big")
        descriptors += len(name).to_bytes(4, "big") + name
    return _counted(state, descriptors)


def _counted(state: PersistentReservations, list_: bytes) -> bytes:
    """PRGENERATION, ADDITIONAL LENGTH, and what it counts."""
    return state.generation.to_bytes(4, "big") + len(list_).to_bytes(4, "big") + list_


_LAYOUT = Layout(10, number("allocation_length", 7, 2))

OPERATIONS: Final = tuple(
    Operation(
        f"PERSISTENT RESERVE IN / {name}",
        0x5E,
        _LAYOUT,
        handler,
        "SPC-4",
        Access.RESERVATION,
        service_action=action,
    )
    for action, (name, handler) in enumerate(
        (
            ("READ KEYS", read_keys),
            ("READ RESERVATION", read_reservation),
            ("REPORT CAPABILITIES", report_capabilities),
            ("READ FULL STATUS", read_full_status),
        )
    )
)
