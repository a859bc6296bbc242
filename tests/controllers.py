"""Controllers over fakes: a service with a real catalog, and the API on a real socket."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scsi_snap.api.app import make_app
from scsi_snap.api.client import Client
from scsi_snap.api.server import ApiServer
from scsi_snap.control.event_log import EventLog
from scsi_snap.control.service import Service
from scsi_snap.inventory.absent_exporter import AbsentExporter
from scsi_snap.inventory.assembly import Assembly
from scsi_snap.inventory.catalog import Catalog
from scsi_snap.inventory.exporters import Exporters
from scsi_snap.inventory.names import SnapshotName, VolumeName
from scsi_snap.inventory.state_directory import StateDirectory
from tests.fake_exporter import LISTENING, FakeExporter, counting_clock
from tests.fakes import Disks, FakeDataPath

IQN = "iqn.2026-11.org.example:disk"
MEMBERS = [("/m1", 1 << 30), ("/m2", 1 << 30), ("/m3", 1 << 30)]
VOL0 = VolumeName("tank", "vol0")
MONDAY = SnapshotName("tank", "vol0", "monday")
MIB = 1 << 20
LIO_LISTENING = "127.0.0.1:3261"
NO_LIO = "the kernel module target_core_user is missing"


@dataclass
class Controller:
    """One life of a daemon: `crash` ends it without a clean stop, `stop` with one."""

    state: Path
    disks: Disks
    directory: StateDirectory
    assembly: Assembly
    exporter: FakeExporter
    kernel: FakeExporter | None
    """The kernel's target, where there is one."""
    service: Service

    @classmethod
    def start(cls, state: Path, disks: Disks, *, lio: bool = False) -> Controller:
        directory = StateDirectory(state)
        numbers = itertools.count(1)
        exporter = FakeExporter(LISTENING, numbers)
        kernel = FakeExporter(LIO_LISTENING, numbers) if lio else None
        exporters = Exporters(exporter, kernel or AbsentExporter(NO_LIO))
        try:
            assembly = Assembly(Catalog(directory), FakeDataPath(disks), exporters)
            service = Service(assembly, str(state), EventLog(counting_clock()))
            service.start()
        except BaseException:
            directory.release()
            raise
        return cls(state, disks, directory, assembly, exporter, kernel, service)

    def crash(self) -> None:
        self.disks.crash()
        self.directory.release()

    def stop(self) -> None:
        self.service.stop()
        self.directory.release()

    def restarted(self) -> Controller:
        self.crash()
        return Controller.start(self.state, self.disks, lio=self.kernel is not None)

    def with_volume(self) -> Controller:
        """A pool tank and a volume vol0 of 1 MiB in 16 chunks."""
        self.service.pools.create("tank", "raid5", 65536, MEMBERS)
        self.service.volumes.create(VOL0, MIB)
        return self

    def write(self, lba: int, blocks: int, volume: VolumeName = VOL0) -> None:
        device = self.assembly.pools.get(volume.pool).device(volume.volume, None)
        device.write(lba * 512, b"\x5a" * (blocks * 512))


@contextmanager
def served(service: Service) -> Iterator[Client]:
    """The API of `service` on a socket of its own, served by a thread."""
    # Not under pytest's directory: a socket's path has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="snap") as directory:
        path = Path(directory) / "control.sock"
        server = ApiServer(make_app(service), path)
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        asyncio.run_coroutine_threadsafe(server.start(), loop).result()
        try:
            yield Client(path, timeout_s=30)
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()
