"""Verbs on portals, portal groups and redirection."""

from __future__ import annotations

import pytest

from scsi_snap import limits
from scsi_snap.control.outcomes import Changed, Created, Deleted, Unchanged
from scsi_snap.errors import Busy, Exists, InvalidArgument, IoFailed, LimitReached, NotFound
from scsi_snap.inventory.records import ChapRecord, RedirectRecord
from tests.controllers import IQN, Controller
from tests.fake_exporter import LISTENING

ALICE = "iqn.2026-11.org.example:alice"
ADDRESS = "192.0.2.1:3260"
CHAP = ChapRecord("user", "a secret of many bytes")


def test_a_portal_is_kept(controller: Controller) -> None:
    portals = controller.service.portals
    made = portals.create("[2001:DB8::0:1]:3260", 7)
    assert isinstance(made, Created)
    assert (made.view.address, made.view.portal_group_tag) == ("[2001:db8::1]:3260", 7)
    assert isinstance(portals.create("[2001:db8::1]:3260", 7), Unchanged)
    with pytest.raises(Exists, match="group 7"):
        portals.create("[2001:db8::1]:3260", 8)
    assert [(one.address, one.on_record, one.state) for one in portals.all()] == [
        (LISTENING, False, "listening"),
        ("[2001:db8::1]:3260", True, "listening"),
    ]
    kept = controller.restarted().assembly.catalog.state.portals
    assert [(one.address, one.tag) for one in kept.values()] == [("[2001:db8::1]:3260", 7)]


@pytest.mark.parametrize(
    ("typed", "kept"),
    [("192.0.2.1", "192.0.2.1:3260"), ("::1", "[::1]:3260"), ("[::1]", "[::1]:3260")],
)
def test_without_a_port_it_is_the_usual_one(controller: Controller, typed: str, kept: str) -> None:
    portals = controller.service.portals
    assert portals.create(typed).view.address == kept
    assert isinstance(portals.create(kept), Unchanged)
    assert portals.delete(typed) == Deleted(kept)


@pytest.mark.parametrize("address", ["0.0.0.0:3260", "[::]:3260"])
def test_a_portal_that_is_open_to_the_world_warns(controller: Controller, address: str) -> None:
    """Every host may log in to what asks for no secret; before there is a target, to any."""
    service = controller.with_volume().service
    targets, portals = service.targets, service.portals
    assert "IQN" in portals.create(address).view.warning
    other = f"{IQN}2"
    for name in (IQN, other):
        targets.create(name)
    assert f"target chap {IQN} --user" in portals.create(address).view.warning
    assert "and 1 more" in portals.create(address).view.warning
    targets.set_chap(IQN, CHAP)
    assert other in portals.create(address).view.warning
    targets.allow(other, ALICE)
    assert other in portals.create(address).view.warning
    targets.allow(other, ALICE, CHAP)
    assert portals.create(address).view.warning == ""
    targets.set_chap(IQN, None)
    assert IQN in portals.create(address).view.warning
    assert portals.create(ADDRESS).view.warning == ""
    service.note_portals()
    told = [one for one in service.events.after(0) if one.kind == "portal-open"]
    assert [one.subject for one in told] == [address]


def test_a_portal_that_cannot_listen_is_not_kept(controller: Controller) -> None:
    controller.exporter.taken.add(ADDRESS)
    with pytest.raises(IoFailed, match=ADDRESS):
        controller.service.portals.create(ADDRESS)
    assert controller.assembly.catalog.state.portals == {}


