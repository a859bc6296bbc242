"""A pool is its UUID, as far as it has come: copies of an open one, and members that the pool has
gone on without, are not taken for it."""

from __future__ import annotations

import pytest

from scsi_snap.control.outcomes import Created, Unchanged
from scsi_snap.errors import Exists, IoFailed, PoolUnavailable
from tests.controllers import IQN, MIB, VOL0, Controller

PAIR = [("/m0", 1 << 30), ("/m1", 1 << 30)]


@pytest.fixture
def mirrored(controller: Controller) -> Controller:
    """A pool tank of two mirrors, its volume mapped."""
    controller.service.pools.create("tank", "raid1", 65536, PAIR)
    controller.service.volumes.create(VOL0, MIB)
    controller.service.targets.create(IQN)
    controller.service.targets.map(IQN, 0, VOL0)
    return controller


@pytest.fixture
def outlived(mirrored: Controller) -> Controller:
    """It went on without /m1, and now /m0 is not there when the controller starts."""
    mirrored.service.pools.fail_member("tank", "/m1")
    mirrored.write(0, 8)
    mirrored.disks.missing.add("/m0")
    return mirrored.restarted()


def test_copies_of_an_open_pool_are_refused_by_name(mirrored: Controller) -> None:
    unit = mirrored.exporter.units[IQN, 0]
    copies = mirrored.disks.copy("tank", ".copy")
    for given in (copies, copies[:1], [copies[1], copies[0]]):
        with pytest.raises(Exists, match=r"/m0 and /m1") as caught:
            mirrored.service.pools.import_(given)
        assert given[0] in caught.value.message and "export tank" in caught.value.hint
    assert [pool.open for pool in mirrored.disks.pools] == [True, False]
    assert mirrored.exporter.units[IQN, 0] is unit
    assert mirrored.assembly.catalog.state.pools["tank"].members == ("/m0", "/m1")


def test_copies_may_take_the_place_of_a_pool_that_is_closed(mirrored: Controller) -> None:
    copies = mirrored.disks.copy("tank", ".copy")
    mirrored.disks.missing |= {"/m0", "/m1"}
    again = mirrored.restarted()
    assert again.service.pools.show("tank").state == "unavailable"
    assert isinstance(again.service.pools.import_(copies), Created)
    assert [lun.state for lun in again.service.targets.luns()] == ["mapped"]
    again.disks.missing.clear()
    with pytest.raises(Exists, match=r"/m0\.copy"):
        again.service.pools.import_(["/m0", "/m1"])
    assert again.restarted().service.pools.show("tank").members[0].name == copies[0]


def test_a_start_opens_a_pool_once(mirrored: Controller) -> None:
    """Whatever the records say."""
    copies = mirrored.disks.copy("tank", ".copy")
    record = mirrored.assembly.catalog.state.pools["tank"]
    twin = type(record)("twin", tuple(copies), record.id)
    mirrored.assembly.catalog.update(lambda state: state.with_pool(twin))
    again = mirrored.restarted()
    assert again.service.pools.show("tank").state == "optimal"
    assert "which is open" in again.assembly.pools.unavailable()["twin"]
    assert [pool.open for pool in again.disks.pools] == [True, False]


def test_a_start_takes_no_member_that_the_pool_has_gone_on_without(outlived: Controller) -> None:
    shown = outlived.service.pools.show("tank")
    assert shown.state == "unavailable"
    assert "/m1 (event count 1)" in shown.reason and "bring back /m0" in shown.reason
    assert outlived.exporter.units == {}
    for members, name in (([], "tank"), (["/m1"], None)):
        with pytest.raises(PoolUnavailable, match="bring back /m0") as caught:
            outlived.service.pools.import_(members, name)
        assert "--force" in caught.value.hint
    assert not outlived.disks.pool("tank").open


