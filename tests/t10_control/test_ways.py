"""Targets via the embedded portal and via the kernel's target: chosen, kept, and what the kernel
cannot do, refused before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from scsi_snap.control.outcomes import Created, Unchanged
from scsi_snap.control.service import Service
from scsi_snap.control.snapshots import SnapshotToMake
from scsi_snap.errors import (
    Busy,
    Exists,
    InvalidArgument,
    IoFailed,
    NotFound,
    ScsiSnapError,
    Unsupported,
)
from scsi_snap.inventory.records import ChapRecord
from tests.controllers import IQN, LIO_LISTENING, MONDAY, NO_LIO, VOL0, Controller
from tests.fake_exporter import LISTENING, FakeExporter
from tests.fakes import Disks

ALICE = "iqn.2026-11.org.example:alice"
ADDRESS = "192.0.2.1:3261"


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Controller]:
    """With a kernel's target."""
    yield Controller.start(tmp_path / "state", Disks(), lio=True)


def kernel_of(controller: Controller) -> FakeExporter:
    assert controller.kernel is not None
    return controller.kernel


def test_the_kernels_target_is_the_default_and_the_way_is_kept(both: Controller) -> None:
    targets = both.with_volume().service.targets
    made = targets.create(IQN)
    assert isinstance(made, Created) and made.view.via == "lio" and made.view.reason == ""
    assert isinstance(targets.create(IQN), Unchanged)
    assert isinstance(targets.create(IQN, via="lio"), Unchanged)
    with pytest.raises(Exists, match="via lio"):
        targets.create(IQN, via="portal")
    assert targets.create(f"{IQN}2", via="portal").view.via == "portal"
    targets.map(IQN, 0, VOL0)
    assert (list(kernel_of(both).units), both.exporter.units) == ([(IQN, 0)], {})
    again = both.restarted()
    assert {one.name: one.via for one in again.service.targets.all()} == {
        IQN: "lio",
        f"{IQN}2": "portal",
    }
    assert list(kernel_of(again).units) == [(IQN, 0)]


def test_without_a_kernels_target_the_embedded_portal_is_the_default(
    controller: Controller,
) -> None:
    assert controller.service.targets.create(IQN).view.via == "portal"


VERBS: list[Callable[[Service], object]] = [
    lambda service: service.targets.create(IQN, via="lio"),
    lambda service: service.targets.map(IQN, 0, VOL0, via="lio"),
    lambda service: service.portals.create(ADDRESS, via="lio"),
]


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_missing_is_named_once_and_nothing_is_written(
    controller: Controller, verb: Callable[[Service], object]
) -> None:
    before = controller.with_volume().assembly.catalog.state
    with pytest.raises(Unsupported) as caught:
        verb(controller.service)
    assert caught.value.message == f"the kernel's target cannot be used: {NO_LIO}"
    assert "start the daemon again" in caught.value.hint
    assert controller.assembly.catalog.state is before


def test_what_is_on_record_waits_for_the_kernel_and_can_be_taken_away(both: Controller) -> None:
    both.with_volume().service.targets.create(IQN)
    both.service.targets.map(IQN, 0, VOL0)
    both.service.portals.create(ADDRESS, via="lio")
    both.crash()
    without = Controller.start(both.state, both.disks)
    targets = without.service.targets
    shown = targets.show(IQN)
    assert (shown.reason, [lun.state for lun in shown.luns]) == (NO_LIO, ["unavailable"])
    with pytest.raises(Unsupported, match=NO_LIO):
        targets.map(IQN, 1, VOL0)
    with pytest.raises(Busy, match="LUN 0"):
        without.service.volumes.delete(VOL0)
    targets.allow(IQN, ALICE)
    targets.unmap(IQN, 0)
    without.crash()
    again = Controller.start(both.state, both.disks, lio=True)
    assert kernel_of(again).targets[IQN].initiator_names == (ALICE,)
    assert kernel_of(again).units == {}
    again.service.targets.delete(IQN)
    assert again.service.targets.all() == []


def test_an_operator_learns_once_that_the_kernels_target_is_missing(both: Controller) -> None:
    both.service.note_portals()
    assert both.service.events.after(0) == []
    both.service.targets.create(IQN)
    both.crash()
    without = Controller.start(both.state, both.disks)
    without.service.note_portals()
    (event,) = without.service.events.after(0)
    assert (event.kind, NO_LIO in event.message) == ("lio-unavailable", True)
    assert without.service.status().lio_obstacle == NO_LIO


