"""What snapshots cost, on this target alone.

Five volumes of one pool, all written once: without a snapshot, with 1, 16 and 256, and one whose
snapshot has every chunk copied already. A round writes 4 KiB into each 64 KiB chunk of a volume
once, in random order, at depth 32. Before its round a volume with snapshots is given a new one and
loses its oldest, so that their number stays and every chunk is to be copied again.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import clients
from bench.clients import Load, Round
from bench.contenders import IQN, OneMember
from bench.ratios import Spread, compare, interleave
from bench.scale import Scale
from scsi_snap.api.client import Client

CHUNK_BYTES = 64 << 10
STRIDE = ("--stride", str(CHUNK_BYTES), "--once")
LOAD = Load("write", "random")
CREATE_EVERY_SECONDS = 0.25
# Ends of stalls and of snapshot creations are told by two clocks, read a moment apart.
CLOCK_SLACK_SECONDS = 0.01


class Unit(OneMember):
    """One volume of the pool, as a contender of its own."""

    def __init__(self, parent: "SnapshotPool", name: str, lun: int, snapshots: int) -> None:
        self.name = name
        self.pid = parent.pid
        self.volume = f"tank/vol{lun}"
        self.iscsi = (parent.daemon.address, IQN, lun)
        self._client = parent.client
        self._taken = 0
        self._kept = snapshots

    def take(self) -> None:
        """One snapshot more."""
        name = f"{self.volume}@{self._taken}"
        self._client.post("snapshots", body={"snapshots": [{"name": name, "range": None}]})
        self._taken += 1

    def renew(self) -> None:
        """A new snapshot for the oldest; nothing on a volume that is to have none."""
        if self._kept:
            self.take()
            pool, volume = self.volume.split("/")
            self._client.delete("snapshots", pool, volume, str(self._taken - 1 - self._kept))

    def write_each_chunk(self) -> Round:
        """A round: every chunk is written once."""
        return clients.own(self, LOAD, *STRIDE, seconds=600)


class SnapshotPool(OneMember):
    """A daemon with a pool wide enough for all volumes and what their snapshots keep."""

    name = "snapshots"

    def __init__(self, directory: Path, scale: Scale) -> None:
        super().__init__(directory, scale.snapshot_size_bytes * (10 + 4 * scale.snapshot_rounds))
        self._volume_bytes = scale.snapshot_size_bytes

    def start(self) -> None:
        super().start()
        self.client = Client(self.daemon.socket, timeout_s=120)
        self.daemon("lun", "unmap", IQN, 0)
        self.daemon("volume", "delete", "tank/vol0")

    def add(self, name: str, lun: int, snapshots: int) -> Unit:
        """A volume, written once, with so many snapshots."""
        unit = Unit(self, name, lun, snapshots)
        self.daemon("volume", "create", unit.volume, self._volume_bytes, "--chunk", CHUNK_BYTES)
        self.daemon("lun", "map", IQN, lun, unit.volume)
        clients.fill(unit)
        for _ in range(snapshots):
            unit.take()
        return unit


def run(directory: Path, backing: str, scale: Scale) -> Iterator[dict[str, Any]]:
    """Yields the rounds with snapshots, then how long creating one holds writes."""
    pool = SnapshotPool(directory, scale)
    try:
        pool.start()
        none = pool.add("no snapshot", 1, 0)
        copied = pool.add("1 snapshot, all copied", 2, 1)
        few = [pool.add(f"{count} snapshots, none copied", 2 + count, count) for count in (1, 16)]
        many = pool.add("256 snapshots, none copied", 300, 256)
        copied.write_each_chunk()
        print(f"  {backing}: writes with snapshots", file=sys.stderr, flush=True)
        uncopied = [*few, many]

        def fresh(unit: Unit) -> Round:
            unit.renew()
            return unit.write_each_chunk()

        runners: dict[str, Any] = {unit.name: unit.write_each_chunk for unit in (none, copied)}
        runners |= {unit.name: lambda unit=unit: fresh(unit) for unit in uncopied}
        interleave(runners, 1)
        results = interleave(runners, scale.snapshot_rounds)
        group = f"{backing}, own initiator, 4 KiB into each 64 KiB chunk once, depth 32"
        against_none = compare(results, baseline=none.name)
        yield {"group": group, "case": "against no snapshot", "rows": against_none}
        by_number = {unit.name: results[unit.name] for unit in uncopied}
        against_one = compare(by_number, baseline=few[0].name)
        yield {"group": group, "case": "against one snapshot", "rows": against_one}
        yield _held_writes(few[0], backing, scale)
    finally:
        pool.stop()


def _held_writes(unit: Unit, backing: str, scale: Scale) -> dict[str, Any]:
    """How long writes wait while a snapshot is created under load.

    One initiator writes at depth 32; another, at depth 1, meets each hold with one write. What the
    second saw within each creation is the hold, and the wait in the queue of a busy machine with
    it; the same writer's 99th percentile says how much of the figure that is.
    """
    print(f"  {backing}: creating snapshots under load", file=sys.stderr, flush=True)
    seconds = str(1.0 + scale.creates * CREATE_EVERY_SECONDS)
    load = clients.own_command(unit, LOAD, "--seconds", seconds)
    probe = Load("write", "random", depth=1)
    created: list[tuple[float, float]] = []

    def create() -> None:
        for _ in range(scale.creates):
            time.sleep(CREATE_EVERY_SECONDS)
            began = time.time()
            unit.take()
            created.append((began, time.time()))

    creator = threading.Thread(target=create)
    with subprocess.Popen(load, stdout=subprocess.DEVNULL) as background:
        creator.start()
        report = clients.own_report(unit, probe, "--seconds", seconds, "--stalls", "0")
        creator.join()
        background.wait()
    started = report["started_unix_ms"] / 1e3
    ends = [(started + one["at_ms"] / 1e3, one["took_ms"]) for one in report["stalls"]]
    held = []
    for began, ended in created:
        within = [took for end, took in ends if _overlaps(end, took, began, ended)]
        held.append(max(within, default=0.0))
    return {
        "group": f"{backing}, own initiator",
        "case": "creating a snapshot while 33 writes are in flight",
        "values": {
            "writes held, ms": vars(Spread.of(held)),
            "create verb, ms": vars(Spread.of([1e3 * (end - start) for start, end in created])),
            "write otherwise, ms": {
                "median": report["latency_us"]["p50"] / 1e3,
                "p99": report["latency_us"]["p99"] / 1e3,
            },
        },
    }


def _overlaps(end: float, took_ms: float, began: float, ended: float) -> bool:
    start = end - took_ms / 1e3
    return start < ended + CLOCK_SLACK_SECONDS and end > began - CLOCK_SLACK_SECONDS
