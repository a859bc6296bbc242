"""Verbs on targets, access, LUNs and sessions."""

from __future__ import annotations

import pytest

from scsi_snap import limits
from scsi_snap.control.outcomes import Changed, Created, Deleted, Unchanged
from scsi_snap.control.snapshots import SnapshotToMake
from scsi_snap.control.views import LunReference
from scsi_snap.errors import Busy, Exists, InvalidArgument, LimitReached, NotFound
from scsi_snap.inventory.names import VolumeName
from scsi_snap.inventory.records import ChapRecord
from tests.controllers import IQN, MIB, MONDAY, VOL0, Controller

ALICE, BOB = "iqn.2026-11.org.example:alice", "iqn.2026-11.org.example:bob"
CHAP = ChapRecord("user", "twelve bytes", "target", "other twelve")


def test_create_is_idempotent_and_folds_the_name(controller: Controller) -> None:
    targets = controller.service.targets
    assert isinstance(targets.create(IQN.upper()), Created)
    assert isinstance(targets.create(IQN), Unchanged)
    assert [one.name for one in targets.all()] == [IQN]
    assert targets.show(IQN.upper()).name == IQN
    with pytest.raises(InvalidArgument):
        targets.create("disk")


def test_map_is_idempotent_and_survives(controller: Controller) -> None:
    controller.with_volume().service.targets.create(IQN)
    controller.service.snapshots.create([SnapshotToMake(MONDAY)])
    targets = controller.service.targets
    made = targets.map(IQN, 0, VOL0)
    assert isinstance(made, Created) and not made.view.read_only
    assert isinstance(targets.map(IQN, 0, VOL0), Unchanged)
    with pytest.raises(Exists, match="LUN 0"):
        targets.map(IQN, 0, MONDAY)
    snapshot = targets.map(IQN, 16383, MONDAY)
    assert snapshot.view.read_only and snapshot.view.state == "mapped"
    assert [unit.backing for unit in controller.exporter.units.values()] == [
        "tank/vol0",
        "tank/vol0@monday",
    ]
    assert [one.lun for one in controller.restarted().service.targets.luns(IQN)] == [0, 16383]


def test_map_of_what_is_not_there_is_refused(controller: Controller) -> None:
    targets = controller.with_volume().service.targets
    with pytest.raises(NotFound, match="target"):
        targets.map(IQN, 0, VOL0)
    targets.create(IQN)
    with pytest.raises(NotFound, match="vol9"):
        targets.map(IQN, 0, VolumeName("tank", "vol9"))
    with pytest.raises(NotFound, match="monday"):
        targets.map(IQN, 0, MONDAY)
    for lun in (-1, limits.LUN_MAX + 1):
        with pytest.raises(InvalidArgument):
            targets.map(IQN, lun, VOL0)
    assert targets.luns() == [] and controller.exporter.units == {}