@pytest.mark.parametrize("members", [[], ["/m1"]])
def test_by_force_the_older_state_is_taken(outlived: Controller, members: list[str]) -> None:
    taken = outlived.service.pools.import_(members, "tank", force=True)
    assert taken.view.state == "degraded"
    assert [lun.state for lun in outlived.service.targets.luns()] == ["mapped"]
    # The other one has gone on by itself: it is not looked for any more.
    outlived.disks.missing.clear()
    again = outlived.restarted()
    assert again.service.pools.show("tank").state == "degraded"
    assert again.assembly.catalog.state.pools["tank"].paths == ("/m1",)


def test_when_the_newer_member_is_back_the_pool_is(outlived: Controller) -> None:
    outlived.disks.missing.clear()
    assert outlived.service.pools.import_([], "tank").view.state == "degraded"
    assert [lun.state for lun in outlived.service.targets.luns()] == ["mapped"]
    assert isinstance(outlived.service.pools.import_([], "tank"), Unchanged)


@pytest.mark.parametrize("cleanly", [True, False])
def test_a_member_that_fails_by_itself_is_on_record_after_a_poll(
    mirrored: Controller, cleanly: bool
) -> None:
    content = mirrored.disks.pool("tank")
    content.failed.add("/m1")
    content.commit()
    mirrored.service.housekeep()
    assert mirrored.assembly.catalog.state.pools["tank"].event == content.event
    if cleanly:
        mirrored.stop()
        assert mirrored.assembly.catalog.state.pools["tank"].event == content.event
    mirrored.disks.missing.add("/m0")
    again = mirrored.restarted()
    assert again.service.pools.show("tank").state == "unavailable"


def test_a_pool_that_was_opened_without_a_member_does_not_come_back_as_that_one(
    mirrored: Controller,
) -> None:
    mirrored.disks.missing.add("/m0")
    again = mirrored.restarted()
    assert again.service.pools.show("tank").state == "degraded"
    again.disks.missing = {"/m1"}
    third = again.restarted()
    assert "bring back /m1" in third.service.pools.show("tank").reason


def test_a_lost_member_keeps_its_name(mirrored: Controller) -> None:
    mirrored.disks.missing.add("/m1")
    again = mirrored.restarted()
    members = again.service.pools.show("tank").members
    assert [(one.name, one.state) for one in members] == [("/m0", "in-sync"), ("/m1", "missing")]
    assert isinstance(again.service.pools.fail_member("tank", "/m1"), Unchanged)
    # Also after an import that did not name it.
    again.service.targets.unmap(IQN, 0)
    again.service.pools.export("tank")
    again.service.pools.import_(["/m0"])
    names = [one.name for one in again.service.pools.show("tank").members]
    assert names == ["/m0", "number 1"], "an exported pool is forgotten, and its members' paths too"


def test_members_are_on_record_by_their_roles(controller: Controller) -> None:
    members = [("/a", 512), ("/b", 512), ("/c", 512)]
    controller.service.pools.create("tank", "raid5", 65536, members)
    controller.service.pools.export("tank")
    controller.service.pools.import_(["/c", "/a", "/b"])
    assert controller.assembly.catalog.state.pools["tank"].members == ("/a", "/b", "/c")
    controller.disks.missing.add("/b")
    shown = controller.restarted().service.pools.show("tank")
    assert [one.name for one in shown.members if one.state == "missing"] == ["/b"]


def test_a_record_that_cannot_be_written_is_an_event_once(
    mirrored: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str, content: bytes) -> None:
        raise IoFailed("no room")

    mirrored.disks.pool("tank").commit()
    with monkeypatch.context() as patched:
        patched.setattr(mirrored.directory, "replace", refuse)
        mirrored.service.housekeep()
        mirrored.service.housekeep()
    kinds = [event.kind for event in mirrored.service.events.after(0)]
    assert kinds.count("state-not-written") == 1
    mirrored.service.housekeep()
    event = mirrored.disks.pool("tank").event
    assert mirrored.assembly.catalog.state.pools["tank"].event == event
