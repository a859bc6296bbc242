"""Persistent reservations against a model that was written from the tables alone.

Several nodes send PERSISTENT RESERVE OUT with keys from a small set, read, write, log in and out.
The model keeps a list of registrations and at most one reservation, and says for each command
whether it ends in GOOD; the bus is then asked what is registered, and who may do what.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.budget import budget
from tests.t6_scsi.bus import GOOD, RESERVATION_CONFLICT, make_bus
from tests.t6_scsi.cluster import (
    APTPL,
    CLEAR,
    EA,
    EA_AR,
    EA_RO,
    IGNORE_EXISTING_KEY,
    PREEMPT,
    PREEMPT_AND_ABORT,
    REGISTER,
    RELEASE,
    RESERVE,
    TYPES,
    WE,
    WE_AR,
    Cluster,
)
from tests.t6_scsi.fakes import MemoryDevice
from tests.t6_scsi.test_reservation_record import MemoryStore

NODES = (1, 2, 3)
KEYS = (11, 22, 0)
ACTIONS = (REGISTER, RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT_AND_ABORT, IGNORE_EXISTING_KEY)


@dataclass
class Model:
    """What a cluster relies on, in the plainest words."""

    registered: list[tuple[int, int]] = field(default_factory=list)
    """(node, key), in order."""
    reservation: tuple[int | None, int] | None = None
    """(node that holds it, or None for all of them; type)."""
    persists: bool = False

    def key(self, node: int) -> int | None:
        return next((key for who, key in self.registered if who == node), None)

    def holds(self, node: int) -> bool:
        if self.reservation is None or self.key(node) is None:
            return False
        return self.reservation[0] in (None, node)

    def access(self, node: int) -> tuple[bool, bool]:
        """Whether it may read and write."""
        if self.reservation is None or self.holds(node):
            return True, True
        kind = self.reservation[1]
        if kind not in (WE, EA) and self.key(node) is not None:
            return True, True
        return kind not in (EA, EA_RO, EA_AR), False

    def drop(self, gone: list[int]) -> None:
        self.registered = [(who, key) for who, key in self.registered if who not in gone]
        if self.reservation is not None:
            holder = self.reservation[0]
            if (holder is None and not self.registered) or holder in gone:
                self.reservation = None

    def take(self, node: int, kind: int) -> None:
        self.reservation = (None if kind in (WE_AR, EA_AR) else node, kind)

    def out(
        self, node: int, action: int, key: int, action_key: int, kind: int, persists: bool
    ) -> bool:
        """Does it, and says whether it was GOOD."""
        own = self.key(node)
        if action in (REGISTER, IGNORE_EXISTING_KEY):
            return self.register(node, own, key, action_key, persists, action == REGISTER)
        if own is None or own != key:
            return False
        if action == RESERVE:
            if self.reservation is not None:
                return self.holds(node) and self.reservation[1] == kind
            self.take(node, kind)
        elif action == RELEASE:
            if self.holds(node):
                if self.reservation is not None and self.reservation[1] != kind:
                    return False
                self.reservation = None
        elif action == CLEAR:
            self.registered, self.reservation = [], None
        else:
            return self.preempt(node, action_key, kind)
        return True

    def register(
        self, node: int, own: int | None, key: int, new: int, persists: bool, checks: bool
    ) -> bool:
        if checks and key != (own or 0):
            return False
        if own is None and not new:
            return True
        if not new:
            self.drop([node])
        elif own is None:
            self.registered.append((node, new))
        else:
            self.registered = [(who, new if who == node else old) for who, old in self.registered]
        self.persists = persists
        return True

    def preempt(self, node: int, victim: int, kind: int) -> bool:
        all_of_them = self.reservation is not None and self.reservation[0] is None
        if not victim and not all_of_them:
            return False
        named = [who for who, key in self.registered if key == victim]
        if not victim:
            named = [who for who, _ in self.registered]
        if not named:
            return False
        holder = self.reservation[0] if self.reservation else None
        if not victim or (holder is not None and holder in named):
            self.registered = [e for e in self.registered if e[0] == node or e[0] not in named]
            self.take(node, kind)
        else:
            self.drop(named)
        return True

    def lose_power(self) -> None:
        if not self.persists:
            self.registered, self.reservation = [], None
        self.persists = bool(self.registered)


class Reservations(RuleBasedStateMachine):
    """The bus and the model, side by side."""

    @initialize()
    def begin(self) -> None:
        self.store = MemoryStore()
        self.model = Model()
        self.power_on()
        self.register(1, 11, APTPL)
        self.register(2, 22, APTPL)

    def power_on(self) -> None:
        self.cluster = Cluster(make_bus(MemoryDevice(), self.store))
        for node in (*NODES, 9):
            self.cluster.bus.clear_attentions(node)

    @rule(node=st.sampled_from(NODES), key=st.sampled_from(KEYS), flags=st.sampled_from((0, APTPL)))
    def register(self, node: int, key: int, flags: int) -> None:
        self.send(node, IGNORE_EXISTING_KEY, 0, key, 0, flags)

    @rule(node=st.sampled_from(NODES), kind=st.sampled_from(TYPES))
    def reserve(self, node: int, kind: int) -> None:
        self.send(node, RESERVE, self.model.key(node) or 0, 0, kind, 0)

    @rule(node=st.sampled_from(NODES))
    def release(self, node: int) -> None:
        kind = self.model.reservation[1] if self.model.reservation else WE
        self.send(node, RELEASE, self.model.key(node) or 0, 0, kind, 0)

    @rule(
        node=st.sampled_from(NODES),
        action=st.sampled_from((PREEMPT, PREEMPT_AND_ABORT)),
        victim=st.sampled_from(KEYS),
        kind=st.sampled_from(TYPES),
    )
    def preempt(self, node: int, action: int, victim: int, kind: int) -> None:
        self.send(node, action, self.model.key(node) or 0, victim, kind, 0)

    @rule(
        node=st.sampled_from(NODES),
        action=st.sampled_from(ACTIONS),
        key=st.sampled_from(KEYS),
        action_key=st.sampled_from(KEYS),
        kind=st.sampled_from(TYPES),
        flags=st.sampled_from((0, APTPL)),
    )
    def anything(
        self, node: int, action: int, key: int, action_key: int, kind: int, flags: int
    ) -> None:
        self.send(node, action, key, action_key, kind, flags)

    def send(
        self, node: int, action: int, key: int, action_key: int, kind: int, flags: int
    ) -> None:
        """To both; every node then learns what there is to learn."""
        status = self.cluster.out(node, action, key, action_key, kind, flags)
        good = self.model.out(node, action, key, action_key, kind, bool(flags))
        assert (status == GOOD) is good
        for each in NODES:
            self.cluster.learns(each)

    @rule(node=st.sampled_from(NODES))
    def log_in_again(self, node: int) -> None:
        self.cluster.bus.lose(node)
        self.cluster.bus.clear_attentions(node)

    @rule(function=st.sampled_from((5, 6)))
    def reset(self, function: int) -> None:
        self.cluster.bus.target.task_management(9, 0, function)
        for node in (*NODES, 9):
            self.cluster.bus.clear_attentions(node)

    @rule()
    def lose_power(self) -> None:
        self.model.lose_power()
        self.power_on()

    @rule(node=st.sampled_from(NODES))
    def reserve_as_of_old(self, node: int) -> None:
        """RESERVE, and RELEASE if it was granted."""
        status = self.cluster.bus.command([0x16, *[0] * 5], nexus=node)[0]
        party = self.model.reservation is not None and all(self.model.access(node))
        free = not self.model.registered
        assert status == (GOOD if party or free else RESERVATION_CONFLICT)
        assert self.cluster.bus.command([0x17, *[0] * 5], nexus=node)[0] == status

    @invariant()
    def the_same_is_registered_and_reserved(self) -> None:
        assert self.cluster.registered(9) == [key for _, key in self.model.registered]
        expected = None
        if self.model.reservation is not None:
            holder, kind = self.model.reservation
            expected = (0 if holder is None else self.model.key(holder), kind)
        assert self.cluster.reservation(9) == expected

    @invariant()
    def the_same_may_read_and_write(self) -> None:
        for node in (*NODES, 9):
            access = (self.cluster.reads(node), self.cluster.writes(node))
            assert access == self.model.access(node), node
            # Whom the fast path serves is who may do both.
            assert self.cluster.bus.gate.pending(node) is (access != (True, True))


Reservations.TestCase.settings = budget(120, 20)
TestReservations = Reservations.TestCase