def test_nobody_who_does_not_ask_for_it_is_told_that_it_is_missing(controller: Controller) -> None:
    controller.service.targets.create(IQN)
    controller.service.note_portals()
    assert controller.service.events.after(0) == []


def test_status_tells_the_addresses_of_each(both: Controller) -> None:
    status = both.service.status()
    assert (status.addresses, status.lio_addresses) == ((LISTENING,), (LIO_LISTENING,))
    assert status.lio_obstacle == ""


def test_mapping_says_what_the_target_is_via(both: Controller) -> None:
    targets = both.with_volume().service.targets
    with pytest.raises(NotFound) as caught:
        targets.map(IQN, 0, VOL0, via="lio")
    assert f"scsi-snap target create --via lio {IQN}" in caught.value.hint
    targets.create(IQN, via="portal")
    with pytest.raises(InvalidArgument, match="via portal, not via lio"):
        targets.map(IQN, 0, VOL0, via="lio")
    assert isinstance(targets.map(IQN, 0, VOL0, via="portal"), Created)


REFUSED: list[tuple[Callable[[Service], Any], type[ScsiSnapError], str]] = [
    (lambda on: on.targets.create("iqn.2003-01.test:lab"), InvalidArgument, "iqn.2003-01.test"),
    (lambda on: on.targets.create(f"naa.5{'0' * 31}"), InvalidArgument, "naa"),
    (lambda on: on.targets.allow(IQN, "iqn.2003-01.test:a"), InvalidArgument, "2003-01.test:a"),
    (lambda on: on.targets.allow(IQN, "iqn.2003-01.org.test:a_b"), InvalidArgument, "without"),
    (lambda on: on.targets.allow(IQN, "iqn.2003-01.org.test:a b"), InvalidArgument, "without"),
    (lambda on: on.targets.allow(IQN, "iqn.2003-01.org.test:\u00f6"), InvalidArgument, "take"),
    (
        lambda on: on.targets.map(IQN, 1, VOL0, ["iqn.2003-01.test:a"]),
        InvalidArgument,
        "2003-01.test:a",
    ),
    (lambda on: on.targets.set_redirect(IQN, ADDRESS), Unsupported, "redirect"),
    (
        lambda on: on.targets.set_chap(IQN, ChapRecord("user", "NULL is no secret")),
        InvalidArgument,
        "NULL",
    ),
    (
        lambda on: on.targets.allow(IQN, ALICE, ChapRecord("NULLA", "twelve bytes")),
        InvalidArgument,
        "NULL",
    ),
    (
        lambda on: on.targets.set_discovery_chap(ChapRecord("NULL", "twelve bytes")),
        InvalidArgument,
        "NULL",
    ),
    (lambda on: on.portals.create("host.example:3261", via="lio"), InvalidArgument, "IP"),
    (lambda on: on.portals.create(LISTENING, via="lio"), Exists, "via portal"),
    (lambda on: on.portals.create(LIO_LISTENING), Exists, "via lio"),
    (lambda on: on.targets.map(IQN, 1, VOL0, [ALICE]), Unsupported, "everybody"),
]


@pytest.mark.parametrize(("verb", "error", "text"), REFUSED)
def test_what_the_kernel_cannot_do_is_refused_before_anything_is_written(
    both: Controller,
    verb: Callable[[Service], Any],
    error: type[ScsiSnapError],
    text: str,
) -> None:
    both.with_volume().service.targets.create(IQN)
    kernel_of(both).refuses_own_luns = True
    before = both.assembly.catalog.state
    with pytest.raises(error) as caught:
        verb(both.service)
    assert text in f"{caught.value.message} {caught.value.hint}" and caught.value.hint
    assert both.assembly.catalog.state is before


@pytest.mark.parametrize(
    "name", ["iqn.2003-01.org.test:lab", f"naa.5{'0' * 15}", f"eui.{'0' * 16}"]
)
def test_names_that_the_kernel_takes(both: Controller, name: str) -> None:
    assert both.service.targets.create(name).view.via == "lio"


def test_the_embedded_portal_takes_what_the_kernel_does_not(both: Controller) -> None:
    targets = both.service.targets
    name = "iqn.2003-01.test:lab"
    targets.create(name, via="portal")
    targets.allow(name, "iqn.2003-01.test:a", ChapRecord("NULL", "NULL, twelve"))
    assert targets.set_redirect(name, ADDRESS).view.redirect == ADDRESS