def test_a_portal_that_cannot_be_kept_does_not_listen(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise IoFailed("the disk is full")

    monkeypatch.setattr(controller.assembly.catalog, "update", fails)
    with pytest.raises(IoFailed, match="full"):
        controller.service.portals.create(ADDRESS)
    assert controller.exporter.addresses() == [LISTENING]


@pytest.mark.parametrize(
    ("address", "tag"),
    [("192.0.2", 1), ("192.0.2.1:0", 1), (ADDRESS, 0), (ADDRESS, 65536), (ADDRESS, -1)],
)
def test_what_is_no_portal(controller: Controller, address: str, tag: int) -> None:
    with pytest.raises(InvalidArgument):
        controller.service.portals.create(address, tag)


def test_portals_are_deleted(controller: Controller) -> None:
    portals = controller.service.portals
    portals.create(ADDRESS)
    assert portals.delete(ADDRESS) == Deleted(ADDRESS)
    assert controller.assembly.catalog.state.portals == {}
    with pytest.raises(NotFound, match=ADDRESS):
        portals.delete(ADDRESS)
    with pytest.raises(Busy, match="--listen"):
        portals.delete(LISTENING)


def test_the_number_of_portals_is_bounded(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PORTALS_MAX", 1)
    controller.service.portals.create(ADDRESS)
    with pytest.raises(LimitReached):
        controller.service.portals.create("192.0.2.2:3260")


def identifiers(controller: Controller) -> dict[tuple[str, int], int]:
    """Relative target port identifiers, by target and group."""
    return {
        (target.name[-1], port.portal_group_tag): port.relative_identifier
        for target in controller.service.targets.all()
        for port in target.ports
    }


def test_each_target_port_has_an_identifier_that_stays(controller: Controller) -> None:
    targets = controller.service.targets
    targets.create(f"{IQN}.a", [2, 1, 2])
    targets.create(f"{IQN}.b")
    expected = {("a", 1): 1, ("a", 2): 2, ("b", 1): 3}
    assert identifiers(controller) == expected
    assert isinstance(targets.add_group(f"{IQN}.b", 9), Changed)
    assert isinstance(targets.add_group(f"{IQN}.b", 9), Unchanged)
    targets.delete(f"{IQN}.a")
    again = controller.restarted()
    assert identifiers(again) == {("b", 1): 3, ("b", 9): 4}
    again.service.targets.create(f"{IQN}.c")
    assert identifiers(again)["c", 1] == 1


def test_a_target_is_made_in_its_groups(controller: Controller) -> None:
    targets = controller.service.targets
    targets.create(IQN, [3])
    assert isinstance(targets.create(IQN), Unchanged)
    assert isinstance(targets.create(IQN, [3]), Unchanged)
    with pytest.raises(Exists, match="group 3"):
        targets.create(IQN, [4])
    with pytest.raises(InvalidArgument):
        targets.create(f"{IQN}2", [0])
    controller.service.portals.create(ADDRESS, 3)
    assert [port.portals for port in targets.show(IQN).ports] == [(ADDRESS,)]


def test_a_group_in_use_is_not_left_unless_said(controller: Controller) -> None:
    targets = controller.service.targets
    targets.create(IQN, [1, 2])
    used = controller.exporter.log_in(IQN, ALICE, tag=2)
    kept = controller.exporter.log_in(IQN, ALICE, tag=1)
    with pytest.raises(Busy, match="group 2"):
        targets.remove_group(IQN, 2)
    targets.remove_group(IQN, 2, close_sessions=True)
    assert [one.id for one in targets.sessions()] == [kept] != [used]
    with pytest.raises(Busy, match="no other"):
        targets.remove_group(IQN, 1)
    with pytest.raises(NotFound, match="group 2"):
        targets.remove_group(IQN, 2)


def test_the_number_of_groups_is_bounded(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "GROUPS_PER_TARGET_MAX", 2)
    with pytest.raises(LimitReached):
        controller.service.targets.create(IQN, [1, 2, 3])
    assert controller.service.targets.all() == []


def test_redirection_is_shown_kept_and_taken_back(controller: Controller) -> None:
    targets = controller.service.targets
    targets.create(IQN)
    controller.exporter.log_in(IQN, ALICE)
    shown = targets.set_redirect(IQN, "[2001:DB8::1]:3260", permanent=True).view
    assert (shown.redirect, shown.redirect_permanent) == ("[2001:db8::1]:3260", True)
    kept = controller.exporter.targets[IQN].redirect
    assert kept == RedirectRecord("2001:db8::1", 3260, permanent=True)
    assert len(targets.sessions()) == 1
    with pytest.raises(InvalidArgument):
        targets.set_redirect(IQN, "192.0.2.1:0")
    again = controller.restarted().service.targets
    assert again.show(IQN).redirect == "[2001:db8::1]:3260"
    assert again.set_redirect(IQN, None).view.redirect is None
    assert isinstance(again.set_redirect(IQN, None), Unchanged)
