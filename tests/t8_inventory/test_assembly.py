"""What a start makes of the records, after a clean stop and after a crash between two writes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scsi_snap.control.snapshots import SnapshotToMake
from scsi_snap.errors import NotFound, PoolUnavailable, ScsiSnapError
from scsi_snap.inventory.names import SnapshotName
from scsi_snap.inventory.records import PoolRecord
from tests.controllers import IQN, MEMBERS, MONDAY, VOL0, Controller

PATHS = tuple(path for path, _ in MEMBERS)


def kinds(controller: Controller) -> list[str]:
    return [event.kind for event in controller.service.events.after(0)]


def set_up(controller: Controller) -> None:
    controller.with_volume()
    controller.service.snapshots.create([SnapshotToMake(MONDAY)])
    controller.service.targets.create(IQN)
    controller.service.targets.map(IQN, 0, VOL0)
    controller.service.targets.map(IQN, 1, MONDAY)


@pytest.mark.parametrize("cleanly", [True, False])
def test_everything_comes_back(controller: Controller, cleanly: bool) -> None:
    set_up(controller)
    before = (controller.service.targets.all(), controller.service.volumes.all())
    units = {key: unit.uuid for key, unit in controller.exporter.units.items()}
    if cleanly:
        controller.stop()
        assert not any(pool.open for pool in controller.disks.pools)
        again = Controller.start(controller.state, controller.disks)
    else:
        again = controller.restarted()
    assert (again.service.targets.all(), again.service.volumes.all()) == before
    assert {key: unit.uuid for key, unit in again.exporter.units.items()} == units
    assert again.exporter.units[IQN, 1].device.read_only
    assert kinds(again) == []


def test_a_snapshot_has_an_identity_of_its_own(controller: Controller) -> None:
    set_up(controller)
    assert controller.exporter.units[IQN, 0].uuid != controller.exporter.units[IQN, 1].uuid


def test_a_pool_that_is_away_hinders_nothing_and_comes_back(controller: Controller) -> None:
    set_up(controller)
    service = controller.service
    service.pools.create("other", "raid1", 65536, [("/o1", 512), ("/o2", 512)])
    controller.disks.missing |= {"/m1", "/m2"}
    again = controller.restarted()
    assert kinds(again) == ["pool-unavailable"]
    tank = again.service.pools.show("tank")
    assert tank.state == "unavailable" and "/m1" in tank.reason
    assert again.service.pools.show("other").state == "optimal"
    assert [lun.state for lun in again.service.targets.luns()] == ["unavailable"] * 2
    assert again.exporter.units == {}
    with pytest.raises(PoolUnavailable, match="/m1"):
        again.service.volumes.show(VOL0)

    controller.disks.missing.remove("/m2")
    with pytest.raises(PoolUnavailable, match="/m1"):
        again.service.pools.import_(list(PATHS))
    imported = again.service.pools.import_([], "tank")
    assert imported.view.state == "degraded" and kinds(again)[1:] == ["member-refused"]
    assert [lun.state for lun in again.service.targets.luns()] == ["mapped"] * 2
    assert set(again.exporter.units) == {(IQN, 0), (IQN, 1)}


def test_a_member_that_is_away_is_told_and_the_pool_goes_on(controller: Controller) -> None:
    set_up(controller)
    controller.disks.missing.add("/m2")
    again = controller.restarted()
    assert kinds(again) == ["member-refused"]
    assert again.service.pools.show("tank").state == "degraded"
    assert [lun.state for lun in again.service.targets.luns()] == ["mapped"] * 2


def test_a_crash_before_a_pool_was_made_leaves_nothing(controller: Controller) -> None:
    record = PoolRecord("tank", PATHS, phase="creating")
    controller.assembly.catalog.update(lambda state: state.with_pool(record))
    again = controller.restarted()
    assert again.service.pools.all() == [] and kinds(again) == ["pool-forgotten"]
    again.service.pools.create("tank", "raid5", 65536, MEMBERS)


def test_a_crash_after_a_pool_was_made_keeps_it(controller: Controller) -> None:
    record = PoolRecord("tank", PATHS, phase="creating")
    controller.assembly.catalog.update(lambda state: state.with_pool(record))
    controller.assembly.data_path.create_pool("tank", "raid5", 65536, list(MEMBERS))
    again = controller.restarted()
    assert again.service.pools.show("tank").state == "optimal"
    assert again.assembly.catalog.state.pools["tank"].phase == "present"


def test_a_record_being_made_does_not_take_another_pool(controller: Controller) -> None:
    controller.assembly.data_path.create_pool("foreign", "raid5", 65536, list(MEMBERS))
    record = PoolRecord("tank", PATHS, phase="creating")
    controller.assembly.catalog.update(lambda state: state.with_pool(record))
    again = controller.restarted()
    assert again.service.pools.all() == [] and kinds(again) == ["pool-forgotten"]
    assert not controller.disks.pool("foreign").open


@pytest.mark.parametrize("erased", [True, False])
def test_a_destruction_is_finished(controller: Controller, erased: bool) -> None:
    controller.service.pools.create("tank", "raid5", 65536, MEMBERS)
    destroying = replace(controller.assembly.catalog.state.pools["tank"], phase="destroying")
    controller.assembly.catalog.update(lambda state: state.with_pool(destroying))
    if erased:
        controller.disks.pools.clear()
    again = controller.restarted()
    assert again.service.pools.all() == [] and controller.disks.pools == []


def test_members_that_hold_another_pool_by_now_are_not_taken(controller: Controller) -> None:
    set_up(controller)
    controller.disks.pool("tank").id = "11111111-2222-3333-4444-555555555555"
    again = controller.restarted()
    assert again.service.pools.show("tank").state == "unavailable"
    assert again.exporter.units == {}
    assert not controller.disks.pool("tank").open


def test_a_volume_made_anew_is_not_shown_as_the_old_one(controller: Controller) -> None:
    set_up(controller)
    controller.disks.pool("tank").volumes["vol0"].id = "11111111-2222-3333-4444-555555555555"
    again = controller.restarted()
    assert kinds(again) == ["lun-missing"] * 2
    assert [lun.state for lun in again.service.targets.luns()] == ["missing"] * 2
    assert again.exporter.units == {}
    again.service.targets.unmap(IQN, 0)
    again.service.targets.map(IQN, 0, VOL0)


def test_a_failed_create_is_not_on_record(controller: Controller) -> None:
    with pytest.raises(ScsiSnapError, match="no such file"):
        controller.service.pools.create("tank", "raid5", 65536, [("/nowhere", None), ("/m2", 512)])
    assert controller.assembly.catalog.state.pools == {}
    with pytest.raises(NotFound):
        controller.service.snapshots.show(SnapshotName("tank", "vol0", "x"))