def test_a_session_of_the_kernel_is_not_closed_by_itself(both: Controller) -> None:
    targets = both.service.targets
    targets.create(IQN)
    number = kernel_of(both).log_in(IQN, ALICE)
    assert [(one.id, one.via) for one in targets.sessions(IQN)] == [(number, "lio")]
    with pytest.raises(Unsupported, match="cannot close one session"):
        targets.close_session(number)
    assert len(targets.sessions()) == 1
    targets.delete(IQN, close_sessions=True)
    assert targets.sessions() == []


def test_a_portal_of_the_kernel_leads_to_its_targets_alone(both: Controller) -> None:
    service = both.service
    assert service.portals.create(ADDRESS, 2, "lio").view.via == "lio"
    assert isinstance(service.portals.create(ADDRESS, 2, "lio"), Unchanged)
    with pytest.raises(Exists, match="via lio"):
        service.portals.create(ADDRESS, 2, "portal")
    for name, via in ((IQN, "lio"), (f"{IQN}2", "portal")):
        service.targets.create(name, [1, 2], via)  # type: ignore[arg-type]
    assert {one.name: [port.portals for port in one.ports] for one in service.targets.all()} == {
        IQN: [(LIO_LISTENING,), (ADDRESS,)],
        f"{IQN}2": [(LISTENING,), ()],
    }
    kept = both.restarted().assembly.catalog.state.portals
    assert [(one.address, one.via) for one in kept.values()] == [(ADDRESS, "lio")]


CHANGES: list[Callable[[Service], Any]] = [
    lambda on: on.targets.create(f"{IQN}2"),
    lambda on: on.targets.delete(IQN),
    lambda on: on.targets.add_group(IQN, 2),
    lambda on: on.targets.allow(IQN, ALICE),
    lambda on: on.targets.map(IQN, 1, VOL0, again=True),
    lambda on: on.targets.unmap(IQN, 0),
    lambda on: on.targets.set_discovery_chap(ChapRecord("scout", "twelve bytes")),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_the_kernel_refuses_is_taken_back(
    both: Controller, change: Callable[[Service], Any]
) -> None:
    both.with_volume().service.targets.create(IQN)
    both.service.targets.map(IQN, 0, VOL0)
    before = both.assembly.catalog.state
    kernel_of(both).failing = IoFailed("the kernel refuses")
    with pytest.raises(IoFailed):
        change(both.service)
    assert both.assembly.catalog.state == before
    assert both.exporter.discovery_chap is None
    after = both.restarted().assembly.catalog.state
    assert replace(after, pools=before.pools) == before


def test_a_target_that_the_kernel_refuses_at_the_start_hinders_nothing_else(
    both: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    both.with_volume().service.targets.create(IQN)
    both.service.targets.map(IQN, 0, VOL0)
    both.service.targets.create(f"{IQN}2", via="portal")
    both.crash()

    def refuse(*_: object) -> None:
        raise IoFailed("the kernel refuses")

    monkeypatch.setattr(FakeExporter, "set_target", refuse)
    again = Controller.start(both.state, both.disks, lio=True)
    kinds = [one.kind for one in again.service.events.after(0)]
    assert kinds == ["target-unavailable", "target-unavailable", "lun-unavailable"]
    again.service.targets.delete(IQN)


def test_what_somebody_else_shows_is_not_deleted(both: Controller) -> None:
    service = both.with_volume().service
    service.snapshots.create([SnapshotToMake(MONDAY)])
    volume, snapshot = service.volumes.show(VOL0), service.snapshots.show(MONDAY)
    shown = kernel_of(both).shown_beside
    shown[UUID(snapshot.id)] = "the kernel's device user_1/monday"
    verbs: list[Callable[[], object]] = [
        lambda: service.snapshots.delete(MONDAY),
        lambda: service.volumes.delete(VOL0, with_snapshots=True),
        lambda: service.pools.export("tank"),
    ]
    for verb in verbs:
        with pytest.raises(Busy, match="tank/vol0@monday is in use: the kernel's device user_1"):
            verb()
    shown.clear()
    shown[UUID(volume.id)] = "the kernel's device user_1/vol0"
    service.snapshots.delete(MONDAY)
    with pytest.raises(Busy, match="user_1/vol0"):
        service.volumes.delete(VOL0)
    shown.clear()
    service.volumes.delete(VOL0)
