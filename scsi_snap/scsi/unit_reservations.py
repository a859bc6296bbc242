"""Who may do what to a logical unit: its persistent reservations, and those of RESERVE (SPC-2).

The two exclude each other: while any nexus is registered, RESERVE and RELEASE conflict but where
SPC-4, 5.13.3 has it otherwise; while a unit is held by RESERVE, PERSISTENT RESERVE IN and OUT do.

Where the record of reservations is damaged, nobody can say who was fenced. Then the unit is in the
recoverable lost persistent reservation condition (SPC-4, 5.13.5.3): it refuses what could do harm
until a host replaces the reservation.

`changing` orders changes; it is held while one is made durable, and taken before the owner's lock.
The owner's lock guards what is read here.
"""

import logging
import threading
from typing import Final

from scsi_snap.scsi import reservation_record
from scsi_snap.scsi.nexus import ItlNexus, Mapping
from scsi_snap.scsi.operation import Access
from scsi_snap.scsi.request import NexusId
from scsi_snap.scsi.reservation_record import DamagedRecord, ReservationStore, StoreFailed
from scsi_snap.scsi.reservations import ItNexus, PersistentReservations, ReservationConflict
from scsi_snap.scsi.sense import SenseCode, refuse

_log = logging.getLogger("scsi_snap.reservations")


def it_nexus(itl: ItlNexus) -> ItNexus:
    """The I_T nexus by names."""
    return ItNexus(itl.initiator, itl.mapping.port)


class UnitReservations:
    """Of one logical unit."""

    def __init__(self, store: ReservationStore) -> None:
        self.changing: Final = threading.Lock()
        self.persistent = PersistentReservations()
        self.lost: str | None = None
        """Why it is not known who is registered; None in all but that case."""
        self.legacy: ItlNexus | None = None
        """Who holds the unit by RESERVE."""
        self._store: Final = store
        try:
            self.persistent = reservation_record.decode(store.load())
        except (DamagedRecord, StoreFailed) as error:
            self.lost = str(error)

    def check(self, access: Access, itl: ItlNexus) -> None:
        """Raises `ReservationConflict` where another's reservation forbids it."""
        if access in (Access.ANY, Access.RESERVATION):
            return
        if self.legacy is not None:
            if self.legacy != itl:
                raise ReservationConflict
            return
        nexus = it_nexus(itl)
        if access is Access.WRITE and not self.persistent.party(nexus):
            raise ReservationConflict
        if access is Access.READ and not self.persistent.may_read(nexus):
            raise ReservationConflict

    def forbids_something(self, itl: ItlNexus) -> bool:
        """Whether a plain READ or WRITE of the nexus may conflict: it is what WRITE does first."""
        if self.legacy is not None:
            return self.legacy != itl
        return not self.persistent.party(it_nexus(itl))

    def check_not_held(self) -> None:
        """For PERSISTENT RESERVE IN and OUT, which conflict with RESERVE (SPC-2)."""
        if self.legacy is not None:
            raise ReservationConflict

    def save(self, state: PersistentReservations) -> None:
        """Makes a state durable before it takes effect; `changing` is held. What does not persist
        is not written, unless it is the first to be so.
        """
        if state.persists or self.persistent.persists or self.lost is not None:
            try:
                self._store.save(reservation_record.encode(state))
            except StoreFailed as error:
                _log.error("reservations cannot be kept: %s", error)
                refuse(SenseCode.INTERNAL_TARGET_FAILURE)

    def reserve(self, itl: ItlNexus) -> None:
        """RESERVE; the owner's lock and `changing` are held."""
        if self._compatible(itl):
            return
        if self.persistent.keys or self.legacy not in (None, itl):
            raise ReservationConflict
        self.legacy = itl

    def release(self, itl: ItlNexus) -> None:
        """RELEASE; of who holds nothing, it does nothing (SPC-2)."""
        if self._compatible(itl):
            return
        if self.persistent.keys:
            raise ReservationConflict
        if self.legacy == itl:
            self.legacy = None

    def _compatible(self, itl: ItlNexus) -> bool:
        """Whether RESERVE and RELEASE end in GOOD and do nothing (SPC-4, 5.13.3): party to the
        persistent reservation that there is.
        """
        return self.persistent.reservation is not None and self.persistent.party(it_nexus(itl))

    def forget(self, nexus: NexusId) -> None:
        """A nexus is gone: what RESERVE gave it is released, a registration stays."""
        if self.legacy is not None and self.legacy.nexus == nexus:
            self.legacy = None

    def forget_mapping(self, mapping: Mapping) -> None:
        """Every nexus of a place is gone."""
        if self.legacy is not None and self.legacy.mapping is mapping:
            self.legacy = None
