"""Who may do what to a logical unit: its persistent reservations, and those of RESERVE (SPC-2).

The two exclude each other: while any nexus is registered, RESERVE and RELEASE conflict but where
SPC-4, 5.13.3 has it otherwise; while a unit is held by RESERVE, PERSISTENT RESERVE IN and OUT do.

Where the record of reservations is damaged, nobody can say who was fenced. Then the unit is in the
recoverable lost persistent reservation condition (SPC-4, 5.13.5.3): it refuses what could do harm
until a host replaces the reservation.

`_changing` orders changes; it is held while one is made durable, and taken before the unit's lock,
which guards what is read here. What is said to be asked under the lock is asked inside a context of
`Nexuses`.
"""

import logging
import threading
from collections.abc import Callable
from typing import Final

from scsi_snap.scsi import reservation_record
from scsi_snap.scsi.cdb import Cdb
from scsi_snap.scsi.limits import PREEMPT_AND_ABORTS_MAX
from scsi_snap.scsi.nexus import InitiatorPort, ItlNexus, Mapping
from scsi_snap.scsi.nexuses import Nexuses
from scsi_snap.scsi.operation import Access, Operation
from scsi_snap.scsi.record_store import RecordStore, StoreFailed
from scsi_snap.scsi.request import NexusId
from scsi_snap.scsi.reservation_record import DamagedRecord
from scsi_snap.scsi.reservations import (
    Change,
    ItNexus,
    PersistentReservations,
    ReservationConflict,
)
from scsi_snap.scsi.sense import CheckCondition, SenseCode, refuse

ALLOWED_WHILE_LOST: Final = frozenset(
    {
        "INQUIRY",
        "LOG SENSE",
        "REPORT LUNS",
        "REPORT TARGET PORT GROUPS",
        "REQUEST SENSE",
        "PERSISTENT RESERVE OUT / REPLACE LOST RESERVATION",
    }
)
"""What harms nobody while it is not known who is fenced (SPC-4, 5.13.5.2 and 5.13.5.3)."""

Rule = Callable[[PersistentReservations], Change]
"""A service action of PERSISTENT RESERVE OUT; it may refuse or conflict."""

_log = logging.getLogger("scsi_snap.reservations")

_aborting: Final = threading.BoundedSemaphore(PREEMPT_AND_ABORTS_MAX)


class Busy(Exception):
    """The command being handled ends in BUSY; it never leaves the package."""


def it_nexus(itl: ItlNexus) -> ItNexus:
    """The I_T nexus by names."""
    return ItNexus(itl.initiator, itl.mapping.port)


