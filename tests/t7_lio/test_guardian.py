"""What becomes of the kernel's rings when the daemon has ended."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from scsi_snap.lio.guardian import GRACE_S, Guardian, holding, watch
from scsi_snap.lio.uio import TcmuDevice
from tests.simulated_kernel import SimulatedKernel


class Clock:
    """`at(s, call)`: something happens then."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def now(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def kernel(tmp_path: Path) -> SimulatedKernel:
    made = SimulatedKernel(tmp_path)
    made.add_device("ours", "scsi-snap/tank/vol0", 1 << 20)
    made.add_device("theirs", "rbd/pool/image", 1 << 20)
    return made


def actions(kernel: SimulatedKernel, name: str) -> tuple[str, str]:
    return kernel.attribute(name, "action/block_dev"), kernel.attribute(name, "action/reset_ring")


def test_after_a_while_our_rings_end_busy(kernel: SimulatedKernel) -> None:
    clock = Clock()
    assert watch(kernel.tree, clock.now, clock.sleep)
    assert GRACE_S <= clock.now_s < GRACE_S + 1
    assert actions(kernel, "ours") == ("1", "1")
    assert actions(kernel, "theirs") == ("0", "")


def test_what_waits_for_an_answer_is_freed_at_once(kernel: SimulatedKernel) -> None:
    freed = []

    def sleep(seconds: float) -> None:
        freed.append((kernel.parameters / "reset_netlink").read_text())
        clock.sleep(seconds)

    clock = Clock()
    watch(kernel.tree, clock.now, sleep)
    assert freed[0] == "1"
    assert (kernel.parameters / "block_netlink").read_text() == "0"


def test_a_daemon_that_is_back_has_the_rings_to_itself(kernel: SimulatedKernel) -> None:
    clock = Clock()
    with holding(kernel.tree) as ours:
        assert ours and not watch(kernel.tree, clock.now, clock.sleep)
    assert clock.now_s == 0 and actions(kernel, "ours") == ("0", "")


def test_a_daemon_may_come_back_late(kernel: SimulatedKernel) -> None:
    with ExitStack() as held:

        def sleep(seconds: float) -> None:
            clock.sleep(seconds)
            if clock.now_s == GRACE_S - 1:
                assert held.enter_context(holding(kernel.tree))

        clock = Clock()
        assert not watch(kernel.tree, clock.now, sleep)
    assert actions(kernel, "ours") == ("0", "")


def test_rings_are_reset_while_daemons_wait(
    kernel: SimulatedKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that looked at a ring in between would find it emptied under it."""
    order = []
    clock = Clock()

    def reset(device: TcmuDevice) -> None:
        with holding(kernel.tree, clock.now, clock.sleep) as ours:
            order.append(ours)

    monkeypatch.setattr(TcmuDevice, "reset_ring", reset)
    assert watch(kernel.tree, clock.now, clock.sleep)
    assert order == [False]


def test_a_daemon_waits_for_a_guardian_but_not_for_another_daemon(kernel: SimulatedKernel) -> None:
    clock = Clock()
    with ExitStack() as guardian:
        assert guardian.enter_context(holding(kernel.tree))

        def sleep(seconds: float) -> None:
            clock.sleep(seconds)
            guardian.close()

        with holding(kernel.tree, clock.now, sleep) as ours:
            assert ours
            with holding(kernel.tree, clock.now, clock.sleep) as second:
                assert not second


def test_the_process_waits_for_the_daemons_end(kernel: SimulatedKernel) -> None:
    with holding(kernel.tree) as ours:
        made = Guardian(kernel.sys)
        assert ours and made._process.poll() is None
        made.release()
        assert made._process.wait(60) == 0
    assert (kernel.parameters / "reset_netlink").read_text() == "1"
    assert actions(kernel, "ours") == ("0", "")


def test_it_is_dismissed_where_nothing_is_left(kernel: SimulatedKernel) -> None:
    made = Guardian(kernel.sys)
    made.dismiss()
    assert made._process.poll() is not None
    assert (kernel.parameters / "reset_netlink").read_text() == "0"