def test_the_number_of_luns_is_bounded(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LUNS_PER_TARGET_MAX", 2)
    controller.with_volume().service.targets.create(IQN)
    for lun in (0, 1):
        controller.service.targets.map(IQN, lun, VOL0, again=True)
    with pytest.raises(LimitReached):
        controller.service.targets.map(IQN, 2, VOL0, again=True)


def test_a_backing_has_one_lun_unless_asked_again(controller: Controller) -> None:
    targets = controller.with_volume().service.targets
    targets.create(IQN)
    targets.map(IQN, 0, VOL0)
    with pytest.raises(Exists, match=f"tank/vol0 is LUN 0 of {IQN} already") as refused:
        targets.map(IQN, 1, VOL0)
    assert "--again" in refused.value.hint
    assert isinstance(targets.map(IQN, 0, VOL0), Unchanged)
    assert isinstance(targets.map(IQN, 1, VOL0, again=True), Created)
    assert isinstance(targets.map(IQN, 1, VOL0), Unchanged)


def test_unmap(controller: Controller) -> None:
    controller.with_volume().service.targets.create(IQN)
    controller.service.targets.map(IQN, 0, VOL0)
    assert isinstance(controller.service.targets.unmap(IQN, 0), Deleted)
    assert controller.exporter.units == {} and controller.service.targets.luns() == []
    with pytest.raises(NotFound, match="no LUN 0"):
        controller.service.targets.unmap(IQN, 0)


def test_a_target_in_use_is_not_deleted_unless_said(controller: Controller) -> None:
    targets = controller.with_volume().service.targets
    targets.create(IQN)
    targets.map(IQN, 0, VOL0)
    controller.exporter.log_in(IQN, ALICE)
    with pytest.raises(Busy, match="alice"):
        targets.delete(IQN)
    assert targets.delete(IQN, close_sessions=True).name == IQN
    assert controller.exporter.targets == {} and controller.exporter.sessions() == []
    assert controller.service.volumes.show(VOL0).mapped == ()


def test_chap_is_kept_but_never_shown(controller: Controller) -> None:
    targets = controller.service.targets
    targets.create(IQN)
    changed = targets.set_chap(IQN, CHAP)
    assert isinstance(changed, Changed)
    assert (changed.view.chap_user, changed.view.chap_mutual_user) == ("user", "target")
    assert CHAP.secret not in repr(changed) and CHAP.mutual_secret not in repr(changed)
    assert isinstance(targets.set_chap(IQN, CHAP), Unchanged)
    assert controller.exporter.targets[IQN].chap == CHAP
    assert controller.restarted().exporter.targets[IQN].chap == CHAP


@pytest.mark.parametrize(
    "chap",
    [
        ChapRecord("", "twelve bytes"),
        ChapRecord("user", "eleven byte"),
        ChapRecord("\ud800", "twelve bytes"),
        ChapRecord("user", "twelve bytes\ud800"),
        ChapRecord("user", "x" * 256),
        ChapRecord("user", "twelve bytes", "target", ""),
        ChapRecord("user", "twelve bytes", "", "other twelve"),
        ChapRecord("user", "twelve bytes", "target", "twelve bytes"),
    ],
)
def test_weak_or_halved_chap_is_refused(controller: Controller, chap: ChapRecord) -> None:
    controller.service.targets.create(IQN)
    with pytest.raises(InvalidArgument):
        controller.service.targets.set_chap(IQN, chap)
    assert controller.service.targets.show(IQN).chap_user is None


def test_chap_is_turned_off(controller: Controller) -> None:
    controller.service.targets.create(IQN)
    controller.service.targets.set_chap(IQN, CHAP)
    controller.service.targets.set_chap(IQN, None)
    assert controller.exporter.targets[IQN].chap is None


def test_listing_initiators_shuts_the_others_out(controller: Controller) -> None:
    targets = controller.service.targets
    targets.create(IQN)
    alice, bob = (controller.exporter.log_in(IQN, one) for one in (ALICE, BOB))
    assert isinstance(targets.allow(IQN, ALICE), Changed)
    assert [one.id for one in targets.sessions(IQN)] == [alice] != [bob]
    assert isinstance(targets.allow(IQN, ALICE.upper()), Unchanged)
    targets.allow(IQN, BOB)
    assert [one.name for one in targets.deny(IQN, ALICE).view.initiators] == [BOB]
    assert targets.sessions() == []
    with pytest.raises(NotFound):
        targets.deny(IQN, ALICE)


def test_the_last_listed_initiator_is_not_taken_off_silently(controller: Controller) -> None:
    """An empty list lets everybody in: the opposite of what was meant."""
    targets = controller.service.targets
    targets.create(IQN)
    targets.allow(IQN, ALICE)
    with pytest.raises(Busy, match="last initiator"):
        targets.deny(IQN, ALICE)
    assert targets.allow_any(IQN).view.initiators == ()


def test_sessions_are_closed_by_number(controller: Controller) -> None:
    targets = controller.service.targets
    targets.create(IQN)
    number = controller.exporter.log_in(IQN, ALICE)
    assert targets.show(IQN).sessions == 1
    targets.close_session(number)
    with pytest.raises(NotFound):
        targets.close_session(number)


def test_one_volume_in_two_targets(controller: Controller) -> None:
    controller.with_volume()
    controller.service.volumes.create(VolumeName("tank", "vol1"), MIB)
    for name in (IQN, f"{IQN}2"):
        controller.service.targets.create(name)
        controller.service.targets.map(name, 0, VOL0)
    assert controller.service.volumes.show(VOL0).mapped == (
        LunReference(IQN, 0),
        LunReference(f"{IQN}2", 0),
    )
    assert len({unit.uuid for unit in controller.exporter.units.values()}) == 1
