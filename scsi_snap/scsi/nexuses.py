"""The nexuses of a logical unit: where it is mapped, who is there, and what each has to learn.

Here is the one lock of the unit's state, and the one place where gates are told: whatever changes
that state does so inside `changing`, which tells the gates what is different after. They are told
under the lock, so what a gate hears last is what was so last. A fast-path command that was let
through just before an attention or a reservation arises is one that came before it.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from scsi_snap.scsi.gates import Gates, Unusual
from scsi_snap.scsi.nexus import InitiatorPort, ItlNexus, Mapping, TargetPort
from scsi_snap.scsi.request import NexusId
from scsi_snap.scsi.sense import SenseCode, refuse
from scsi_snap.scsi.unit_attention import UnitAttentions


class Restrictions(Protocol):
    """What the fast path must leave to the command set, beside unit attentions. Asked under the
    lock.
    """

    def unusual(self) -> Unusual:
        """Of every nexus."""

    def fenced(self, itl: ItlNexus) -> bool:
        """All of this nexus, as another's reservation may forbid it."""


class Nexuses:
    """Of one logical unit."""

    def __init__(self, restrictions: Restrictions) -> None:
        self._restrictions: Final = restrictions
        self._lock: Final = threading.Lock()
        self._attentions: Final = UnitAttentions()
        self._gates: Final = Gates()
        self._target_ports: tuple[TargetPort, ...] = ()

    @contextmanager
    def locked(self) -> Iterator[UnitAttentions]:
        """For a look at the unit's state, or a change that no gate is about."""
        with self._lock:
            yield self._attentions

    @contextmanager
    def changing(self) -> Iterator[UnitAttentions]:
        """For a change of the unit's state, and the attentions that tell of it."""
        with self._lock:
            yield self._attentions
            self._tell(self._attentions.known())

    def establish(self, condition: SenseCode, *, but: ItlNexus | None = None) -> None:
        """A unit attention for every nexus but one."""
        with self.changing() as attentions:
            attentions.establish(condition, but=but)

    def establish_at(self, mapping: Mapping, condition: SenseCode) -> None:
        """A unit attention for every nexus that has the unit in this place."""
        with self.changing() as attentions:
            for itl in attentions.known():
                if itl.mapping is mapping:
                    attentions.establish_for(itl, condition)

    def luns_reported(self, itl: ItlNexus) -> None:
        """The nexus has read the list: nothing is pending of it."""
        with self._lock:
            if itl.mapping in self._gates:
                self._attentions.clear(itl, SenseCode.REPORTED_LUNS_DATA_HAS_CHANGED)
                self._tell([itl])

    def waiting(self, itl: ItlNexus) -> list[SenseCode]:
        """The unit attentions that wait for a nexus, oldest first; they stay."""
        with self._lock:
            return self._attentions.waiting(itl)

    def known(self) -> list[ItlNexus]:
        """Every nexus that is here."""
        with self._lock:
            return self._attentions.known()

    def target_ports(self) -> list[TargetPort]:
        """Every target port that shows the unit, whether anybody is logged in there or not."""
        with self._lock:
            here = (mapping.port for mapping in self._gates.places())
            return list(dict.fromkeys([*self._target_ports, *here]))

    def set_target_ports(self, ports: Iterable[TargetPort]) -> None:
        """Names the ports at which a nexus would find the unit."""
        with self._lock:
            self._target_ports = tuple(ports)

    @contextmanager
    def visiting(self, itl: ItlNexus) -> Iterator[UnitAttentions]:
        """Holds the lock for a nexus that asks; refused where the unit is not in its place any
        more. One that nobody has said to begin, begins.
        """
        with self._lock:
            if itl.mapping not in self._gates:
                refuse(SenseCode.LOGICAL_UNIT_NOT_SUPPORTED)
            self._meet([itl])
            yield self._attentions

    def report(self, itl: ItlNexus, take: Callable[[ItlNexus], SenseCode | None]) -> None:
        """Refuses with the attention that `take` finds, which is thereby reported. Inside
        `visiting`.
        """
        condition = take(itl)
        if condition is not None:
            self._tell([itl])
            refuse(condition)

    def take(self, itl: ItlNexus) -> SenseCode | None:
        """The next attention of a nexus, which is thereby reported."""
        with self._lock:
            condition = self._attentions.take(itl)
            if itl.mapping in self._gates:
                self._tell([itl])
        return condition

    def mapped(self, mapping: Mapping, nexuses: Iterable[tuple[NexusId, InitiatorPort]]) -> None:
        """The unit has come to this place, where these nexuses are."""
        with self._lock:
            self._gates.add(mapping, self._restrictions.unusual())
            self._meet(ItlNexus(mapping, *nexus) for nexus in nexuses)
            self._gates.open(mapping)

    def meet(self, itl: ItlNexus, *, quietly: bool = False) -> None:
        """A nexus begins: its first command learns of it, and does not pass the gate. `quietly`:
        it has been there all the time, for all that its initiators can see.
        """
        with self._lock:
            if itl.mapping in self._gates:
                self._meet([itl], quietly=quietly)

    def _meet(self, nexuses: Iterable[ItlNexus], *, quietly: bool = False) -> None:
        """The lock is held."""
        for itl in nexuses:
            self._attentions.meet(itl, quietly=quietly)
            self._tell([itl])

    @contextmanager
    def losing(self, nexus: NexusId) -> Iterator[None]:
        """A nexus is gone, and inside, what it had of the unit."""
        with self.changing() as attentions:
            attentions.forget(nexus)
            yield
            self._gates.forget(nexus)

    @contextmanager
    def unmapping(self, mapping: Mapping) -> Iterator[None]:
        """The unit has left this place, and inside, what the nexuses there had of it goes; a
        command still on its way to it finds nothing.
        """
        with self.changing() as attentions:
            attentions.forget_mapping(mapping)
            yield
            self._gates.remove(mapping)

    def withdrawn(self, mapping: Mapping) -> None:
        """The place is gone, which no nexus has any more; it may come back."""
        with self._lock:
            self._gates.remove(mapping)

    def _tell(self, nexuses: Iterable[ItlNexus]) -> None:
        """Tells the gates what is different now, of these nexuses. The lock is held."""
        self._gates.tell_all(self._restrictions.unusual())
        for itl in nexuses:
            pending = self._attentions.pending(itl) or self._restrictions.fenced(itl)
            self._gates.tell(itl, pending)
