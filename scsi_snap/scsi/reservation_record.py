"""What persists of reservations over a power loss, as bytes (docs/formats/reservations.md).

    scsi-snap reservations 1 SHA-256-of-the-rest
    {"registrations": [...], "reservation": {...} or null}

A record of which anything is doubtful is `DamagedRecord`, never a part of what it said: a lost
registration would let a fenced node write.
"""

from __future__ import annotations

import hashlib
import json
from types import MappingProxyType
from typing import Any, Final

from scsi_snap.scsi.initiator_names import canonical
from scsi_snap.scsi.limits import REGISTRATIONS_MAX
from scsi_snap.scsi.nexus import InitiatorPort, TargetPort
from scsi_snap.scsi.reservations import (
    ItNexus,
    PersistentReservations,
    Reservation,
    ReservationType,
)

RECORD_BYTES_MAX: Final = 1 << 20
"""Every registration there may be, with the longest names, stays well below."""

_TITLE = "scsi-snap reservations 1"
_KEY_MAX = (1 << 64) - 1


class DamagedRecord(Exception):
    """The record is not one that was saved; why, in words."""


def encode(state: PersistentReservations) -> bytes:
    """The record of a state; an empty one where the state does not persist."""
    body = json.dumps(_content(state), ensure_ascii=True, indent=1).encode("ascii") + b"\n"
    title = f"{_TITLE} {hashlib.sha256(body).hexdigest()}\n".encode("ascii")
    return title + body


def _content(state: PersistentReservations) -> dict[str, Any]:
    numbers = {nexus: number for number, nexus in enumerate(state.keys)}
    if not state.persists:
        return {"registrations": [], "reservation": None}
    reservation = None
    if state.reservation is not None:
        holder = state.reservation.holder
        reservation = {
            "type": int(state.reservation.type),
            "holder": None if holder is None else numbers[holder],
        }
    return {
        "registrations": [
            {
                "initiator": nexus.initiator.name,
                "isid": nexus.initiator.isid.hex(),
                "target": nexus.port.target_name,
                "portal_group_tag": nexus.port.portal_group_tag,
                "relative_port": nexus.port.relative_identifier,
                "key": f"{key:016x}",
            }
            for nexus, key in state.keys.items()
        ],
        "reservation": reservation,
    }


def decode(data: bytes) -> PersistentReservations:
    """The state after power on: PRgeneration is zero. Raises `DamagedRecord`."""
    if not data:
        return PersistentReservations()
    title, newline, body = data.partition(b"\n")
    expected = f"{_TITLE} {hashlib.sha256(body).hexdigest()}".encode("ascii")
    if not newline or title != expected:
        raise DamagedRecord("its checksum does not fit")
    try:
        content = json.loads(body)
        keys = dict(_registration(each) for each in content["registrations"])
        whole = len(keys) == len(content["registrations"]) <= REGISTRATIONS_MAX
        reservation = _reservation(content["reservation"], list(keys))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise DamagedRecord(f"it does not say what it ought to ({error!r})") from error
    if not whole or (reservation is not None and not keys):
        raise DamagedRecord("its registrations contradict each other")
    return PersistentReservations(MappingProxyType(keys), reservation, 0, bool(keys))


def _registration(entry: dict[str, Any]) -> tuple[ItNexus, int]:
    initiator = InitiatorPort(canonical(_text(entry["initiator"])), bytes.fromhex(entry["isid"]))
    tag, relative = int(entry["portal_group_tag"]), int(entry["relative_port"])
    key = int(entry["key"], 16)
    if len(initiator.isid) != 6 or not 0 < key <= _KEY_MAX:
        raise ValueError("a key or an ISID is out of range")
    return ItNexus(initiator, TargetPort(_text(entry["target"]), tag, relative)), key


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("a name is not text")
    return value


def _reservation(entry: dict[str, Any] | None, nexuses: list[ItNexus]) -> Reservation | None:
    if entry is None:
        return None
    kind = ReservationType(entry["type"])
    if kind.all_registrants != (entry["holder"] is None):
        raise ValueError("type and holder contradict each other")
    return Reservation(kind, None if entry["holder"] is None else nexuses[entry["holder"]])
