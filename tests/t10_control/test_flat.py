"""What a verb costs does not grow with what it does not name."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from scsi_snap.control.snapshots import SnapshotToMake
from scsi_snap.control.traits import TraitChoices
from scsi_snap.inventory.names import SnapshotName, VolumeName
from tests.controllers import IQN, MIB, MONDAY, VOL0, Controller
from tests.fakes import FakePool

TUESDAY = SnapshotName("tank", "vol0", "tuesday")
VOL1 = VolumeName("tank", "vol1")
VOL2 = VolumeName("tank", "vol2")

ON_ONE: dict[str, Callable[[Controller], object]] = {
    "volume show": lambda one: one.service.volumes.show(VOL0),
    "volume create": lambda one: one.service.volumes.create(VOL2, MIB),
    "volume create, the same": lambda one: one.service.volumes.create(VOL0, MIB),
    "volume create, named": lambda one: one.service.volumes.create(
        VOL2, MIB, traits=TraitChoices(serial="A1")
    ),
    "volume set": lambda one: one.service.volumes.set(VOL0, TraitChoices(vendor="ACME")),
    "volume resize": lambda one: one.service.volumes.resize(VOL0, 2 * MIB),
    "volume delete": lambda one: one.service.volumes.delete(VOL1),
    "volume check": lambda one: one.service.volumes.check(VOL0),
    "snapshot show": lambda one: one.service.snapshots.show(MONDAY),
    "snapshot create": lambda one: one.service.snapshots.create([SnapshotToMake(TUESDAY)]),
    "snapshot delete": lambda one: one.service.snapshots.delete(MONDAY),
    "snapshot diff": lambda one: one.service.snapshots.diff(MONDAY),
    "lun map": lambda one: one.service.targets.map(IQN, 1, MONDAY),
    "lun map, the same": lambda one: one.service.targets.map(IQN, 0, VOL0),
    "lun list": lambda one: one.service.targets.luns(),
    "lun unmap": lambda one: one.service.targets.unmap(IQN, 0),
    "target show": lambda one: one.service.targets.show(IQN),
    "pool show": lambda one: one.service.pools.show("tank"),
    "status": lambda one: one.service.status(),
}


@pytest.fixture
def world(controller: Controller) -> Controller:
    service = controller.with_volume().service
    service.volumes.create(VOL1, MIB)
    service.snapshots.create([SnapshotToMake(MONDAY)])
    service.targets.create(IQN)
    service.targets.map(IQN, 0, VOL0)
    return controller


@pytest.mark.parametrize("verb", ON_ONE)
def test_a_verb_on_one_thing_asks_for_no_list(world: Controller, verb: str) -> None:
    native = world.assembly.pools.get("tank").native
    assert isinstance(native, FakePool)
    before = native.listed
    ON_ONE[verb](world)
    assert native.listed == before


@pytest.mark.parametrize("pages", [1, 3])
def test_a_page_of_a_diff_asks_for_one_extent_more_than_it_has(
    world: Controller, pages: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for chunk in range(0, 12, 2):
        world.write(chunk * 128, 1)
    asked: list[tuple[int, int | None]] = []
    diff = FakePool.diff

    def counting(
        pool: FakePool, volume: str, since: str, until: str | None, first: int, limit: int | None
    ) -> list[tuple[int, int]]:
        asked.append((first, limit))
        return diff(pool, volume, since, until, first, limit)

    monkeypatch.setattr(FakePool, "diff", counting)
    next_lba: int | None = 0
    for _ in range(pages):
        assert next_lba is not None
        next_lba = world.service.snapshots.diff(MONDAY, first_lba=next_lba, limit=2).next_lba
    assert asked == [(page * 4 * 65536, 3) for page in range(pages)]
    assert (next_lba is None) == (pages == 3)
