"""What becomes of the kernel's rings when the daemon has ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from scsi_snap.lio import guardian
from scsi_snap.lio.guardian import GRACE_S, Guardian, hold_off, watch
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


def test_after_a_while_our_rings_end_busy(kernel: SimulatedKernel, tmp_path: Path) -> None:
    clock = Clock()
    assert watch(tmp_path, kernel.tree, clock.now, clock.sleep)
    assert GRACE_S <= clock.now_s < GRACE_S + 1
    assert actions(kernel, "ours") == ("1", "1")
    assert actions(kernel, "theirs") == ("0", "")


def test_what_waits_for_an_answer_is_freed_at_once(kernel: SimulatedKernel, tmp_path: Path) -> None:
    freed = []

    def sleep(seconds: float) -> None:
        freed.append((kernel.parameters / "reset_netlink").read_text())
        clock.sleep(seconds)

    clock = Clock()
    watch(tmp_path, kernel.tree, clock.now, sleep)
    assert freed[0] == "1"
    assert (kernel.parameters / "block_netlink").read_text() == "0"


def test_a_daemon_that_is_back_has_the_rings_to_itself(
    kernel: SimulatedKernel, tmp_path: Path
) -> None:
    clock = Clock()
    with hold_off(tmp_path):
        assert not watch(tmp_path, kernel.tree, clock.now, clock.sleep)
    assert clock.now_s == 0 and actions(kernel, "ours") == ("0", "")


def test_a_daemon_may_come_back_late(kernel: SimulatedKernel, tmp_path: Path) -> None:
    held = []

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        if clock.now_s >= GRACE_S - 1 and not held:
            held.append(hold_off(tmp_path))

    clock = Clock()
    assert not watch(tmp_path, kernel.tree, clock.now, sleep)
    held[0].close()
    assert actions(kernel, "ours") == ("0", "")


def test_rings_are_reset_while_daemons_wait(
    kernel: SimulatedKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that looked at a ring in between would find it emptied under it."""
    seen = []

    class Tree:
        def free_netlink(self) -> None: ...

        def devices(self) -> list[object]:
            seen.append(guardian._locked(tmp_path, guardian.fcntl.LOCK_NB))
            return []

    clock = Clock()
    assert watch(tmp_path, Tree(), clock.now, clock.sleep)  # type: ignore[arg-type]
    assert seen == [None]


def test_the_process_waits_for_the_daemons_end(tmp_path: Path) -> None:
    with hold_off(tmp_path):
        made = Guardian(tmp_path)
        assert made._process.poll() is None
        made.release()
        assert made._process.wait(60) == 0


def test_it_is_dismissed_where_nothing_is_left(tmp_path: Path) -> None:
    made = Guardian(tmp_path)
    made.dismiss()
    assert made._process.poll() is not None
