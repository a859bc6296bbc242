"""Every way to initiators behind one exporter, and the units that they share."""

from __future__ import annotations

import threading
from uuid import UUID

import pytest

from scsi_snap.errors import Busy, Closed, Exists, Unsupported
from scsi_snap.inventory.absent_exporter import AbsentExporter
from scsi_snap.inventory.exporter import PortalView
from scsi_snap.inventory.exporters import Exporters
from scsi_snap.inventory.records import PortalRecord, TargetRecord
from scsi_snap.inventory.units import SharedUnit, Units
from scsi_snap.scsi.nexus import TargetPort
from scsi_snap.scsi.record_store import NoStore
from tests.fake_exporter import LISTENING, FakeExporter
from tests.t8_inventory.exporting import OTHER, VOLUME, unit

BY_PORTAL = TargetRecord("iqn.2026-11.org.example:portal", "id-1")
BY_LIO = TargetRecord("iqn.2026-11.org.example:lio", "id-2", via="lio")
LIO_LISTENING = "127.0.0.1:3261"
REASON = "the kernel module target_core_user is missing"


class Both:
    def __init__(self) -> None:
        self.portal, self.lio = FakeExporter(LISTENING), FakeExporter(LIO_LISTENING)
        self.exporters = Exporters(self.portal, self.lio)
        for record in (BY_PORTAL, BY_LIO):
            self.exporters.set_target(record)


def test_a_target_is_its_own_exporters_alone() -> None:
    at = Both()
    for record in (BY_PORTAL, BY_LIO):
        at.exporters.map(record.name, 0, unit())
    assert list(at.portal.targets) == [BY_PORTAL.name] == [key[0] for key in at.portal.units]
    assert list(at.lio.targets) == [BY_LIO.name] == [key[0] for key in at.lio.units]
    at.exporters.unmap(BY_LIO.name, 0)
    assert at.lio.units == {} and len(at.portal.units) == 1
    at.exporters.remove_target(BY_LIO.name)
    at.exporters.remove_target(BY_LIO.name)
    assert at.lio.targets == {} and len(at.portal.targets) == 1


def test_what_is_of_a_volume_reaches_both() -> None:
    at = Both()
    for lun, record in enumerate((BY_PORTAL, BY_LIO)):
        at.exporters.map(record.name, lun, unit())
    at.exporters.capacity_changed(VOLUME)
    assert (at.portal.told, at.lio.told) == ([(BY_PORTAL.name, 0)], [(BY_LIO.name, 1)])
    at.exporters.backing_deleted(OTHER)
    assert at.portal.deleted == at.lio.deleted == [OTHER]
    assert at.exporters.in_use(VOLUME) is None
    at.lio.shown_beside[VOLUME] = "user_1/vol0"
    assert at.exporters.in_use(VOLUME) == "user_1/vol0"


def test_sessions_and_portals_say_via_what() -> None:
    at = Both()
    at.portal.log_in(BY_PORTAL.name, "iqn.2026-11.org.example:alice")
    at.lio.log_in(BY_LIO.name, "iqn.2026-11.org.example:bob")
    assert [(one.target, one.via) for one in at.exporters.sessions()] == [
        (BY_PORTAL.name, "portal"),
        (BY_LIO.name, "lio"),
    ]
    assert [(one.address, one.via) for one in at.exporters.portals()] == [
        (LISTENING, "portal"),
        (LIO_LISTENING, "lio"),
    ]
    assert at.exporters.addresses_via("lio") == [LIO_LISTENING]


def test_an_address_is_one_ways() -> None:
    at = Both()
    with pytest.raises(Exists, match="via portal"):
        at.exporters.add_portal(PortalRecord(LISTENING, 1, via="lio"))
    with pytest.raises(Exists, match="via lio"):
        at.exporters.add_portal(PortalRecord(LIO_LISTENING, 1))
    at.exporters.add_portal(PortalRecord("192.0.2.1:3260", 2, via="lio"))
    assert [one.address for one in at.lio.portals()] == [LIO_LISTENING, "192.0.2.1:3260"]
    at.exporters.remove_portal("192.0.2.1:3260")
    assert len(at.exporters.portals()) == 2


def test_the_kernels_target_is_the_default_where_it_can_be_used() -> None:
    at = Both()
    assert (at.exporters.default_via(), at.exporters.obstacle("lio")) == ("lio", None)
    without = Exporters(at.portal, AbsentExporter(REASON))
    assert (without.default_via(), without.obstacle("lio")) == ("portal", REASON)
    assert without.obstacle("portal") is None


def test_a_target_that_could_not_be_brought_up_takes_no_unit() -> None:
    at = Both()
    at.lio.failing = Closed("the kernel refuses")
    other = TargetRecord("iqn.2026-11.org.example:other", "id-3", via="lio")
    with pytest.raises(Closed, match="refuses"):
        at.exporters.set_target(other)
    with pytest.raises(Closed, match="could not be brought up"):
        at.exporters.map(other.name, 0, unit())
    at.exporters.unmap(other.name, 0)
    at.exporters.remove_target(other.name)


def test_where_there_is_no_kernel_target_its_portals_are_listed_with_the_reason() -> None:
    kept = PortalRecord("192.0.2.1:3260", 2, via="lio")
    absent = AbsentExporter(REASON, [LIO_LISTENING, kept.address], [kept])
    assert absent.portals() == [
        PortalView(LIO_LISTENING, 1, on_record=False, reason=REASON),
        PortalView(kept.address, 2, on_record=True, reason=REASON),
    ]
    with pytest.raises(Busy, match="--lio-listen"):
        absent.remove_portal(LIO_LISTENING)
    with pytest.raises(Unsupported, match=REASON):
        absent.add_portal(PortalRecord("192.0.2.2:3260", 2, via="lio"))
    absent.remove_portal(kept.address)
    assert [one.address for one in absent.portals()] == [LIO_LISTENING]


def test_a_unit_is_one_for_all_holders_and_goes_with_the_last() -> None:
    units = Units()
    units.set_ports("a", [TargetPort("iqn.2026-11.org.example:a", 1, 11)])
    units.set_ports("b", [TargetPort("iqn.2026-11.org.example:b", 1, 12)])
    first, second = units.take(unit(), "a", 2), units.take(unit(), "b")
    assert first is second is units.find(VOLUME)

    def ports() -> list[int]:
        found = first.logical_unit.nexuses.target_ports()
        return sorted(port.relative_identifier for port in found)

    assert ports() == [11, 12]
    units.release(first, "a")
    assert ports() == [11, 12]
    units.release(first, "a")
    assert ports() == [12]
    units.set_ports("b", [])
    assert ports() == []
    units.release(first, "b")
    assert units.find(VOLUME) is None
    assert units.take(unit(), "a") is not first


def test_two_that_come_at_once_get_one_unit() -> None:
    """The second comes while the first is making it; given up waiting for, it waits for the
    first."""
    asked: list[UUID] = []
    second_asks = threading.Event()
    taken: list[SharedUnit] = []
    second = threading.Thread(target=lambda: taken.append(units.take(unit(), "second")))

    def store(uuid: UUID) -> NoStore:
        asked.append(uuid)
        if len(asked) == 1:
            second.start()
            second_asks.wait(0.2)
        else:
            second_asks.set()
        return NoStore()

    units = Units(store)
    first = units.take(unit(), "first")
    second.join()
    assert taken == [first] and asked == [VOLUME]
    assert first.holders == {"first": 1, "second": 1}


def test_no_two_nexuses_have_a_number() -> None:
    units = Units()
    assert len({units.new_nexus() for _ in range(3)}) == 3
