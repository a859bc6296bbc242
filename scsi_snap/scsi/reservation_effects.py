"""What the state looks like after each service action of PERSISTENT RESERVE OUT has been done.

Needed for a command that a process had begun when it died: its change was durable or it was not,
and where it was, the rules of `reservations` would refuse it a second time, with a conflict about a
key that the command itself has changed. So each rule is asked after its effect: where that is there
already, nothing is left to do. REGISTER AND IGNORE EXISTING KEY, RESERVE and RELEASE need no such
question, as their rules do nothing the second time.

An effect that was there before the command came, and that its rule would have refused, cannot be
told from its own. Then it ends in GOOD and has changed nothing.
"""

from collections.abc import Callable, Collection

from scsi_snap.scsi.nexus import InitiatorPort, TargetPort
from scsi_snap.scsi.reservations import (
    ItNexus,
    PersistentReservations,
    Reservation,
    ReservationType,
)

Effect = Callable[[PersistentReservations], bool]


def registered(
    by: ItNexus,
    new_key: int,
    ports: Collection[TargetPort],
    initiators: Collection[InitiatorPort] | None,
    *,
    persists: bool,
) -> Effect:
    """REGISTER: all that were to have the key have it, or with zero have none."""
    initiator_ports = {by.initiator, *(initiators or ())}
    named = {by, *(ItNexus(each, port) for each in initiator_ports for port in ports)}
    return lambda state: (
        all(state.keys.get(each, 0) == new_key for each in named) and _persists(state, persists)
    )


def _persists(state: PersistentReservations, wanted: bool) -> bool:
    """As APTPL has it, or nothing is there to persist."""
    return not state.keys or state.persists == wanted


def moved(
    by: ItNexus, key: int, new_key: int, to: ItNexus, *, unregister: bool, persists: bool
) -> Effect:
    """REGISTER AND MOVE."""

    def effect(state: PersistentReservations) -> bool:
        kept = None if unregister else key
        holds = state.reservation is not None and state.reservation.holder == to
        keys = state.keys.get(to) == new_key and state.keys.get(by) == kept
        return holds and keys and _persists(state, persists)

    return effect


def cleared(state: PersistentReservations) -> bool:
    """CLEAR."""
    return not state.keys and state.reservation is None


def preempted(by: ItNexus, key: int, victim: int, kind: Callable[[], ReservationType]) -> Effect:
    """PREEMPT: nobody has the victim's key; or with zero, nobody is left but who holds it now."""

    def effect(state: PersistentReservations) -> bool:
        if victim:
            # Who names its own key may have removed itself.
            itself = key if key != victim else 0
            return state.keys.get(by, 0) == itself and victim not in state.keys.values()
        return dict(state.keys) == {by: key} and state.reservation == _held(by, kind())

    return effect


def replaced(by: ItNexus, new_key: int, kind: ReservationType) -> Effect:
    """REPLACE LOST RESERVATION."""
    return lambda state: dict(state.keys) == {by: new_key} and state.reservation == _held(by, kind)


def _held(by: ItNexus, kind: ReservationType) -> Reservation:
    return Reservation(kind, None if kind.all_registrants else by)
