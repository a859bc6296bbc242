"""Verbs on pools."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from scsi_snap.control.outcomes import Changed, Created, Deleted, Unchanged
from scsi_snap.errors import (
    Busy,
    Exists,
    InvalidArgument,
    IoFailed,
    LimitReached,
    MemberRefused,
    NotFound,
    PoolUnavailable,
    ScsiSnapError,
)
from scsi_snap.inventory.names import VolumeName
from scsi_snap.inventory.records import PoolRecord
from tests.controllers import IQN, MEMBERS, MIB, VOL0, Controller
from tests.fakes import FakeDataPath

PATHS = [path for path, _ in MEMBERS]


def test_create_is_idempotent(controller: Controller) -> None:
    pools = controller.service.pools
    made = pools.create("tank", "raid5", 65536, MEMBERS)
    assert isinstance(made, Created) and made.view.state == "optimal"
    assert [member.name for member in made.view.members] == PATHS
    again = pools.create("tank", "raid5", 65536, MEMBERS)
    assert isinstance(again, Unchanged) and again.view == made.view
    assert len(controller.disks.pools) == 1


@pytest.mark.parametrize(
    ("level", "strip", "members"),
    [
        ("raid1", 65536, MEMBERS),
        ("raid5", 131072, MEMBERS),
        ("raid5", 65536, [("/x", 512), ("/y", 512)]),
    ],
)
def test_another_pool_of_the_same_name_is_refused(
    controller: Controller, level: str, strip: int, members: list[tuple[str, int | None]]
) -> None:
    controller.service.pools.create("tank", "raid5", 65536, MEMBERS)
    with pytest.raises(Exists):
        controller.service.pools.create("tank", level, strip, members)


@pytest.mark.parametrize(
    ("name", "level", "strip", "members", "says"),
    [
        ("a/b", "raid5", 65536, MEMBERS, "a/b"),
        ("tank", "raid7", 65536, MEMBERS, "raid7"),
        ("tank", "raid5", 65535, MEMBERS, "strip"),
        ("tank", "raid5", 0, MEMBERS, "strip"),
        ("tank", "raid5", 2 << 20, MEMBERS, "strip"),
        ("tank", "raid5", 65536, [], "members"),
        ("tank", "raid5", 65536, [("m1", 1)], "absolute"),
        ("tank", "raid5", 65536, [("/m1", 512), ("/m1", 512)], "twice"),
        ("tank", "raid5", 65536, [("/m\0", 1)], "control characters"),
        ("tank", "raid5", 65536, [("/m\n", 1)], "control characters"),
        ("tank", "raid5", 65536, [("/\ud800", 1)], "UTF-8"),
        ("tank", "raid5", 65536, [("/" + "m" * 5000, 1)], "4095 bytes"),
        ("tank", "raid5", 65536, [("rbd:pool/image", 1)], "not supported"),
    ],
)
def test_bad_arguments_are_refused_by_name(
    controller: Controller,
    name: str,
    level: str,
    strip: int,
    members: list[tuple[str, int | None]],
    says: str,
) -> None:
    with pytest.raises(InvalidArgument, match=says):
        controller.service.pools.create(name, level, strip, members)
    assert controller.disks.pools == []


def test_too_many_members_are_refused(controller: Controller) -> None:
    with pytest.raises(LimitReached):
        controller.service.pools.create("t", "raid0", 65536, [(f"/m{n}", 1) for n in range(65)])


def test_a_member_of_another_pool_is_refused(controller: Controller) -> None:
    controller.service.pools.create("tank", "raid5", 65536, MEMBERS)
    with pytest.raises(Busy, match=r"/m2.*tank"):
        controller.service.pools.create("other", "raid1", 65536, [("/x", 512), ("/m2", 512)])


def test_a_member_that_is_refused_below_keeps_its_reason(controller: Controller) -> None:
    with pytest.raises(MemberRefused, match="no such file"):
        controller.service.pools.create("tank", "raid1", 65536, [("/gone", None), ("/x", 512)])
    assert controller.service.pools.all() == []
    # Nothing is left of the attempt: the same name and member can be used again.
    controller.service.pools.create("tank", "raid1", 65536, [("/y", 512), ("/x", 512)])


def test_a_mistyped_name_is_answered_with_the_nearest(controller: Controller) -> None:
    controller.service.pools.create("tank", "raid5", 65536, MEMBERS)
    with pytest.raises(NotFound) as caught:
        controller.service.volumes.create(VolumeName("tnk", "vol0"), MIB)
    assert caught.value.hint == "did you mean 'tank'?"


def test_export_and_import_move_a_pool(controller: Controller) -> None:
    controller.with_volume()
    pools = controller.service.pools
    assert pools.export("tank") == Deleted("tank")
    assert not controller.disks.pool("tank").open
    assert pools.all() == []
    with pytest.raises(NotFound):
        pools.export("tank")
    made = pools.import_(list(reversed(PATHS)))
    assert isinstance(made, Created)
    assert isinstance(pools.import_(PATHS), Unchanged)
    assert [volume.name for volume in controller.service.volumes.all()] == ["tank/vol0"]


def test_import_of_the_wrong_pool_closes_it_again(controller: Controller) -> None:
    controller.with_volume().service.pools.export("tank")
    with pytest.raises(InvalidArgument, match="tank"):
        controller.service.pools.import_(PATHS, "lake")
    assert not controller.disks.pool("tank").open


def test_import_of_nothing_is_refused(controller: Controller) -> None:
    with pytest.raises(InvalidArgument):
        controller.service.pools.import_([])
    with pytest.raises(NotFound):
        controller.service.pools.import_([], "tank")
    with pytest.raises(ScsiSnapError):
        controller.service.pools.import_(["/nowhere"])


def test_export_is_refused_while_a_volume_is_mapped(controller: Controller) -> None:
    controller.with_volume().service.targets.create(IQN)
    controller.service.targets.map(IQN, 3, VOL0)
    with pytest.raises(Busy, match="LUN 3") as caught:
        controller.service.pools.export("tank")
    assert f"lun unmap {IQN} 3" in caught.value.hint
    assert controller.disks.pool("tank").open
    controller.service.targets.unmap(IQN, 3)
    controller.service.pools.export("tank")


def test_an_unavailable_pool_can_be_forgotten_but_not_while_mapped(controller: Controller) -> None:
    controller.with_volume().service.targets.create(IQN)
    controller.service.targets.map(IQN, 0, VOL0)
    controller.disks.missing |= {"/m1", "/m2"}
    again = controller.restarted()
    with pytest.raises(Busy, match="LUN 0"):
        again.service.pools.export("tank")
    again.service.targets.unmap(IQN, 0)
    again.service.pools.export("tank")
    assert again.service.pools.all() == []


def test_destroy_erases_an_empty_pool_alone(controller: Controller) -> None:
    controller.with_volume()
    with pytest.raises(Busy, match="vol0"):
        controller.service.pools.destroy("tank")
    controller.service.volumes.delete(VOL0)
    goes = tuple(f"the label of {path}" for path, _ in MEMBERS)
    planned = controller.service.pools.destroy("tank", dry_run=True)
    assert planned == Deleted("tank", goes, planned=True)
    assert controller.service.pools.destroy("tank") == Deleted("tank", goes, left=tuple(PATHS))
    assert controller.disks.pools == [] and controller.assembly.catalog.state.pools == {}
    controller.service.pools.create("tank", "raid5", 65536, MEMBERS)


def test_fail_member(controller: Controller) -> None:
    pools = controller.service.pools
    pools.create("tank", "raid5", 65536, MEMBERS)
    with pytest.raises(NotFound) as caught:
        pools.fail_member("tank", "/m9")
    assert "/m" in caught.value.hint
    changed = pools.fail_member("tank", "/m2")
    assert isinstance(changed, Changed) and changed.view.state == "degraded"
    assert isinstance(pools.fail_member("tank", "/m2"), Unchanged)
    with pytest.raises(PoolUnavailable):
        pools.fail_member("tank", "/m3")


def test_events_of_pools_are_numbered_and_named(controller: Controller) -> None:
    service = controller.service
    service.pools.create("tank", "raid5", 65536, MEMBERS)
    service.pools.fail_member("tank", "/m2")
    service.fetch_events()
    (event,) = service.events.after(0)
    assert (event.number, event.kind, event.severity) == (1, "member-failed", "error")
    assert (event.subject, event.message) == ("tank", "member /m2 was taken out: by hand")
    assert service.events.after(1) == []


def test_a_defect_while_a_pool_is_made_leaves_no_record(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(controller.assembly.data_path, "create_pool", break_down)
    with pytest.raises(RuntimeError):
        controller.service.pools.create("tank", "raid5", 65536, MEMBERS)
    assert controller.assembly.catalog.state.pools == {}


def test_a_record_that_the_data_path_cannot_take_hinders_no_start(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = PoolRecord("tank", ("/\ud800",), id="1")
    controller.assembly.catalog.update(lambda state: state.with_pool(record))

    def encode(_: FakeDataPath, members: list[str], *__: int) -> None:
        for member in members:
            member.encode()

    monkeypatch.setattr(FakeDataPath, "open_available", encode)
    after = controller.restarted()
    assert "represented" in after.assembly.pools.unavailable()["tank"]


def test_a_catalog_that_cannot_be_written_leaves_no_pool_behind(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str, content: bytes) -> None:
        raise IoFailed("no room")

    monkeypatch.setattr(controller.directory, "replace", refuse)
    actions: list[Callable[[], object]] = [
        lambda: controller.service.pools.create("tank", "raid5", 65536, MEMBERS),
        lambda: controller.service.targets.create(IQN),
    ]
    for action in actions:
        with pytest.raises(IoFailed):
            action()
    assert controller.disks.pools == [] and controller.exporter.targets == {}
    assert controller.service.targets.all() == [] and controller.service.pools.all() == []
