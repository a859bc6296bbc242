"""Verbs at once, from many threads: no deadlock, and no LUN whose volume is gone."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from scsi_snap.control.snapshots import SnapshotToMake
from scsi_snap.errors import Busy, Exists, NotFound, PoolUnavailable
from scsi_snap.inventory.names import BackingName, SnapshotName, VolumeName
from tests.controllers import IQN, MIB, Controller

THREADS, STEPS = 6, 60
EXPECTED = (Busy, Exists, NotFound, PoolUnavailable)


def one_verb(controller: Controller, dice: random.Random) -> None:
    service = controller.service
    pool, other = dice.sample(["tank", "lake"], 2)
    volume = VolumeName(pool, dice.choice("ab"))
    snapshot = SnapshotName(volume.pool, volume.volume, dice.choice("xy"))
    elsewhere = SnapshotName(other, volume.volume, snapshot.snapshot)
    lun = dice.randrange(4)
    choices: list[BackingName] = [volume, snapshot]
    backing = dice.choice(choices)
    verbs: list[Callable[[], object]] = [
        lambda: service.volumes.create(volume, MIB),
        lambda: service.volumes.delete(volume),
        lambda: service.snapshots.create([SnapshotToMake(snapshot), SnapshotToMake(elsewhere)]),
        lambda: service.snapshots.delete(snapshot),
        lambda: service.targets.map(IQN, lun, backing),
        lambda: service.targets.unmap(IQN, lun),
        lambda: service.pools.export(pool),
        lambda: service.pools.import_([f"/{pool}1", f"/{pool}2"]),
        lambda: service.targets.all(),
    ]
    dice.choice(verbs)()


def test_no_lun_outlives_its_volume(controller: Controller) -> None:
    for pool in ("tank", "lake"):
        controller.service.pools.create(
            pool, "raid1", 65536, [(f"/{pool}{n}", 512) for n in (1, 2)]
        )
    controller.service.targets.create(IQN)
    together = threading.Barrier(THREADS)

    def act(seed: int) -> None:
        dice = random.Random(seed)
        together.wait(timeout=60)
        for _ in range(STEPS):
            try:
                one_verb(controller, dice)
            except EXPECTED:
                continue

    with ThreadPoolExecutor(THREADS) as threads:
        for done in [threads.submit(act, seed) for seed in range(THREADS)]:
            done.result(timeout=120)
    for pool in ("tank", "lake"):
        controller.service.pools.import_([f"/{pool}1", f"/{pool}2"])
    luns = controller.service.targets.luns()
    assert all(one.state == "mapped" for one in luns)
    shown = {
        (target, lun): unit.backing for (target, lun), unit in controller.exporter.units.items()
    }
    assert shown == {(one.target, one.lun): one.backing for one in luns}
    assert controller.restarted().service.targets.luns() == luns
