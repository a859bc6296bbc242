"""The one table of kinds of events: how grave each is, and what it says. Kinds are stable: scripts
hang on them. `docs/operating/events.md` is made from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["info", "warning", "error"]

SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error")
"""From the least to the gravest."""


@dataclass(frozen=True)
class Kind:
    """`subject`: what its events are about. `meaning` completes "it is raised when"."""

    severity: Severity
    subject: str
    meaning: str


KINDS: dict[str, Kind] = {
    "pool-unavailable": Kind("error", "pool", "a pool cannot be opened"),
    "pool-forgotten": Kind("warning", "pool", "a crash had cut its making or destruction short"),
    "pool-not-clean": Kind("error", "pool", "it could not be closed cleanly"),
    "member-refused": Kind("warning", "pool", "a member is left out, as it does not fit"),
    "member-missing": Kind("error", "pool", "a member is not there; the pool goes on without it"),
    "member-failed": Kind("error", "pool", "a member was taken out; the pool goes on without it"),
    "set-failed": Kind("error", "pool", "more members failed than the level can miss"),
    "repaired": Kind("warning", "pool", "a member held what was wrong, and it was rewritten"),
    "map-repaired": Kind(
        "warning", "volume", "parts of its snapshot map were damaged; all is there"
    ),
    "resynced": Kind("info", "pool", "copies and parity were made equal after an unclean stop"),
    "store-threshold": Kind("warning", "volume", "its exception store fills"),
    "store-full": Kind("error", "volume", "its exception store is full: its policy was followed"),
    "snapshots-dropped": Kind("error", "snapshot", "it was given up, and cannot be read any more"),
    "attribute-unusable": Kind("warning", "volume", "an attribute in the pool makes no sense"),
    "groups-settled": Kind("warning", "controller", "consistent points that a crash cut short"),
    "groups-not-settled": Kind("error", "controller", "the same, and it did not work"),
    "target-unavailable": Kind("error", "target", "it could not be brought up"),
    "lun-missing": Kind("error", "target", "the volume or snapshot of a LUN does not exist"),
    "lun-unavailable": Kind("error", "target", "a LUN could not be brought up"),
    "login-refused": Kind("warning", "target", "an initiator was refused"),
    "portal-unavailable": Kind("error", "portal", "it cannot listen; it is tried again"),
    "portal-available": Kind("info", "portal", "it listens now"),
    "portal-open": Kind("warning", "portal", "every host may log in there without a secret"),
    "reservations-lost": Kind("error", "volume or snapshot", "who has reserved it is not known"),
    "modes-lost": Kind("warning", "volume or snapshot", "its mode parameters are the defaults"),
    "lio-unavailable": Kind("warning", "controller", "the kernel's target cannot be used"),
    "lio-refused": Kind("error", "target", "the kernel refused a change; it is tried again"),
    "lio-events": Kind("warning", "controller", "the kernel does not say when devices come and go"),
    "ring-not-served": Kind("error", "device of the kernel", "its commands wait"),
    "ring-served": Kind("info", "device of the kernel", "its commands are carried out again"),
    "ring-restarted": Kind("warning", "device of the kernel", "its ring had stopped"),
    "ring-gives-up": Kind("warning", "device of the kernel", "it has a command timeout"),
    "state-not-written": Kind("error", "controller", "the state directory cannot be written"),
    "events-damaged": Kind("error", "controller", "the file of events was damaged, and set aside"),
    "events-unwritable": Kind("error", "controller", "events are not durable; it is tried again"),
    "events-writable": Kind("info", "controller", "events are durable again"),
}


def severity_of(kind: str) -> Severity:
    known = KINDS.get(kind)
    return known.severity if known is not None else "warning"


def at_least(severity: Severity, least: Severity) -> bool:
    return SEVERITIES.index(severity) >= SEVERITIES.index(least)
