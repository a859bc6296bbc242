"""The composition root: starts, tells that it is ready, stops on SIGTERM, and comes back."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from scsi_snap.control.daemon import Options, serve
from scsi_snap.control.service import Service
from scsi_snap.errors import InvalidArgument, IoFailed, StateLocked
from scsi_snap.inventory.state_directory import StateDirectory
from scsi_snap.lio import availability
from tests.controllers import IQN, MEMBERS, MIB, NO_LIO, VOL0
from tests.fakes import Disks, FakeDataPath


class Recorder:
    """A face that runs `verbs` and then asks the daemon to stop."""

    def __init__(self, verbs: Callable[[Service], object]) -> None:
        self._verbs = verbs
        self.stopped = 0
        self.lines: list[str] = []

    def make(self, service: Service, control_socket: Path) -> Recorder:
        self._service = service
        return self

    async def start(self) -> None:
        """What serves is served after the start, in a thread."""

    async def stop(self) -> None:
        self.stopped += 1

    def announce(self, line: str) -> None:
        self.lines.append(line)

        async def act() -> None:
            try:
                await asyncio.to_thread(self._verbs, self._service)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)

        self._acting = asyncio.get_running_loop().create_task(act())


def run(
    tmp_path: Path,
    disks: Disks,
    verbs: Callable[[Service], object],
    *listen: str,
    lio: bool = False,
    lio_listen: tuple[str, ...] = (),
) -> Recorder:
    recorder = Recorder(verbs)
    data_path = FakeDataPath(disks)
    options = Options(
        tmp_path / "state", listen, tmp_path / "control.sock", lio=lio, lio_listen=lio_listen
    )
    try:
        asyncio.run(serve(options, lambda: data_path, recorder.make, recorder.announce))
    finally:
        assert data_path.stopped
        assert not any(pool.open for pool in disks.pools)
        StateDirectory(tmp_path / "state").release()
    recorder._acting.result()
    assert recorder.stopped == 1
    return recorder


def test_everything_is_there_in_the_next_life(tmp_path: Path) -> None:
    disks = Disks()

    def first(service: Service) -> None:
        service.pools.create("tank", "raid5", 65536, MEMBERS)
        service.volumes.create(VOL0, MIB)
        service.targets.create(IQN)
        service.targets.map(IQN, 0, VOL0)

    def second(service: Service) -> None:
        assert [lun.state for lun in service.targets.luns(IQN)] == ["mapped"]
        assert service.status().addresses[0].startswith("127.0.0.1:")

    recorder = run(tmp_path, disks, first, "127.0.0.1:0")
    (line,) = recorder.lines
    assert line.startswith("scsi-snap: ready") and str(tmp_path / "control.sock") in line
    run(tmp_path, disks, second, "127.0.0.1:0")


def test_several_addresses_are_listened_on_and_told(tmp_path: Path) -> None:
    """Those of --listen and those on record; one on record that is taken is an event."""
    made: list[str] = []

    def first(service: Service) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        made.append(service.portals.create(address, 2).view.address)

    def second(service: Service) -> None:
        found = {one.address: one for one in service.portals.all()}
        assert len(found) == 3 and found[made[0]].portal_group_tag == 2
        assert [one.on_record for one in found.values()].count(True) == 1
        assert service.events.after(0) == []

    def third(service: Service) -> None:
        (portal,) = service.portals.all()
        assert (portal.address, portal.state) == (made[0], "unavailable")
        (event,) = service.events.after(0)
        assert event.kind == "portal-unavailable" and made[0] == event.subject

    run(tmp_path, Disks(), first, "127.0.0.1:0")
    (line,) = run(tmp_path, Disks(), second, "127.0.0.1:0", "127.0.0.1:0").lines
    assert line.count("127.0.0.1:") == 3 and made[0] in line
    host, port = made[0].split(":")
    with socket.create_server((host, int(port))):
        (line,) = run(tmp_path, Disks(), third).lines
    assert "no address" in line


def test_where_the_kernel_has_no_target_the_daemon_works_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(availability, "obstacle", lambda: NO_LIO)

    def verbs(service: Service) -> None:
        (event,) = service.events.after(0)
        assert (event.kind, NO_LIO in event.message) == ("lio-unavailable", True)
        found = {one.via: one for one in service.portals.all()}
        assert (found["lio"].address, found["lio"].reason) == ("192.0.2.1:3261", NO_LIO)
        assert (found["lio"].on_record, found["portal"].state) == (False, "listening")
        assert service.targets.create(IQN).view.via == "portal"

    asked = run(tmp_path, Disks(), verbs, "127.0.0.1:0", lio=True, lio_listen=("192.0.2.1:3261",))
    assert "by the kernel" not in asked.lines[0]


def test_who_does_not_ask_for_the_kernels_target_hears_of_it_by_status_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(availability, "obstacle", lambda: NO_LIO)

    def verbs(service: Service) -> None:
        assert service.events.after(0) == []
        assert [one.via for one in service.portals.all()] == ["portal"]
        assert service.status().lio_obstacle == NO_LIO

    run(tmp_path, Disks(), verbs, "127.0.0.1:0", lio=True)


def test_the_kernels_target_is_left_alone_where_that_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(availability, "obstacle", lambda: pytest.fail("it was asked for"))

    def verbs(service: Service) -> None:
        assert "--no-lio" in service.status().lio_obstacle

    run(tmp_path, Disks(), verbs, "127.0.0.1:0")


def test_the_kernels_target_listens_at_addresses_not_names(tmp_path: Path) -> None:
    options = Options(tmp_path, [], tmp_path / "control.sock", lio_listen=["host.example:3261"])
    recorder = Recorder(lambda service: None)
    with pytest.raises(InvalidArgument, match=r"host\.example"):
        asyncio.run(serve(options, lambda: FakeDataPath(Disks()), recorder.make, recorder.announce))


def test_a_terminal_that_goes_away_leaves_the_daemon_running(tmp_path: Path) -> None:
    def verbs(service: Service) -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        service.pools.create("tank", "raid5", 65536, MEMBERS)

    disks = Disks()
    run(tmp_path, disks, verbs, "127.0.0.1:0")
    assert disks.pool("tank").members


def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("")  # An abstract address of the kernel's choice.
        manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + manager.getsockname()[1:].decode())
        run(tmp_path, Disks(), lambda service: None, "127.0.0.1:0")
        assert [manager.recv(100) for _ in range(2)] == [b"READY=1", b"STOPPING=1"]


def test_an_address_in_use_undoes_the_start(tmp_path: Path) -> None:
    disks = Disks()
    run(
        tmp_path,
        disks,
        lambda service: service.pools.create("tank", "raid5", 65536, MEMBERS),
        "127.0.0.1:0",
    )
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(IoFailed, match=address) as caught:
            run(tmp_path, disks, lambda service: None, address)
        assert "--listen" in caught.value.hint


def test_a_second_daemon_is_refused(tmp_path: Path) -> None:
    directory = StateDirectory(tmp_path / "state")
    options = Options(tmp_path / "state", ["127.0.0.1:0"], tmp_path / "control.sock", lio=False)
    recorder = Recorder(lambda service: None)
    with pytest.raises(StateLocked):
        asyncio.run(serve(options, lambda: FakeDataPath(Disks()), recorder.make, recorder.announce))
    assert recorder.lines == []
    directory.release()
