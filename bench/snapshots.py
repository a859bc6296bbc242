"""What snapshots cost, on this target alone.

Five volumes of one pool, all written once: without a snapshot, with 1, 16 and 256, and one whose
snapshot has every chunk copied already.

- Everything copied, against no snapshot: ordinary random loads.
- Every chunk still to be copied: a round writes 4 KiB into each 64 KiB chunk of a volume once, by
  our own initiator (which costs the target so little that the copy is nearly all there is) and by
  `qemu-img bench`. Before its round a volume gets as many new snapshots as it is to have and loses
  the old ones, so that each round finds the same: one copy of each chunk to make, into slots of the
  store that were used before.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
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
        self.url = parent.daemon.url(IQN, lun)
        self.size_bytes = parent.volume_bytes
        self._client = parent.client
        self._taken = 0
        self._count = snapshots
        self._names: list[str] = []

    def take(self) -> str:
        """One snapshot more; its name."""
        name = str(self._taken)
        whole = f"{self.volume}@{name}"
        self._client.post("snapshots", body={"snapshots": [{"name": whole, "range": None}]})
        self._taken += 1
        return name

    def renew(self) -> None:
        """All snapshots anew; nothing on a volume that is to have none."""
        before, self._names = self._names, [self.take() for _ in range(self._count)]
        pool, volume = self.volume.split("/")
        for name in before:
            self._client.delete("snapshots", pool, volume, name)

    def load(self, load: Load, seconds: float) -> Round:
        """An ordinary round."""
        return clients.own(self, load, seconds=seconds)

    def write_each_chunk(self) -> Round:
        """Every chunk is written once, in random order, by our own initiator."""
        return clients.own(self, LOAD, *STRIDE, seconds=600)

    def write_each_chunk_by_qemu(self) -> Round:
        """The same in order, by a foreign initiator."""
        count = self.size_bytes // CHUNK_BYTES
        return clients.qemu_img(self, LOAD, count=count, stride=CHUNK_BYTES)


class SnapshotPool(OneMember):
    """A daemon with a pool wide enough for all volumes and what their snapshots keep."""

    name = "snapshots"

    def __init__(self, directory: Path, scale: Scale) -> None:
        super().__init__(directory, scale.snapshot_size_bytes * 16)
        self.volume_bytes = scale.snapshot_size_bytes

    def start(self) -> None:
        super().start()
        self.client = Client(self.daemon.socket, timeout_s=120)
        self.daemon("lun", "unmap", IQN, 0)
        self.daemon("volume", "delete", "tank/vol0")

    def add(self, name: str, lun: int, snapshots: int) -> Unit:
        """A volume, written once, with so many snapshots."""
        unit = Unit(self, name, lun, snapshots)
        self.daemon("volume", "create", unit.volume, self.volume_bytes, "--chunk", CHUNK_BYTES)
        self.daemon("lun", "map", IQN, lun, unit.volume)
        clients.fill(unit)
        unit.renew()
        return unit


def run(directory: Path, backing: str, scale: Scale) -> Iterator[dict[str, Any]]:
    """Yields the rounds with snapshots, then how long creating one holds writes."""
    pool = SnapshotPool(directory, scale)
    try:
        pool.start()
        none = pool.add("no snapshot", 1, 0)
        copied = pool.add("1 snapshot, all copied", 2, 1)
        uncopied = [
            pool.add("1 snapshot, none copied", 3, 1),
            pool.add("16 snapshots, none copied", 4, 16),
            pool.add("256 snapshots, none copied", 5, 256),
        ]
        copied.write_each_chunk()
        yield from _all_copied(none, copied, backing, scale)
        yield from _none_copied(none, uncopied, backing, scale)
        yield _held_writes(uncopied[0], backing, scale)
    finally:
        pool.stop()


def _all_copied(none: Unit, copied: Unit, backing: str, scale: Scale) -> Iterator[dict[str, Any]]:
    for load in (LOAD, Load("read", "random")):
        print(f"  {backing}, everything copied: {load}", file=sys.stderr, flush=True)
        runners = {
            unit.name: partial(unit.load, load, scale.round_seconds) for unit in (none, copied)
        }
        interleave(runners, 1)
        results = interleave(runners, scale.rounds)
        rows = compare(results, baseline=none.name)
        yield {"group": f"{backing}, own initiator", "case": str(load), "rows": rows}


def _none_copied(
    none: Unit, uncopied: list[Unit], backing: str, scale: Scale
) -> Iterator[dict[str, Any]]:
    clients_of = {
        "own initiator": Unit.write_each_chunk,
        "qemu-img bench": Unit.write_each_chunk_by_qemu,
    }
    for client, write_each_chunk in clients_of.items():
        print(f"  {backing}, nothing copied: {client}", file=sys.stderr, flush=True)

        def fresh(unit: Unit, write: Callable[[Unit], Round] = write_each_chunk) -> Round:
            unit.renew()
            return write(unit)

        runners = {unit.name: partial(fresh, unit) for unit in (none, *uncopied)}
        interleave(runners, 1)
        results = interleave(runners, scale.snapshot_rounds)
        group = f"{backing}, {client}, 4 KiB into each 64 KiB chunk once, depth 32"
        against_none = compare(results, baseline=none.name)
        yield {"group": group, "case": "against no snapshot", "rows": against_none}
        by_number = {unit.name: results[unit.name] for unit in uncopied}
        against_one = compare(by_number, baseline=uncopied[0].name)
        yield {"group": group, "case": "against one snapshot", "rows": against_one}


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
