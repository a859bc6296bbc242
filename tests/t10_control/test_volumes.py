"""Verbs on volumes."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from scsi_snap.control.outcomes import Changed, Created, Deleted, Unchanged
from scsi_snap.control.snapshots import SnapshotToMake
from scsi_snap.control.traits import NO_CHOICES
from scsi_snap.control.views import LunReference
from scsi_snap.errors import Busy, Exists, InvalidArgument, NoSpace, NotFound, Unsupported
from scsi_snap.inventory.names import VolumeName
from tests.controllers import IQN, MEMBERS, MIB, MONDAY, VOL0, Controller


def test_create_is_idempotent(controller: Controller) -> None:
    controller.service.pools.create("tank", "raid5", 65536, MEMBERS)
    made = controller.service.volumes.create(VOL0, MIB)
    assert isinstance(made, Created) and made.view.size_bytes == MIB
    again = controller.service.volumes.create(VOL0, MIB)
    assert isinstance(again, Unchanged) and again.view == made.view
    with pytest.raises(Exists, match="other parameters"):
        controller.service.volumes.create(VOL0, 2 * MIB)
    assert controller.service.volumes.show(VOL0) == made.view


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"size_bytes": 0}, "whole number"),
        ({"size_bytes": -512}, "whole number"),
        ({"size_bytes": 513}, "whole number"),
        ({"size_bytes": 512, "block_bytes": 4096}, "whole number"),
        ({"size_bytes": 1 << 61}, "at most"),
        ({"size_bytes": MIB, "block_bytes": 520}, "520"),
        ({"size_bytes": MIB, "chunk_bytes": 0}, "chunks"),
        ({"size_bytes": MIB, "chunk_bytes": 65537}, "chunks"),
        ({"size_bytes": MIB, "chunk_bytes": 2 * MIB}, "chunks"),
        ({"size_bytes": MIB, "policy": "panic"}, "panic"),
        ({"size_bytes": MIB, "store_limit_bytes": 1}, "limit"),
        ({"size_bytes": MIB, "store_limit_bytes": 1 << 64}, "limit"),
    ],
)
def test_bad_arguments_are_refused(
    controller: Controller, parameters: dict[str, Any], says: str
) -> None:
    controller.service.pools.create("tank", "raid5", 65536, MEMBERS)
    with pytest.raises(InvalidArgument, match=says):
        controller.service.volumes.create(VOL0, **parameters)


def test_a_full_pool_says_so_and_what_to_do(controller: Controller) -> None:
    controller.service.pools.create("tank", "raid5", 65536, MEMBERS)
    with pytest.raises(NoSpace) as caught:
        controller.service.volumes.create(VOL0, 2 << 40)
    assert "delete" in caught.value.hint


def test_resize_grows_and_tells_those_who_see_the_volume(controller: Controller) -> None:
    controller.with_volume().service.targets.create(IQN)
    controller.service.targets.map(IQN, 5, VOL0)
    controller.service.snapshots.create([SnapshotToMake(MONDAY)])
    controller.service.targets.map(IQN, 6, MONDAY)
    before = controller.service.volumes.show(VOL0).size_bytes
    monday = controller.service.snapshots.show(MONDAY)
    picture = controller.service.snapshots.map(MONDAY, 4)
    grown = controller.service.volumes.resize(VOL0, before + 512)
    assert isinstance(grown, Changed) and grown.view.size_bytes == before + 512
    assert controller.exporter.told == [(IQN, 5)], "the volume's LUN, not the snapshot's"
    again = controller.service.volumes.resize(VOL0, before + 512)
    assert isinstance(again, Unchanged) and again.view == grown.view
    assert len(controller.exporter.told) == 1
    assert controller.service.snapshots.show(MONDAY) == monday and monday.whole_volume
    assert controller.service.snapshots.map(MONDAY, 4) == picture


def test_resize_refuses_to_shrink_and_what_is_no_size(controller: Controller) -> None:
    volumes = controller.with_volume().service.volumes
    before = volumes.show(VOL0)
    for size_bytes, says in [
        (0, "whole number"),
        (before.size_bytes + 1, "whole number"),
        (1 << 61, "at most"),
    ]:
        with pytest.raises(InvalidArgument, match=says):
            volumes.resize(VOL0, size_bytes)
    with pytest.raises(Unsupported, match=r"cannot shrink: it has 1MiB$"):
        volumes.resize(VOL0, before.size_bytes - 512)
    with pytest.raises(NoSpace):
        volumes.resize(VOL0, 2 << 40)
    with pytest.raises(NotFound):
        volumes.resize(VolumeName("tank", "vol1"), MIB)
    assert volumes.show(VOL0) == before


def test_delete_is_refused_while_mapped(controller: Controller) -> None:
    controller.with_volume().service.targets.create(IQN)
    controller.service.targets.map(IQN, 5, VOL0)
    assert controller.service.volumes.show(VOL0).mapped == (LunReference(IQN, 5),)
    with pytest.raises(Busy, match=f"LUN 5 of {IQN}"):
        controller.service.volumes.delete(VOL0)
    controller.service.targets.unmap(IQN, 5)
    assert controller.service.volumes.delete(VOL0) == Deleted("tank/vol0")
    with pytest.raises(NotFound):
        controller.service.volumes.delete(VOL0)


def test_delete_with_snapshots_must_be_said(controller: Controller) -> None:
    controller.with_volume().service.snapshots.create([SnapshotToMake(MONDAY)])
    with pytest.raises(Busy, match="monday"):
        controller.service.volumes.delete(VOL0)
    (volume,) = controller.assembly.pools.get("tank").volumes()
    assert controller.exporter.deleted == []
    controller.service.volumes.delete(VOL0, with_snapshots=True)
    assert controller.service.volumes.all() == []
    gone = [UUID(volume.snapshots[0].id), UUID(volume.id)]
    assert controller.exporter.deleted == gone


def test_delete_is_refused_while_a_snapshot_is_mapped(controller: Controller) -> None:
    controller.with_volume().service.snapshots.create([SnapshotToMake(MONDAY)])
    controller.service.targets.create(IQN)
    controller.service.targets.map(IQN, 0, MONDAY)
    with pytest.raises(Busy, match="tank/vol0@monday"):
        controller.service.volumes.delete(VOL0, with_snapshots=True)
    assert len(controller.service.snapshots.all()) == 1


def test_list_is_by_pool(controller: Controller) -> None:
    controller.with_volume()
    controller.service.pools.create("lake", "raid1", 65536, [("/l1", 512), ("/l2", 512)])
    controller.service.volumes.create(VolumeName("lake", "a"), MIB)
    assert [one.name for one in controller.service.volumes.all()] == ["lake/a", "tank/vol0"]
    assert [one.name for one in controller.service.volumes.all("tank")] == ["tank/vol0"]
    with pytest.raises(NotFound):
        controller.service.volumes.all("pond")


def test_check(controller: Controller) -> None:
    controller.with_volume()
    assert [(one.volume, one.problems) for one in controller.service.volumes.check_all()] == [
        ("tank", ()),
        ("tank/vol0", ()),
    ]
    with pytest.raises(NotFound):
        controller.service.volumes.check(VolumeName("tank", "vol1"))


def test_set_changes_the_rules_of_the_store(controller: Controller) -> None:
    controller.with_volume()
    volumes = controller.service.volumes
    outcome = volumes.set(VOL0, NO_CHOICES, policy="fail-write", store_limit_bytes=64 * MIB)
    assert isinstance(outcome, Changed)
    shown = volumes.show(VOL0)
    assert (shown.policy, shown.store_limit_bytes) == ("fail-write", 64 * MIB)
    assert isinstance(volumes.set(VOL0, NO_CHOICES, policy="fail-write"), Unchanged)
    volumes.set(VOL0, NO_CHOICES, store_limit_bytes=0)
    assert volumes.show(VOL0).store_limit_bytes is None
    with pytest.raises(InvalidArgument, match="policy"):
        volumes.set(VOL0, NO_CHOICES, policy="hope")
    with pytest.raises(InvalidArgument, match="limit"):
        volumes.set(VOL0, NO_CHOICES, store_limit_bytes=512)
    assert volumes.show(VOL0).policy == "fail-write"