class UnitReservations:
    """Of one logical unit."""

    def __init__(self, store: RecordStore, nexuses: Nexuses) -> None:
        self.lost: str | None = None
        """Why it is not known who is registered; None in all but that case."""
        self._persistent = PersistentReservations()
        self._legacy: ItlNexus | None = None
        """Who holds the unit by RESERVE."""
        self._changing: Final = threading.Lock()
        self._store: Final = store
        self._nexuses: Final = nexuses
        try:
            self._persistent = reservation_record.decode(store.load())
        except (DamagedRecord, StoreFailed) as error:
            self.lost = str(error)

    def read(self) -> PersistentReservations:
        """What PERSISTENT RESERVE IN shows; it conflicts with RESERVE, whose ever that is."""
        with self._nexuses.locked():
            self._check_not_held()
            return self._persistent

    def change(self, rule: Rule) -> frozenset[ItNexus]:
        """Applies a service action of PERSISTENT RESERVE OUT: durable, then in effect, then told.

        Who was preempted.
        """
        with self._changing:
            with self._nexuses.locked():
                self._check_not_held()
            before = self._persistent
            change = rule(before)
            if change.state is not before:
                self._save(change.state)
            self._install(change)
        return change.preempted

    def change_and_abort(self, rule: Rule) -> list[ItlNexus]:
        """The same, and ends the commands of who was preempted: whose those were.

        It waits without a lock: a command that is waited for may need one to end. It waits in no
        circle either: a nexus that was preempted cannot preempt any more, so of two that wait the
        one for the other's command the later would have been refused.
        """
        if not _aborting.acquire(blocking=False):
            raise Busy
        try:
            preempted = self.change(rule)
            ended = [itl for itl in self._nexuses.known() if it_nexus(itl) in preempted]
            for mapping in {itl.mapping for itl in ended}:
                nexuses = [itl.nexus for itl in ended if itl.mapping is mapping]
                mapping.gate.abort_tasks(mapping.lun, nexuses)
        finally:
            _aborting.release()
        return ended

    def replace_lost(self, rule: Rule) -> None:
        """REPLACE LOST RESERVATION: refused where nothing was lost (SPC-4, 5.13.11.3)."""
        with self._changing:
            if self.lost is None:
                refuse(SenseCode.INVALID_RELEASE_OF_PERSISTENT_RESERVATION)
            change = rule(self._persistent)
            self._save(change.state)
            self.lost = None
            self._install(change)

    def _install(self, change: Change) -> None:
        with self._nexuses.changing() as attentions:
            self._persistent = change.state
            for nexus, condition in change.attentions:
                for itl in attentions.known():
                    if it_nexus(itl) == nexus:
                        attentions.establish_for(itl, condition)

    def _save(self, state: PersistentReservations) -> None:
        """Makes a state durable before it takes effect; `_changing` is held. What does not persist
        is not written, unless it is the first to be so.
        """
        if state.persists or self._persistent.persists or self.lost is not None:
            try:
                self._store.save(reservation_record.encode(state))
            except StoreFailed as error:
                _log.error("reservations cannot be kept: %s", error)
                refuse(SenseCode.INTERNAL_TARGET_FAILURE)

    def _check_not_held(self) -> None:
        """For PERSISTENT RESERVE IN and OUT, which conflict with RESERVE (SPC-2)."""
        if self._legacy is not None:
            raise ReservationConflict

    def check(self, access: Access, itl: ItlNexus) -> None:
        """Raises `ReservationConflict` where another's reservation forbids it. Asked under the
        lock.
        """
        if access in (Access.ANY, Access.RESERVATION):
            return
        if self._legacy is not None:
            if self._legacy != itl:
                raise ReservationConflict
            return
        nexus = it_nexus(itl)
        if access is Access.WRITE and not self._persistent.party(nexus):
            raise ReservationConflict
        if access is Access.READ and not self._persistent.may_read(nexus):
            raise ReservationConflict

    def check_command(self, operation: Operation, cdb: bytes, itl: ItlNexus) -> None:
        """The same of a command, whose CDB may not be valid."""
        try:
            harmless = operation.harmless(Cdb(operation.layout, cdb))
        except CheckCondition:
            harmless = False
        if not harmless:
            self.check(operation.access, itl)

    def check_known(self, operation: Operation, cdb: Cdb) -> None:
        """Refuses what could do harm while it is not known who is fenced."""
        if self.lost is None or operation.name in ALLOWED_WHILE_LOST or operation.harmless(cdb):
            return
        refuse(SenseCode.PERSISTENT_RESERVATION_INFORMATION_LOST)

    def forbids_something(self, itl: ItlNexus) -> bool:
        """Whether a plain READ or WRITE of the nexus may conflict: it is what WRITE does first.
        Asked under the lock.
        """
        if self._legacy is not None:
            return self._legacy != itl
        return not self._persistent.party(it_nexus(itl))

    def initiator_ports(self) -> set[InitiatorPort]:
        """Every initiator port that is here or registered."""
        with self._nexuses.locked() as attentions:
            return {
                *(itl.initiator for itl in attentions.known()),
                *(nexus.initiator for nexus in self._persistent.keys),
            }

    def reserve(self, itl: ItlNexus) -> None:
        """RESERVE (SPC-2)."""
        with self._changing, self._nexuses.changing():
            if self._compatible(itl):
                return
            if self._persistent.keys or self._legacy not in (None, itl):
                raise ReservationConflict
            self._legacy = itl

    def release(self, itl: ItlNexus) -> None:
        """RELEASE (SPC-2); of who holds nothing, it does nothing."""
        with self._changing, self._nexuses.changing():
            if self._compatible(itl):
                return
            if self._persistent.keys:
                raise ReservationConflict
            if self._legacy == itl:
                self._legacy = None

    def _compatible(self, itl: ItlNexus) -> bool:
        """Whether RESERVE and RELEASE end in GOOD and do nothing (SPC-4, 5.13.3): party to the
        persistent reservation that there is.
        """
        return self._persistent.reservation is not None and self._persistent.party(it_nexus(itl))

    def reset(self) -> None:
        """What RESERVE gave is released by a reset. The unit's lock is held, here and below."""
        self._legacy = None

    def forget(self, nexus: NexusId) -> None:
        """A nexus is gone: what RESERVE gave it is released, a registration stays."""
        if self._legacy is not None and self._legacy.nexus == nexus:
            self._legacy = None

    def forget_mapping(self, mapping: Mapping) -> None:
        """Every nexus of a place is gone."""
        if self._legacy is not None and self._legacy.mapping is mapping:
            self._legacy = None
