"""Persistent reservations of one logical unit: the state and its rules, without CDBs (SPC-4, 5.13).

A cluster's nodes each register a key; one of them, or all, then hold a reservation, and who is not
party to it is kept from reading or writing. A node that has failed is fenced by removing its key.

What registers is an I_T nexus, that is an initiator port and a target port; neither the loss of a
nexus nor a reset undoes it. The state is a value: each rule makes a new one, together with what has
to be told to whom. So a change can be made durable before it takes effect, and a rule that refuses
has changed nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from scsi_snap.scsi.limits import REGISTRATIONS_MAX
from scsi_snap.scsi.nexus import InitiatorPort, TargetPort
from scsi_snap.scsi.sense import SenseCode, refuse, refuse_parameter

KEY_BYTE: Final = 8
"""Where SERVICE ACTION RESERVATION KEY is in the parameter list, for field pointers."""

FLAGS_BYTE, SPEC_I_PT_BIT, TRANSPORT_IDS_BYTE = 20, 3, 24
"""Also in the parameter list."""


class ReservationConflict(Exception):
    """The command being handled ends in RESERVATION CONFLICT; it never leaves the package."""


class ItNexus(NamedTuple):
    """An I_T nexus by the names of its ports, as it is again after the next login."""

    initiator: InitiatorPort
    port: TargetPort


class ReservationType(IntEnum):
    """TYPE (SPC-4, 6.15.3.4)."""

    WRITE_EXCLUSIVE = 1
    EXCLUSIVE_ACCESS = 3
    WRITE_EXCLUSIVE_REGISTRANTS_ONLY = 5
    EXCLUSIVE_ACCESS_REGISTRANTS_ONLY = 6
    WRITE_EXCLUSIVE_ALL_REGISTRANTS = 7
    EXCLUSIVE_ACCESS_ALL_REGISTRANTS = 8

    @property
    def all_registrants(self) -> bool:
        """Every registered nexus holds it."""
        return self >= ReservationType.WRITE_EXCLUSIVE_ALL_REGISTRANTS

    @property
    def for_registrants(self) -> bool:
        """Every registered nexus has access: registrants only, or all registrants."""
        return self >= ReservationType.WRITE_EXCLUSIVE_REGISTRANTS_ONLY

    @property
    def excludes_reading(self) -> bool:
        """Exclusive access, not only exclusive writing."""
        return self in (
            ReservationType.EXCLUSIVE_ACCESS,
            ReservationType.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY,
            ReservationType.EXCLUSIVE_ACCESS_ALL_REGISTRANTS,
        )


class Reservation(NamedTuple):
    """The one persistent reservation of a unit. Its scope is the whole unit."""

    type: ReservationType
    holder: ItNexus | None
    """None for the all registrants types."""


class Change(NamedTuple):
    """What a service action does."""

    state: PersistentReservations
    attentions: tuple[tuple[ItNexus, SenseCode], ...] = ()
    preempted: frozenset[ItNexus] = frozenset()
    """Lost their registration to another nexus: never the nexus that the command came by, for whose
    commands, this one among them, nobody can wait.
    """


@dataclass(frozen=True, slots=True)
class PersistentReservations:
    """Registrations and the reservation. Methods that change take the nexus `by` which a command
    came and the RESERVATION KEY that it gave.
    """

    keys: Mapping[ItNexus, int] = field(default_factory=lambda: MappingProxyType({}))
    """By registered nexus, in the order of registration."""
    reservation: Reservation | None = None
    generation: int = 0
    """PRgeneration: how often registrations were changed since power on, in 32 bits."""
    persists: bool = False
    """APTPL: kept over a power loss, such as the end of the daemon."""

    def holds(self, nexus: ItNexus) -> bool:
        """Whether the nexus is a reservation holder (SPC-4, 5.13.10)."""
        if self.reservation is None:
            return False
        if self.reservation.type.all_registrants:
            return nexus in self.keys
        return nexus == self.reservation.holder

    @property
    def holder_key(self) -> int:
        """What READ RESERVATION reports: zero where every registrant holds it."""
        assert self.reservation is not None
        holder = self.reservation.holder
        return 0 if holder is None else self.keys[holder]

    def party(self, nexus: ItNexus) -> bool:
        """Whether nothing conflicts for the nexus: a holder, or registered where that suffices."""
        if self.reservation is None or self.holds(nexus):
            return True
        return self.reservation.type.for_registrants and nexus in self.keys

    def may_read(self, nexus: ItNexus) -> bool:
        """Whether what reads the medium does not conflict."""
        reservation = self.reservation
        return reservation is None or not reservation.type.excludes_reading or self.party(nexus)

    def register(
        self,
        by: ItNexus,
        key: int | None,
        new_key: int,
        *,
        ports: Collection[TargetPort],
        initiators: Collection[InitiatorPort] | None,
        persists: bool,
    ) -> Change:
        """REGISTER; with `key` None, REGISTER AND IGNORE EXISTING KEY (SPC-4, 5.13.7).

        `ports`: the target ports meant, all of them with ALL_TG_PT. `initiators`: the initiator
        ports that are to be registered too (SPEC_I_PT), None where there is no list of them.
        """
        if key is not None and key != self.keys.get(by, 0):
            raise ReservationConflict
        if by in self.keys and initiators is not None:
            refuse_parameter(FLAGS_BYTE, SPEC_I_PT_BIT)
        if not new_key:
            return self._unregister_own(by, ports, persists) if by in self.keys else Change(self)
        others = [ItNexus(each, port) for each in initiators or () for port in ports]
        if any(other in self.keys for other in others):
            refuse_parameter(TRANSPORT_IDS_BYTE)
        keys = {**self.keys}
        keys |= dict.fromkeys([by, *(ItNexus(by.initiator, port) for port in ports)], new_key)
        keys |= dict.fromkeys(others, new_key)
        return Change(self._with(keys, self.reservation, persists=persists))

    def _unregister_own(self, by: ItNexus, ports: Collection[TargetPort], persists: bool) -> Change:
        """SPC-4, 5.13.11.2.3."""
        gone = {by, *(ItNexus(by.initiator, port) for port in ports)}
        after = replace(self._without(gone), persists=persists)
        return Change(after, self._released_to(after, by))

    def register_and_move(
        self, by: ItNexus, key: int, new_key: int, to: ItNexus, *, unregister: bool, persists: bool
    ) -> Change:
        """REGISTER AND MOVE (SPC-4, 5.13.8)."""
        self._check_key(by, key)
        if self.reservation is None:
            refuse(SenseCode.INVALID_FIELD_IN_CDB)
        if self.reservation.type.all_registrants or not self.holds(by):
            raise ReservationConflict
        if not new_key:
            refuse_parameter(KEY_BYTE)
        keys = {**self.keys, to: new_key}
        if unregister:
            del keys[by]
        moved = self.reservation._replace(holder=to)
        return Change(self._with(keys, moved, persists=persists))

    def reserve(self, by: ItNexus, key: int, kind: Callable[[], ReservationType]) -> Change:
        """RESERVE (SPC-4, 5.13.9). `kind` refuses where SCOPE or TYPE means nothing."""
        self._check_key(by, key)
        wanted = kind()
        if self.reservation is None:
            return Change(replace(self, reservation=self._held_by(by, wanted)))
        if not self.holds(by) or self.reservation.type != wanted:
            raise ReservationConflict
        return Change(self)

    def release(self, by: ItNexus, key: int, kind: int | None) -> Change:
        """RELEASE (SPC-4, 5.13.11.2.2). `kind` is TYPE, None where SCOPE is not the unit."""
        self._check_key(by, key)
        if self.reservation is None or not self.holds(by):
            return Change(self)
        if self.reservation.type != kind:
            refuse(SenseCode.INVALID_RELEASE_OF_PERSISTENT_RESERVATION)
        after = replace(self, reservation=None)
        return Change(after, self._released_to(after, by))

    def clear(self, by: ItNexus, key: int) -> Change:
        """CLEAR (SPC-4, 5.13.11.2.7)."""
        self._check_key(by, key)
        told = (each for each in self.keys if each != by)
        return Change(
            self._with({}, None),
            tuple((each, SenseCode.RESERVATIONS_PREEMPTED) for each in told),
        )

    def preempt(
        self, by: ItNexus, key: int, victim: int, kind: Callable[[], ReservationType]
    ) -> Change:
        """PREEMPT (SPC-4, 5.13.11.2.4): removes who is registered with the key `victim`, and takes
        the reservation where that key is its holder's. SCOPE and TYPE only count in that case.
        """
        self._check_key(by, key)
        everyone = self.reservation is not None and self.reservation.type.all_registrants
        if not victim:
            if not everyone:
                refuse_parameter(KEY_BYTE)
            return self._take(by, set(self.keys) - {by}, kind())
        named = {each for each, registered in self.keys.items() if registered == victim}
        if not named:
            raise ReservationConflict
        if self.reservation is not None and not everyone and self.holder_key == victim:
            return self._take(by, named - {by}, kind())
        others = named - {by}
        return Change(self._without(named), _preempted(others), frozenset(others))

    def _take(self, by: ItNexus, gone: set[ItNexus], kind: ReservationType) -> Change:
        """Replaces the reservation by one of `by`, and removes registrations."""
        assert self.reservation is not None
        keys = {each: key for each, key in self.keys.items() if each not in gone}
        told = _preempted(gone)
        if self.reservation.type != kind:
            kept = (each for each in keys if each != by)
            told += tuple((each, SenseCode.RESERVATIONS_RELEASED) for each in kept)
        return Change(self._with(keys, self._held_by(by, kind)), told, frozenset(gone))

    def replace_lost(
        self, by: ItNexus, new_key: int, kind: ReservationType, *, persists: bool
    ) -> Change:
        """REPLACE LOST RESERVATION (SPC-4, 5.13.11.3), the loss being known to the caller."""
        keys = MappingProxyType({by: new_key})
        return Change(PersistentReservations(keys, self._held_by(by, kind), 0, persists))

    def _check_key(self, by: ItNexus, key: int) -> None:
        if self.keys.get(by) != key:
            raise ReservationConflict

    def _held_by(self, by: ItNexus, kind: ReservationType) -> Reservation:
        return Reservation(kind, None if kind.all_registrants else by)

    def _without(self, gone: Collection[ItNexus]) -> PersistentReservations:
        """Registrations gone, and the reservation with its last holder (SPC-4, 5.13.10)."""
        keys = {each: key for each, key in self.keys.items() if each not in gone}
        reservation = self.reservation
        if reservation is not None:
            lost = not keys if reservation.holder is None else reservation.holder in gone
            reservation = None if lost else reservation
        return self._with(keys, reservation)

    def _with(
        self,
        keys: Mapping[ItNexus, int],
        reservation: Reservation | None,
        *,
        persists: bool | None = None,
    ) -> PersistentReservations:
        """The next generation."""
        if len(keys) > max(REGISTRATIONS_MAX, len(self.keys)):
            refuse(SenseCode.INSUFFICIENT_REGISTRATION_RESOURCES)
        return PersistentReservations(
            MappingProxyType(dict(keys)),
            reservation,
            (self.generation + 1) & 0xFFFFFFFF,
            self.persists if persists is None else persists,
        )

    def _released_to(
        self, after: PersistentReservations, by: ItNexus
    ) -> tuple[tuple[ItNexus, SenseCode], ...]:
        """Who learns that the reservation is released: the others that it gave access to."""
        before = self.reservation
        if before is None or after.reservation is not None or not before.type.for_registrants:
            return ()
        return tuple((each, SenseCode.RESERVATIONS_RELEASED) for each in after.keys if each != by)


def _preempted(gone: Collection[ItNexus]) -> tuple[tuple[ItNexus, SenseCode], ...]:
    return tuple((each, SenseCode.REGISTRATIONS_PREEMPTED) for each in gone)
