"""A target of the kernel becomes what it should be, step by step, and nothing else is touched."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from scsi_snap.lio.kernel_target import Acl, Chap, Group, KernelRefused, KernelSession
from scsi_snap.lio.reconcile import HIDDEN_FIRST, reconcile
from tests.simulated_kernel import SimulatedKernel

TARGET = "iqn.2026-11.org.example:disk"
A, B = "iqn.2026-11.org.example:a", "iqn.2026-11.org.example:b"
HERE, THERE = "127.0.0.1:3261", "127.0.0.2:3261"
CHAP = Chap("user", "twelve bytes")
OPEN = Group(portals=frozenset([HERE]), luns={0: "vol0", 1: "vol1"})
CLOSED = Group(
    open=False,
    portals=frozenset([HERE]),
    luns={0: "vol0"},
    acls={A: Acl(CHAP, {0: "vol0", 5: "vol1"}), B: Acl(None, {0: "vol0", 5: "vol2"})},
)
STATES: list[Mapping[int, Group]] = [
    {},
    {1: OPEN},
    {1: replace(OPEN, chap=CHAP), 2: replace(OPEN, portals=frozenset([THERE]))},
    {1: replace(OPEN, luns={0: "vol1", 7: "vol0"}, portals=frozenset())},
    {1: CLOSED},
    {1: replace(CLOSED, acls={B: Acl(CHAP, {0: "vol0", 5: "vol1", 6: "vol2"})}), 2: CLOSED},
    {2: Group(open=False, acls={A: Acl(None, {3: "vol2"}), B: Acl(None, {3: "vol1"})})},
    {1: replace(CLOSED, luns={}, acls={A: Acl(), B: Acl()})},
]


@pytest.fixture
def kernel(tmp_path: Path) -> SimulatedKernel:
    made = SimulatedKernel(tmp_path)
    for name in ("vol0", "vol1", "vol2"):
        made.add_device(name, f"scsi-snap/tank/{name}", 1 << 20)
    return made


def shown(kernel: SimulatedKernel) -> dict[int, Group]:
    """Without hidden LUNs."""
    groups = kernel.targets.get(TARGET, {})
    return {
        tag: replace(
            group, luns={lun: name for lun, name in group.luns.items() if lun < HIDDEN_FIRST}
        )
        for tag, group in groups.items()
    }


@pytest.mark.parametrize(("before", "after"), list(itertools.product(range(len(STATES)), repeat=2)))
def test_from_every_state_to_every_other(kernel: SimulatedKernel, before: int, after: int) -> None:
    reconcile(kernel, TARGET, STATES[before])
    reconcile(kernel, TARGET, STATES[after])
    assert shown(kernel) == STATES[after]
    if before == after:
        made = len(kernel.changes)
        kernel.changes.clear()
        reconcile(kernel, TARGET, STATES[after])
        assert made and kernel.changes == ([] if STATES[after] else [("remove_target", TARGET)])


def test_what_stays_is_not_touched(kernel: SimulatedKernel) -> None:
    reconcile(kernel, TARGET, {1: CLOSED})
    kernel.changes.clear()
    wider = replace(CLOSED, luns={0: "vol0", 2: "vol2"})
    reconcile(kernel, TARGET, {1: wider})
    assert kernel.changes == [("add_lun", TARGET, 1, 2, "vol2")]


def test_logins_come_last_and_secrets_first(kernel: SimulatedKernel) -> None:
    reconcile(kernel, TARGET, {1: CLOSED})
    verbs = [str(change[0]) for change in kernel.changes]
    assert verbs[0] == "add_group" and verbs[-1] == "enable"
    assert verbs.index("set_access") < verbs.index("add_lun") < verbs.index("set_acl")


def test_a_hidden_lun_keeps_its_number_and_goes_with_the_last_that_sees_it(
    kernel: SimulatedKernel,
) -> None:
    reconcile(kernel, TARGET, {1: CLOSED})
    hidden = {n: name for n, name in kernel.targets[TARGET][1].luns.items() if n >= HIDDEN_FIRST}
    assert hidden == {HIDDEN_FIRST: "vol1", HIDDEN_FIRST + 1: "vol2"}
    reconcile(kernel, TARGET, {1: replace(CLOSED, acls={B: CLOSED.acls[B]})})
    left = {n: name for n, name in kernel.targets[TARGET][1].luns.items() if n >= HIDDEN_FIRST}
    assert left == {HIDDEN_FIRST + 1: "vol2"}


def test_what_somebody_else_has_put_into_the_target_stays(kernel: SimulatedKernel) -> None:
    reconcile(kernel, TARGET, {1: OPEN})
    group = kernel.targets[TARGET][1]
    kernel.targets[TARGET][1] = replace(group, luns={**group.luns, 9: "fileio/theirs"})
    reconcile(kernel, TARGET, {1: replace(OPEN, luns={0: "vol0"})})
    assert kernel.targets[TARGET][1].luns == {0: "vol0", 9: "fileio/theirs"}


def test_who_was_let_in_by_an_open_group_and_is_not_listed_is_logged_out(
    kernel: SimulatedKernel,
) -> None:
    reconcile(kernel, TARGET, {1: OPEN})
    kernel.logged_in = [KernelSession(TARGET, 1, A), KernelSession(TARGET, 1, B)]
    reconcile(kernel, TARGET, {1: replace(CLOSED, acls={A: CLOSED.acls[A]})})
    assert [one.initiator for one in kernel.logged_in] == [A]
    assert B not in kernel.targets[TARGET][1].acls


def test_a_step_that_is_refused_is_told(kernel: SimulatedKernel) -> None:
    kernel.refusing = {"add_portal"}
    with pytest.raises(KernelRefused):
        reconcile(kernel, TARGET, {1: OPEN})
    assert not kernel.targets[TARGET][1].enabled
    kernel.refusing.clear()
    reconcile(kernel, TARGET, {1: OPEN})
    assert shown(kernel) == {1: OPEN}
