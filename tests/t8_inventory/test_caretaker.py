"""What a volume's unit is told of space, and what it keeps in the pool."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from scsi_snap.control.snapshots import SnapshotToMake
from scsi_snap.errors import NotFound
from scsi_snap.inventory.caretaker import space_of
from scsi_snap.scsi.caretaker import Nobody, Space
from tests.controllers import IQN, MIB, MONDAY, VOL0, Controller
from tests.pool_views import PoolStatus, StoreView, VolumeView

POOL = PoolStatus("tank", "", "raid0", 65536, "optimal", 100 * MIB, 50 * MIB, 1, ())


def volume(capacity: int, used: int, limit: int | None) -> VolumeView:
    store = StoreView(used * MIB, capacity * MIB, None if limit is None else limit * MIB)
    return VolumeView("", "vol0", 0, 10 * MIB, 512, 65536, "drop-snapshot", store, (), {})


@pytest.mark.parametrize(
    ("capacity", "used", "limit", "available"),
    [
        (0, 0, None, 50),  # as far as the pool goes
        (8, 3, None, 55),
        (8, 3, 20, 17),
        (8, 8, 8, 0),
        (8, 3, 4, 5),  # a limit that was passed before it was set
        (0, 0, 90, 50),
    ],
)
def test_what_writes_may_still_take(
    capacity: int, used: int, limit: int | None, available: int
) -> None:
    space = space_of(POOL, volume(capacity, used, limit))
    assert space == Space((10 + capacity) * MIB, available * MIB)


def with_luns(controller: Controller) -> Controller:
    controller.with_volume()
    controller.service.snapshots.create([SnapshotToMake(MONDAY)])
    controller.service.targets.create(IQN)
    controller.service.targets.map(IQN, 0, VOL0)
    controller.service.targets.map(IQN, 1, MONDAY)
    return controller


def test_information_is_kept_with_the_volume(controller: Controller) -> None:
    caretaker = with_luns(controller).exporter.units[IQN, 0].caretaker
    assert caretaker.information("information") == b""
    caretaker.keep_information("information", b"rack\xff")
    again = controller.restarted().exporter.units[IQN, 0].caretaker
    assert again.information("information") == b"rack\xff"
    assert again.information("text-information") == b""
    again.keep_information("information", b"")
    assert again.information("information") == b""


def test_what_is_stored_and_no_information_counts_as_none(controller: Controller) -> None:
    caretaker = with_luns(controller).exporter.units[IQN, 0].caretaker
    controller.disks.pool("tank").volumes["vol0"].attributes["information"] = "rack"
    assert caretaker.information("information") == b""


def test_a_pool_that_is_gone_has_no_space_and_keeps_nothing(controller: Controller) -> None:
    caretaker = with_luns(controller).exporter.units[IQN, 0].caretaker
    assert caretaker.space() is not None
    controller.disks.pool("tank").open = False
    assert caretaker.space() is None
    controller.disks.pool("tank").open = True
    controller.disks.pool("tank").volumes.clear()
    with pytest.raises(NotFound):
        caretaker.keep_information("information", b"x")


def test_a_snapshot_has_nobody(controller: Controller) -> None:
    assert isinstance(with_luns(controller).exporter.units[IQN, 1].caretaker, Nobody)


def test_volumes_with_snapshots_are_watched_while_mapped(controller: Controller) -> None:
    controller.with_volume().service.snapshots.create([SnapshotToMake(MONDAY)])
    controller.service.housekeep()
    assert controller.exporter.spaces == {}
    controller.service.targets.create(IQN)
    controller.service.targets.map(IQN, 0, VOL0)
    controller.service.housekeep()
    uuid = UUID(controller.service.volumes.show(VOL0).id)
    free = replace(POOL, free_bytes=(1 << 40) - MIB)
    shown = controller.assembly.pools.get("tank").volume("vol0")
    assert controller.exporter.spaces == {uuid: space_of(free, shown)}
    controller.service.snapshots.delete(MONDAY)
    controller.service.housekeep()
    assert controller.exporter.spaces == {}
