"""The logical units that somebody is shown, shared by every way there is to initiators.

One volume or snapshot is one logical unit, however many targets, portals and transports show it:
its mode pages, reservations, unit attentions and background operations are the unit's, as the
standard has it. It lives as long as anything is mapped to it, logged in or not.

Locks, each taken inside those before it: an exporter's own, the lock here, a unit's. Two exporters'
are never held together. Nothing here is called on a command's path, and nothing waits for an
initiator; a unit that goes waits for the step of its background operation that is under way.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import inf
from uuid import UUID

from scsi_snap.inventory import mode_files
from scsi_snap.inventory.exporter import Unit
from scsi_snap.inventory.notes import Note, Tell, unheard
from scsi_snap.inventory.reservation_files import damage
from scsi_snap.scsi.logical_unit import LogicalUnit
from scsi_snap.scsi.nexus import TargetPort
from scsi_snap.scsi.record_store import NoStore, RecordStore, StoreFailed

_log = logging.getLogger("scsi_snap.exporter")


@dataclass(frozen=True, eq=False)
class SharedUnit:
    """`number` names it in the fast path; `holders` counts what each target (or other holder) has
    mapped to it, shown at the moment or not."""

    number: int
    unit: Unit
    logical_unit: LogicalUnit
    holders: Counter[str] = field(default_factory=Counter)


class Units:
    """By the UUID of their volume or snapshot. From any thread. `tell`: of what an operator has to
    see to; for the exporters too."""

    def __init__(
        self,
        reservation_store: Callable[[UUID], RecordStore] = lambda _unit: NoStore(),
        erase_bytes_per_s: float = inf,
        mode_store: Callable[[UUID], RecordStore] = lambda _unit: NoStore(),
        tell: Tell = unheard,
    ) -> None:
        self.tell = tell
        self._reservation_store = reservation_store
        self._mode_store = mode_store
        self._erase_bytes_per_s = erase_bytes_per_s
        self._lock = threading.Lock()
        self._shared: dict[UUID, SharedUnit] = {}
        self._ports: dict[str, tuple[TargetPort, ...]] = {}
        self._numbers = itertools.count(1)
        self._nexuses = itertools.count(1)
        self._outlive = False

    def take(self, unit: Unit, holder: str, count: int = 1) -> SharedUnit:
        """The one that is there already, or a new one, for so many LUNs of the holder."""
        with self._lock:
            shared = self._shared.get(unit.uuid) or self._make(unit)
            shared.holders[holder] += count
            self._tell_ports([shared])
            return shared

    def release(self, shared: SharedUnit, holder: str) -> None:
        """One LUN of the holder less; the last one of all takes the unit with it."""
        with self._lock:
            shared.holders[holder] -= 1
            if not shared.holders[holder]:
                del shared.holders[holder]
            if shared.holders:
                self._tell_ports([shared])
            else:
                gone = self._shared.pop(shared.unit.uuid).logical_unit
                gone.outlive() if self._outlive else gone.close()

    def outlive(self) -> None:
        """The process ends: what is released from now on is not unmapped, and the next daemon shows
        it again."""
        with self._lock:
            self._outlive = True

    def find(self, uuid: UUID) -> SharedUnit | None:
        with self._lock:
            return self._shared.get(uuid)

    def set_ports(self, holder: str, ports: Iterable[TargetPort]) -> None:
        """By which target ports the holder's units are reached, logged in or not; none: it goes."""
        with self._lock:
            self._ports[holder] = tuple(ports)
            self._tell_ports([one for one in self._shared.values() if holder in one.holders])
            if not self._ports[holder]:
                del self._ports[holder]

    def new_nexus(self) -> int:
        """The number of a nexus that begins: no other of this daemon's life has it, whichever way
        its commands come, as the units know nexuses by number."""
        with self._lock:
            return next(self._nexuses)

    def forget(self, uuid: UUID) -> None:
        """The volume or snapshot, mapped nowhere, is deleted: nothing is kept of its reservations
        and mode parameters. Where that fails, what stays means nothing."""
        for store in (self._reservation_store(uuid), self._mode_store(uuid)):
            try:
                store.remove()
            except StoreFailed as error:
                _log.warning("%s", error)

    def _make(self, unit: Unit) -> SharedUnit:
        """The lock is held."""
        logical_unit = LogicalUnit(
            unit.device,
            unit.personality,
            store=self._reservation_store(unit.uuid),
            modes=self._mode_store(unit.uuid),
            eraser=unit.eraser,
            caretaker=unit.caretaker,
            erase_bytes_per_s=self._erase_bytes_per_s,
        )
        lost = logical_unit.reservations.lost
        if lost is not None:
            self.tell(Note("reservations-lost", unit.backing, damage(unit.uuid, lost)))
        lost = logical_unit.kept_modes.lost
        if lost is not None:
            self.tell(Note("modes-lost", unit.backing, mode_files.damage(unit.uuid, lost)))
        shared = SharedUnit(next(self._numbers), unit, logical_unit)
        self._shared[unit.uuid] = shared
        return shared

    def _tell_ports(self, units: Iterable[SharedUnit]) -> None:
        """The lock is held."""
        for shared in units:
            ports = [port for holder in shared.holders for port in self._ports.get(holder, ())]
            shared.logical_unit.nexuses.set_target_ports(ports)
