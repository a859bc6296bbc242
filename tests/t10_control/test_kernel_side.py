"""The daemon with a kernel's target, simulated: what it takes over, leaves behind, and in which
order."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scsi_snap.control import kernel_side
from scsi_snap.control.daemon import Options, serve
from scsi_snap.control.service import Service
from scsi_snap.lio import availability
from scsi_snap.lio.guardian import holding
from scsi_snap.lio.kernel_target import KernelRefused, KernelTarget
from tests.controllers import IQN, MEMBERS, MIB, VOL0
from tests.fakes import Disks, FakeDataPath
from tests.simulated_kernel import SimulatedKernel
from tests.t8_inventory.exporting import free_address
from tests.t8_inventory.ring_world import Listening


class Guard:
    """A guardian that is told and does nothing."""

    pid = 1
    told: list[str]

    def __init__(self) -> None:
        self.told.append("begins")

    def release(self) -> None:
        self.told.append("released")

    def dismiss(self) -> None:
        self.told.append("dismissed")


class Host:
    """What stays from daemon to daemon: disks, state and kernel."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kernel = SimulatedKernel(root / "kernel")
        self.disks = Disks()
        self.root = root
        self.listen = free_address()
        self.data_path = FakeDataPath(self.disks)
        self.connect: Callable[[], KernelTarget] = lambda: self.kernel
        self.guard: list[str] = []
        self.face_made_with_rings = -1
        monkeypatch.setattr(availability, "obstacle", lambda: None)
        monkeypatch.setattr(kernel_side, "rtslib", lambda: self.connect())
        monkeypatch.setattr(kernel_side, "UioTree", lambda: self.kernel.tree)
        monkeypatch.setattr(kernel_side, "Listener", Listening())
        monkeypatch.setattr(kernel_side, "Guardian", type("Told", (Guard,), {"told": self.guard}))

    def daemon(self, verbs: Callable[[Service], object]) -> str:
        """One life, which ends by SIGTERM. The line that says ready."""
        self.data_path = FakeDataPath(self.disks)
        self.guard.clear()
        self.kernel.changes.clear()
        lines: list[str] = []
        host, tasks = self, []

        class Face:
            def __init__(self, service: Service, control_socket: Path) -> None:
                self._service = service
                host.face_made_with_rings = len(host.data_path.rings)

            async def start(self) -> None: ...
            async def stop(self) -> None: ...
            async def act(self) -> None:
                try:
                    await asyncio.to_thread(verbs, self._service)
                finally:
                    os.kill(os.getpid(), signal.SIGTERM)

        def make(service: Service, control_socket: Path) -> Face:
            tasks.append(Face(service, control_socket))
            return tasks[0]

        def announce(line: str) -> None:
            lines.append(line)
            tasks.append(asyncio.get_running_loop().create_task(tasks[0].act()))

        options = Options(
            self.root / "state", [], self.root / "control.sock", lio_listen=(self.listen,)
        )
        asyncio.run(serve(options, lambda: self.data_path, make, announce))
        tasks[1].result()
        return lines[0]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def make_a_disk(service: Service) -> None:
    service.pools.create("tank", "raid5", 65536, MEMBERS)
    service.volumes.create(VOL0, MIB)
    assert service.targets.create(IQN).view.via == "lio"
    service.targets.map(IQN, 0, VOL0)


def nothing(service: Service) -> None:
    assert service.events.after(0) == []


def test_a_restart_goes_on_where_initiators_wait(host: Host) -> None:
    line = host.daemon(make_a_disk)
    assert f"by the kernel's target on {host.listen}" in line
    assert host.kernel.targets[IQN][1].luns == {0: "tank:vol0"}
    assert all(ring.closed() for ring in host.data_path.rings)
    assert host.guard == ["begins", "released"]
    host.daemon(nothing)
    assert host.kernel.changes == []
    (ring,) = host.data_path.rings
    assert ring.device == host.kernel.device("tank:vol0")
    assert host.face_made_with_rings == 1


def test_a_daemon_that_leaves_no_device_leaves_no_guardian(host: Host) -> None:
    host.daemon(nothing)
    assert host.guard == ["begins", "dismissed"]


def test_deleting_the_target_takes_all_of_it_out_of_the_kernel(host: Host) -> None:
    host.daemon(make_a_disk)
    host.daemon(lambda service: service.targets.delete(IQN))
    assert host.kernel.targets == {} and host.kernel.backstores() == {}
    assert host.guard == ["begins", "dismissed"]
    assert list((host.root / "state" / kernel_side.RECORDS).iterdir()) == []


def test_a_second_daemon_of_the_machine_leaves_the_kernel_alone(host: Host) -> None:
    host.daemon(make_a_disk)

    def verbs(service: Service) -> None:
        assert "another daemon" in service.status().lio_obstacle
        assert service.targets.all()[0].reason

    with holding(host.kernel.tree) as first:
        assert first
        host.daemon(verbs)
    assert host.data_path.rings == [] and host.guard == []


def test_rings_are_served_though_rtslib_cannot_be_used(host: Host) -> None:
    host.daemon(make_a_disk)

    def broken() -> KernelTarget:
        raise KernelRefused("libudev is missing")

    host.connect = broken

    def verbs(service: Service) -> None:
        assert "libudev" in str(service.events.after(0))

    host.daemon(verbs)
    assert len(host.data_path.rings) == 1


def test_rtslib_that_cannot_be_imported_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scsi_snap.lio.rtslib_target", None)
    with pytest.raises(KernelRefused, match="rtslib_target"):
        kernel_side.rtslib()
