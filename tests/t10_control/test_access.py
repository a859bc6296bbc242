"""Verbs on who may log in, with which secret, and which LUNs are whose."""

from __future__ import annotations

import pytest

from scsi_snap import limits
from scsi_snap.control.outcomes import Changed, Created, Deleted, Unchanged
from scsi_snap.control.snapshots import SnapshotToMake
from scsi_snap.errors import Busy, Exists, InvalidArgument, LimitReached, NotFound
from scsi_snap.inventory.names import VolumeName
from scsi_snap.inventory.records import ChapRecord
from tests.controllers import IQN, MIB, MONDAY, VOL0, Controller

ALICE, BOB = "iqn.2026-11.org.example:alice", "iqn.2026-11.org.example:bob"
VOL1 = VolumeName("tank", "vol1")
CHAP = ChapRecord("user", "twelve bytes")
OWN = ChapRecord("alice", "twelve of hers", "disk", "other twelve")


@pytest.fixture
def controller(controller: Controller) -> Controller:
    """With two volumes, a snapshot and a target."""
    controller.with_volume()
    controller.service.volumes.create(VOL1, MIB)
    controller.service.snapshots.create([SnapshotToMake(MONDAY)])
    controller.service.targets.create(IQN)
    return controller


def places(controller: Controller) -> dict[tuple[int, str], str]:
    """What the exporter shows: LUN and whose it is (empty: everybody's) to the backing."""
    exporter = controller.exporter
    own = {(lun, whose): unit.backing for (_, lun, whose), unit in exporter.own.items()}
    return {**{(lun, ""): unit.backing for (_, lun), unit in exporter.units.items()}, **own}


def test_own_luns_are_kept_and_come_back(controller: Controller) -> None:
    targets = controller.service.targets
    made = targets.map(IQN, 0, VOL0, [BOB, ALICE.upper(), ALICE])
    assert isinstance(made, Created) and made.view.initiators == (ALICE, BOB)
    targets.map(IQN, 1, VOL1)
    expected = {(0, ALICE): "tank/vol0", (0, BOB): "tank/vol0", (1, ""): "tank/vol1"}
    assert places(controller) == expected
    again = controller.restarted()
    assert places(again) == expected
    assert [one.initiators for one in again.service.targets.luns()] == [(ALICE, BOB), ()]


def test_a_number_may_be_another_volume_for_another_initiator(controller: Controller) -> None:
    targets = controller.service.targets
    targets.map(IQN, 0, VOL0, [ALICE])
    targets.map(IQN, 0, VOL1, [BOB])
    assert places(controller) == {(0, ALICE): "tank/vol0", (0, BOB): "tank/vol1"}
    with pytest.raises(Exists, match=f"tank/vol0 for {ALICE}") as caught:
        targets.map(IQN, 0, MONDAY, [ALICE])
    assert f"lun unmap {IQN} 0 --initiator {ALICE}" in caught.value.hint


def test_mapping_again_is_idempotent_and_adds_initiators(controller: Controller) -> None:
    targets = controller.service.targets
    targets.map(IQN, 0, VOL0, [ALICE])
    assert isinstance(targets.map(IQN, 0, VOL0, [ALICE]), Unchanged)
    changed = targets.map(IQN, 0, VOL0, [ALICE, BOB])
    assert isinstance(changed, Changed) and changed.view.initiators == (ALICE, BOB)
    assert isinstance(targets.map(IQN, 0, VOL0, [BOB]), Unchanged)
    assert len(targets.luns(IQN)) == 1
    with pytest.raises(Exists):
        targets.map(IQN, 0, VOL0, [BOB], read_only=True)


@pytest.mark.parametrize("first", [(), (ALICE,)])
def test_a_number_is_everybodys_or_somebodys(
    controller: Controller, first: tuple[str, ...]
) -> None:
    """Else unmapping the one would put another disk in its place."""
    targets = controller.service.targets
    targets.map(IQN, 0, VOL0, first)
    with pytest.raises(Exists):
        targets.map(IQN, 0, VOL0, () if first else (ALICE,))
    with pytest.raises(Exists):
        targets.map(IQN, 0, VOL1, () if first else (ALICE,))


def test_unmapping_for_one_and_for_all(controller: Controller) -> None:
    targets = controller.service.targets
    targets.map(IQN, 0, VOL0, [ALICE, BOB])
    targets.map(IQN, 1, VOL1)
    with pytest.raises(NotFound, match="LUN 1 of"):
        targets.unmap(IQN, 1, [ALICE])
    assert targets.unmap(IQN, 0, [ALICE]) == Deleted(f"{IQN} LUN 0")
    assert places(controller) == {(0, BOB): "tank/vol0", (1, ""): "tank/vol1"}
    with pytest.raises(NotFound):
        targets.unmap(IQN, 0, [ALICE])
    targets.map(IQN, 0, VOL1, [ALICE], again=True)
    targets.unmap(IQN, 0)
    assert places(controller) == {(1, ""): "tank/vol1"}
    assert [one.lun for one in targets.luns()] == [1]


def test_a_volume_that_is_somebodys_lun_is_in_use(controller: Controller) -> None:
    controller.service.targets.map(IQN, 3, VOL1, [ALICE])
    with pytest.raises(Busy, match="LUN 3"):
        controller.service.volumes.delete(VOL1)
    controller.service.targets.unmap(IQN, 3)
    controller.service.volumes.delete(VOL1)


def test_read_only_luns(controller: Controller) -> None:
    targets = controller.service.targets
    made = targets.map(IQN, 0, VOL0, read_only=True)
    assert made.view.read_only and (IQN, 0) in controller.exporter.read_only
    assert (IQN, 0) in controller.restarted().exporter.read_only


