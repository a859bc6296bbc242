"""Verbs at once, from many threads: no deadlock, and no LUN whose volume is gone."""

from __future__ import annotations

import itertools
import os
import random
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from scsi_snap import limits
from scsi_snap.control.snapshots import SnapshotToMake
from scsi_snap.errors import Busy, Exists, NotFound, PoolUnavailable, ScsiSnapError
from scsi_snap.inventory.names import BackingName, SnapshotName, VolumeName
from scsi_snap.inventory.native import NativePool
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


AT_ONCE = 12


def all_at_once(verb: Callable[[], object]) -> list[object]:
    """What came of `verb` in each of many threads that call it together."""
    together = threading.Barrier(AT_ONCE)

    def act() -> object:
        together.wait(timeout=60)
        try:
            return verb()
        except ScsiSnapError as error:
            return error

    with ThreadPoolExecutor(AT_ONCE) as threads:
        return [done.result(timeout=60) for done in [threads.submit(act) for _ in range(AT_ONCE)]]


def counted(outcomes: list[object]) -> dict[str, int]:
    return dict(Counter(type(one).__name__ for one in outcomes))


def test_the_same_verb_at_once_is_carried_out_once(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others wait for it, and find what it has done."""
    monkeypatch.setattr(limits, "POOL_TURN_WAIT_S", 60)
    pools, volumes = controller.service.pools, controller.service.volumes
    name = VolumeName("p", "v")
    make = controller.assembly.data_path.create_pool

    def slowly(*arguments: Any) -> NativePool:
        # Lets the others have a look at what is half done.
        for _ in range(20):
            os.sched_yield()
        return make(*arguments)

    monkeypatch.setattr(controller.assembly.data_path, "create_pool", slowly)
    members = [("/m1", 512), ("/m2", 512)]
    one_made = {"Created": 1, "Unchanged": AT_ONCE - 1}
    one_gone = {"Deleted": 1, "NotFound": AT_ONCE - 1}
    paths = [path for path, _ in members]
    for _ in range(5):
        assert counted(all_at_once(lambda: pools.create("p", "raid1", 65536, members))) == one_made
        assert counted(all_at_once(lambda: pools.export("p"))) == one_gone
        assert counted(all_at_once(lambda: pools.import_(paths))) == one_made
        assert counted(all_at_once(lambda: volumes.create(name, MIB))) == one_made
        assert counted(all_at_once(lambda: volumes.delete(name))) == one_gone
        assert counted(all_at_once(lambda: pools.destroy("p"))) == one_gone
    assert controller.disks.pools == []


def test_verbs_that_meet_one_in_progress_wait_or_say_busy(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "POOL_TURN_WAIT_S", 0)
    service, members = controller.service, [("/m1", 512), ("/m2", 512)]
    make = controller.assembly.data_path.create_pool

    def meanwhile(*arguments: Any) -> NativePool:
        attempts: list[Callable[[], object]] = [
            lambda: service.pools.create("p", "raid1", 65536, members),
            lambda: service.pools.create("q", "raid1", 65536, members),
            lambda: service.pools.import_(["/m1"]),
            lambda: service.pools.export("p"),
            lambda: service.pools.destroy("p"),
            lambda: service.volumes.create(VolumeName("p", "v"), MIB),
        ]
        for attempt in attempts:
            with pytest.raises(Busy, match="pool 'p'"):
                attempt()
        return make(*arguments)

    monkeypatch.setattr(controller.assembly.data_path, "create_pool", meanwhile)
    service.pools.create("p", "raid1", 65536, members)
    assert [one.name for one in service.pools.all()] == ["p"]


def test_copies_imported_at_once_are_one_pool(controller: Controller) -> None:
    pools = controller.service.pools
    pools.create("p", "raid1", 65536, [("/m1", 512), ("/m2", 512)])
    pools.export("p")
    copies = controller.disks.copy("p", ".copy")
    turns = itertools.cycle([["/m1", "/m2"], copies])
    outcomes = counted(all_at_once(lambda: pools.import_(next(turns))))
    assert outcomes.pop("Created") == 1 and outcomes.pop("Unchanged") == AT_ONCE // 2 - 1
    assert outcomes == {"Exists": AT_ONCE // 2}
    assert [one.open for one in controller.disks.pools].count(True) == 1
