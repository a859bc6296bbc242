"""What a volume's logical unit says it is: chosen, kept, changed online, never shared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from scsi_snap.control import views
from scsi_snap.control.outcomes import Changed, Created, Unchanged
from scsi_snap.control.snapshots import SnapshotToMake
from scsi_snap.control.traits import TraitChoices
from scsi_snap.errors import Exists, InvalidArgument, NotFound
from scsi_snap.inventory.names import VolumeName
from tests.controllers import IQN, MEMBERS, MIB, MONDAY, VOL0, Controller

VOL1 = VolumeName("tank", "vol1")
LAKE = VolumeName("lake", "a")
NAA = "5000c50000000001"
CHOSEN = TraitChoices("full", "unmap", "512", True, True, "ACME", "DISK", "A1", NAA)


def with_pool(controller: Controller) -> Controller:
    controller.service.pools.create("tank", "raid5", 65536, MEMBERS)
    return controller


def with_luns(controller: Controller) -> Controller:
    """The volume is LUN 0, its snapshot LUN 1."""
    controller.with_volume()
    controller.service.snapshots.create([SnapshotToMake(MONDAY)])
    controller.service.targets.create(IQN)
    controller.service.targets.map(IQN, 0, VOL0)
    controller.service.targets.map(IQN, 1, MONDAY)
    return controller


def personality_fields(volume: views.Volume) -> tuple[Any, ...]:
    return (
        volume.provisioning,
        volume.deallocation,
        str(volume.physical_block_bytes),
        volume.read_only,
        volume.removable,
        volume.vendor,
        volume.product,
        volume.serial,
        volume.naa,
    )


def test_the_defaults(controller: Controller) -> None:
    volume = with_pool(controller).service.volumes.create(VOL0, MIB).view
    assert personality_fields(volume)[:8] == (
        ("thin", "any", "4096", False, False, "SCSISNAP", "VIRTUAL DISK", volume.id)
    )
    assert len(volume.naa) == 16 and volume.naa[0] == "3"


def test_choices_are_kept_over_restarts_and_imports(controller: Controller) -> None:
    volumes = with_pool(controller).service.volumes
    made = volumes.create(VOL0, MIB, block_bytes=4096, traits=CHOSEN)
    assert isinstance(made, Created)
    assert personality_fields(made.view) == (
        "full",
        "unmap",
        "512",
        True,
        True,
        "ACME",
        "DISK",
        "A1",
        NAA,
    )
    assert volumes.create(VOL0, MIB, block_bytes=4096, traits=CHOSEN) == Unchanged(made.view)
    with pytest.raises(Exists, match="other parameters"):
        volumes.create(VOL0, MIB, block_bytes=4096)
    again = controller.restarted()
    assert again.service.volumes.show(VOL0) == made.view
    again.service.pools.export("tank")
    again.service.pools.import_([path for path, _ in MEMBERS])
    assert again.service.volumes.show(VOL0) == made.view


@pytest.mark.parametrize(
    ("choices", "says"),
    [
        (TraitChoices(provisioning="thick"), "thick"),
        (TraitChoices(provisioning=""), "thin or full"),
        (TraitChoices(deallocation="never"), "write-same"),
        (TraitChoices(physical_block="1024"), "512 or 4096"),
        (TraitChoices(vendor="NINE CHAR"), "vendor"),
        (TraitChoices(product="seventeen letters"), "product"),
        (TraitChoices(serial="\n"), "serial"),
        (TraitChoices(serial="x" * 65), "serial"),
        (TraitChoices(serial=" A"), "space"),
        (TraitChoices(naa="xyz"), "NAA"),
        (TraitChoices(naa="5000"), "NAA"),
        (TraitChoices(naa="5000c5000000000"), "odd"),
        (TraitChoices(naa="6000c50000000001"), "NAA"),
    ],
)
def test_bad_choices_are_refused_at_the_door(
    controller: Controller, choices: TraitChoices, says: str
) -> None:
    volumes = controller.with_volume().service.volumes
    with pytest.raises(InvalidArgument, match=says) as caught:
        volumes.create(VOL1, MIB, traits=choices)
    assert caught.value.hint
    with pytest.raises(InvalidArgument, match=says):
        volumes.set(VOL0, choices)


def test_setting_changes_what_is_named_and_nothing_else(controller: Controller) -> None:
    volumes = controller.with_volume().service.volumes
    before = volumes.show(VOL0)
    changed = volumes.set(VOL0, TraitChoices(vendor="ACME", naa="naa.5000:C500:0000:0001"))
    assert changed == Changed(replace(before, vendor="ACME", naa=NAA))
    assert volumes.set(VOL0, TraitChoices(vendor="ACME")) == Unchanged(changed.view)
    assert volumes.set(VOL0, TraitChoices(provisioning="thin")) == Unchanged(changed.view)
    assert volumes.set(VOL0, TraitChoices(vendor="", naa="")) == Changed(before)
    assert controller.disks.pool("tank").volumes["vol0"].attributes == {}
    with pytest.raises(NotFound):
        volumes.set(VOL1, TraitChoices(vendor="ACME"))


def test_other_attributes_stay(controller: Controller) -> None:
    attributes = controller.with_volume().disks.pool("tank").volumes["vol0"].attributes
    attributes["colour"] = "blue"
    controller.service.volumes.set(VOL0, TraitChoices(vendor="ACME"))
    now = controller.disks.pool("tank").volumes["vol0"].attributes
    assert now == {"colour": "blue", "vendor": "ACME"}


@pytest.mark.parametrize(
    ("choices", "option"),
    [
        (TraitChoices(provisioning="full"), "--provisioning full"),
        (TraitChoices(deallocation="unmap"), "--deallocation unmap"),
        (TraitChoices(physical_block="512"), "--physical-block 512"),
    ],
)
def test_what_hosts_lay_out_disks_by_is_for_life(
    controller: Controller, choices: TraitChoices, option: str
) -> None:
    volumes = controller.with_volume().service.volumes
    with pytest.raises(InvalidArgument, match="stays so") as caught:
        volumes.set(VOL0, choices)
    assert option in caught.value.hint


def test_initiators_see_the_change_and_snapshots_follow(controller: Controller) -> None:
    exporter = with_luns(controller).exporter
    choices = TraitChoices(vendor="ACME", removable=True, read_only=True, serial="A1")
    controller.service.volumes.set(VOL0, choices)
    volume = exporter.units[IQN, 0].personality
    snapshot = exporter.units[IQN, 1].personality
    assert (volume.identity.vendor, volume.identity.serial_number) == ("ACME", "A1")
    assert volume.removable and volume.read_only and volume.thin
    assert (snapshot.identity.vendor, snapshot.removable, snapshot.read_only) == (
        "ACME",
        True,
        True,
    )
    shown = controller.service.snapshots.show(MONDAY)
    assert snapshot.identity.serial_number == shown.serial == shown.id
    assert snapshot.identity.naa.hex() == shown.naa != controller.service.volumes.show(VOL0).naa
    luns = controller.service.targets.luns(IQN)
    assert [lun.read_only for lun in luns] == [True, True]
    again = controller.restarted()
    assert again.exporter.units[IQN, 0].personality == volume
    assert again.exporter.units[IQN, 1].personality == snapshot


@pytest.mark.parametrize("choices", [TraitChoices(serial="A1"), TraitChoices(naa=NAA)])
def test_a_name_is_given_once_in_a_controller(
    controller: Controller, choices: TraitChoices
) -> None:
    service = controller.with_volume().service
    service.pools.create("lake", "raid1", 65536, [("/l1", 512), ("/l2", 512)])
    service.volumes.create(LAKE, MIB, traits=choices)
    with pytest.raises(Exists, match="lake/a"):
        service.volumes.set(VOL0, choices)
    with pytest.raises(Exists, match="lake/a"):
        service.volumes.create(VOL1, MIB, traits=choices)
    assert [one.name for one in service.volumes.all("tank")] == ["tank/vol0"]
    service.volumes.set(LAKE, TraitChoices(serial="", naa=""))
    service.volumes.set(VOL0, choices)


def test_a_name_that_a_snapshot_derives_is_taken(controller: Controller) -> None:
    snapshot = with_luns(controller).service.snapshots.show(MONDAY)
    with pytest.raises(Exists, match="monday"):
        controller.service.volumes.set(VOL0, TraitChoices(serial=snapshot.serial))
    with pytest.raises(Exists, match="monday"):
        controller.service.volumes.set(VOL0, TraitChoices(naa=snapshot.naa))


def test_of_two_pools_that_chose_the_same_name_one_volume_is_shown(controller: Controller) -> None:
    """They come together by an import: both are there, a host never sees both."""
    service = with_luns(controller).service
    service.volumes.set(VOL0, TraitChoices(serial="A1"))
    service.pools.create("lake", "raid1", 65536, [("/l1", 512), ("/l2", 512)])
    service.volumes.create(LAKE, MIB)
    controller.disks.pool("lake").volumes["a"].attributes = {"serial": "A1"}
    with pytest.raises(Exists, match="tank/vol0, which is mapped"):
        service.targets.map(IQN, 2, LAKE)
    assert (IQN, 2) not in controller.exporter.units
    service.targets.unmap(IQN, 0)
    service.targets.map(IQN, 2, LAKE)
    with pytest.raises(Exists, match="lake/a"):
        service.targets.map(IQN, 0, VOL0)
    service.volumes.set(VOL0, TraitChoices(serial="A2"))
    service.targets.map(IQN, 0, VOL0)


def test_an_unusable_stored_value_is_told_and_hinders_nothing(controller: Controller) -> None:
    stored = with_luns(controller).disks.pool("tank").volumes["vol0"].attributes
    stored.update({"naa": "nonsense", "vendor": "ACME"})
    again = controller.restarted()
    events = again.service.events.after(0)
    assert [event.kind for event in events] == ["attribute-unusable"]
    assert events[0].subject == "tank/vol0" and "'naa'" in events[0].message
    assert again.exporter.units[IQN, 0].personality.identity.vendor == "ACME"
    again.service.volumes.set(VOL0, TraitChoices(product="DISK"))
    assert "naa" not in again.disks.pool("tank").volumes["vol0"].attributes