def test_luns_are_for_those_that_may_log_in(controller: Controller) -> None:
    targets = controller.service.targets
    targets.allow(IQN, ALICE)
    with pytest.raises(NotFound, match="bob") as caught:
        targets.map(IQN, 0, VOL0, [ALICE, BOB])
    assert f"target allow {IQN} {BOB}" in caught.value.hint
    assert places(controller) == {}


def test_an_initiator_has_one_name_however_it_is_spelled(controller: Controller) -> None:
    """QEMU makes such names from those of machines."""
    targets = controller.service.targets
    spellings = ["Windows_11 (Test)", "windows_11 (test) ", "\uff37indows_11 (test)"]
    known = "windows_11 (test)"
    for spelling in spellings:
        targets.allow(IQN, spelling)
    targets.allow(IQN, ALICE)
    assert targets.show(IQN).initiators == targets.set_chap(IQN, None, spellings[1]).view.initiators
    assert [one.name for one in targets.show(IQN).initiators] == [ALICE, known]
    targets.set_chap(IQN, OWN, spellings[2])
    assert controller.exporter.targets[IQN].chap_of(known) == OWN
    for spelling in spellings:
        targets.map(IQN, 0, VOL0, [spelling])
    assert places(controller) == {(0, known): "tank/vol0"}
    targets.unmap(IQN, 0, [spellings[2]])
    targets.deny(IQN, spellings[0])
    assert [one.name for one in targets.show(IQN).initiators] == [ALICE]


def test_deny_takes_all_of_it(controller: Controller) -> None:
    """A secret or a LUN that stayed would be there again for whoever is allowed by that name."""
    targets = controller.service.targets
    for initiator in (ALICE, BOB):
        targets.allow(IQN, initiator, OWN)
    targets.map(IQN, 0, VOL0, [ALICE, BOB])
    targets.map(IQN, 1, VOL1, [ALICE])
    number = controller.exporter.log_in(IQN, ALICE)
    kept = controller.exporter.log_in(IQN, BOB)
    shown = targets.deny(IQN, ALICE).view
    assert [one.name for one in shown.initiators] == [BOB]
    assert places(controller) == {(0, BOB): "tank/vol0"}
    assert [one.id for one in targets.sessions()] == [kept] != [number]
    targets.allow(IQN, ALICE)
    assert controller.exporter.targets[IQN].chap_of(ALICE) is None


def test_the_numbers_of_initiators_are_bounded(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "INITIATORS_PER_TARGET_MAX", 2)
    targets = controller.service.targets
    with pytest.raises(LimitReached):
        targets.map(IQN, 0, VOL0, [ALICE, BOB, f"{BOB}2"])
    targets.map(IQN, 0, VOL0, [ALICE, BOB])
    with pytest.raises(LimitReached):
        targets.map(IQN, 1, VOL0, [f"{BOB}2"])
    for initiator in (ALICE, BOB):
        targets.allow(IQN, initiator)
    with pytest.raises(LimitReached):
        targets.allow(IQN, f"{BOB}2")
    assert isinstance(targets.allow(IQN, ALICE), Unchanged)


def test_own_secrets_come_before_the_targets(controller: Controller) -> None:
    targets = controller.service.targets
    targets.set_chap(IQN, CHAP)
    shown = targets.allow(IQN, ALICE, OWN).view.initiators
    assert [(one.chap_user, one.chap_mutual_user) for one in shown] == [("alice", "disk")]
    assert OWN.secret not in repr(shown)
    targets.allow(IQN, BOB)
    kept = controller.restarted().exporter.targets[IQN]
    assert (kept.chap_of(ALICE), kept.chap_of(BOB)) == (OWN, CHAP)


def test_own_secrets_stay_until_said(controller: Controller) -> None:
    targets = controller.service.targets
    targets.allow(IQN, ALICE, OWN)
    assert isinstance(targets.allow(IQN, ALICE), Unchanged)
    assert controller.exporter.targets[IQN].chap_of(ALICE) == OWN
    targets.set_chap(IQN, CHAP, ALICE)
    assert controller.exporter.targets[IQN].chap_of(ALICE) == CHAP
    targets.set_chap(IQN, None, ALICE)
    assert controller.exporter.targets[IQN].chap_of(ALICE) is None
    with pytest.raises(NotFound, match="bob"):
        targets.set_chap(IQN, CHAP, BOB)
    for weak in (ChapRecord("a", "short"), ChapRecord("a", OWN.secret, "b", OWN.secret)):
        with pytest.raises(InvalidArgument):
            targets.allow(IQN, BOB, weak)
        with pytest.raises(InvalidArgument):
            targets.set_chap(IQN, weak, ALICE)


def test_discovery_has_a_secret_of_its_own(controller: Controller) -> None:
    targets = controller.service.targets
    assert targets.discovery().chap_user is None
    changed = targets.set_discovery_chap(OWN)
    assert isinstance(changed, Changed)
    assert (changed.view.chap_user, changed.view.chap_mutual_user) == ("alice", "disk")
    assert isinstance(targets.set_discovery_chap(OWN), Unchanged)
    assert controller.exporter.discovery_chap == OWN
    with pytest.raises(InvalidArgument):
        targets.set_discovery_chap(ChapRecord("a", "short"))
    again = controller.restarted()
    assert again.exporter.discovery_chap == OWN
    again.service.targets.set_discovery_chap(None)
    assert again.exporter.discovery_chap is None
    assert again.assembly.catalog.state.discovery_chap is None
