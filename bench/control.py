"""What the control plane costs as a controller holds more: ten volumes, then a thousand, as many
LUNs and twice as many snapshots, built through the API of a real daemon.

A time is that from a request on the control socket to its answer, the HTTP server's share included;
beside it stands the daemon's processor time, which other load on the machine hardly touches.
"""

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench import clients
from bench.clients import Load
from bench.contenders import OneMember
from scsi_snap.api.client import Client

VOLUMES = (10, 1000)
SNAPSHOTS_EACH = 2
POINT_SNAPSHOTS = 250
TARGET = "iqn.2026-01.test:control"
MEMBER_BYTES = 64 << 30
VOLUME_BYTES = 16 << 20
CHUNK_BYTES = 4 << 10
DIFFED_BYTES = 256 << 20
"""A volume of its own, of which every other chunk changes: 32,768 extents."""
DIFF_PAGE = 100
ROUNDS = 15
FEW = 3

Values = dict[str, dict[str, float]]


def run(directory: Path, backing: str) -> Iterator[dict[str, Any]]:
    """A result for each size of the controller."""
    for volumes in VOLUMES:
        print(f"  {backing}: a controller with {volumes} volumes", file=sys.stderr, flush=True)
        world = World(directory, volumes)
        try:
            world.start()
            yield {
                "group": f"{backing}, control",
                "case": f"{volumes} volumes, {volumes} LUNs, {SNAPSHOTS_EACH * volumes} snapshots",
                "values": Measurement(world).values,
            }
        finally:
            world.stop()


class World(OneMember):
    """A daemon whose pool has so many volumes, each mapped, and snapshots of each."""

    def __init__(self, directory: Path, volumes: int) -> None:
        self.name = f"control-{volumes}"
        super().__init__(directory, VOLUME_BYTES)
        self.volumes = volumes

    def start(self) -> None:
        self.start_daemon()
        self.client = Client(self.daemon.socket)
        members = [
            {"path": str(self.directory / name), "size_bytes": MEMBER_BYTES} for name in "ab"
        ]
        pool = {"name": "tank", "level": "raid1", "strip_bytes": 64 << 10, "members": members}
        self.client.post("pools", body=pool)
        self.client.post("targets", body={"name": TARGET})
        for number in range(self.volumes):
            self.make_volume(f"v{number}")
            self.map(number, f"v{number}")
        for point in range(SNAPSHOTS_EACH):
            for first in range(0, self.volumes, POINT_SNAPSHOTS):
                some = range(first, min(first + POINT_SNAPSHOTS, self.volumes))
                self.take([f"tank/v{number}@s{point}" for number in some])

    def restart(self) -> float:
        """Stops the daemon; the seconds until it is ready again."""
        self.daemon.stop()
        start = time.perf_counter()
        self.daemon.start()
        self.pid = self.daemon.pid
        return time.perf_counter() - start

    def make_volume(self, name: str, size_bytes: int = VOLUME_BYTES) -> None:
        """A volume of the pool."""
        body = {"name": f"tank/{name}", "size_bytes": size_bytes, "chunk_bytes": CHUNK_BYTES}
        self.client.post("volumes", body=body)

    def map(self, lun: int, volume: str) -> None:
        """At the target."""
        self.client.put("targets", TARGET, "luns", lun, body={"backing": f"tank/{volume}"})

    def take(self, names: list[str]) -> None:
        """One consistent point."""
        self.client.post("snapshots", body={"snapshots": [{"name": name} for name in names]})

    def write_scattered(self, lun: int, volume: str) -> None:
        """Every other chunk of a new volume, which has a snapshot `before`."""
        self.make_volume(volume, DIFFED_BYTES)
        self.map(lun, volume)
        self.take([f"tank/{volume}@before"])
        self.iscsi = (self.daemon.address, TARGET, lun)
        load = Load("write", "sequential", block=CHUNK_BYTES)
        stride = str(2 * CHUNK_BYTES)
        clients.own_report(self, load, "--stride", stride, "--once", "--seconds", "60")


class Measurement:
    """`values`: the median of each verb, in milliseconds."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.values: Values = {}
        self._verbs(world.client, f"v{world.volumes // 2}")
        self._diff(world.client)
        self._command_line()
        self._start()

    def _verbs(self, client: Client, volume: str) -> None:
        world = self._world
        self._time("volume show", lambda _: client.get("volumes", "tank", volume))
        self._time("volume create", lambda turn: world.make_volume(f"new{turn}"))
        self._time("lun map", lambda turn: world.map(1001 + turn, f"new{turn}"))
        self._time("snapshot create", lambda turn: world.take([f"tank/{volume}@t{turn}"]))
        self._time("snapshot show", lambda _: client.get("snapshots", "tank", volume, "s1"))
        self._time("check of one volume", lambda _: client.post("volumes", "tank", volume, "check"))
        self._time("check", lambda _: client.post("check"), FEW)
        self._time("volume list", lambda _: client.get("volumes"), FEW)
        self._time("lun list", lambda _: client.get("luns"), FEW)

    def _diff(self, client: Client) -> None:
        self._world.write_scattered(1000 + 2 * ROUNDS, "diffed")
        diff = ("snapshots", "tank", "diffed", "before", "diff")
        middle = DIFFED_BYTES // 512 // 2
        self._time("first page of a diff", lambda _: client.get(*diff, limit=DIFF_PAGE))
        self._time(
            "middle page of a diff",
            lambda _: client.get(*diff, limit=DIFF_PAGE, first_lba=middle),
        )

    def _command_line(self) -> None:
        """`scsi-snap status` in a process of its own; the processor time is that process's."""
        environment = {**os.environ, "SCSI_SNAP_SOCKET": str(self._world.daemon.socket)}
        verb = [sys.executable, "-m", "scsi_snap", "status"]

        def call(_: int) -> None:
            subprocess.run(verb, env=environment, stdout=subprocess.DEVNULL, check=True)

        self._time("a command line", call, cpu_seconds=_cpu_of_children)

    def _start(self) -> None:
        walls = [self._world.restart() for _ in range(FEW)]
        self._add("start of the daemon", walls, self._world.cpu_seconds())

    def _time(
        self,
        name: str,
        verb: Callable[[int], object],
        rounds: int = ROUNDS,
        cpu_seconds: Callable[[], float] | None = None,
    ) -> None:
        """The verb gets the number of its turn; the first one is not counted."""
        cpu_seconds = cpu_seconds or self._world.cpu_seconds
        verb(0)
        walls, before = [], cpu_seconds()
        for turn in range(1, rounds + 1):
            start = time.perf_counter()
            verb(turn)
            walls.append(time.perf_counter() - start)
        self._add(name, walls, (cpu_seconds() - before) / rounds)

    def _add(self, name: str, walls: list[float], cpu: float) -> None:
        self.values[f"{name}, ms"] = {"median": 1e3 * statistics.median(walls), "CPU": 1e3 * cpu}


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
