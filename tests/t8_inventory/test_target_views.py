"""What each initiator sees: own LUNs, several paths, and who is told when that changes.

LUN maps per initiator, unit attentions REPORTED LUNS DATA HAS CHANGED (SPC-5, 3Fh/0Eh) and CAPACITY
DATA HAS CHANGED (SBC-4, 2Ah/09h), Async Messages (RFC 7143, 11.9.1).
"""

from __future__ import annotations

from dataclasses import replace

from scsi_snap.inventory.records import PortalRecord, PortRecord, TargetRecord
from scsi_snap.scsi.identity import Identity, Personality
from tests.t7_iscsi.initiator import DISK, INITIATOR
from tests.t8_inventory.exporting import (
    CHECK_CONDITION,
    GOOD,
    INQUIRY_DEVICE,
    INQUIRY_SERIAL,
    MODE_SENSE,
    OTHER,
    RECORD,
    SNAPSHOT,
    VOLUME,
    WRITE,
    Exporting,
    exporting,
    free_address,
    unit,
)

ALICE, BOB = f"{INITIATOR}.alice", f"{INITIATOR}.bob"
LUNS_CHANGED, CAPACITY_CHANGED = (0x3F, 0x0E), (0x2A, 0x09)
POWER_ON, NEXUS_LOSS = (0x29, 0x00), (0x29, 0x07)
BOTH = replace(RECORD, ports=(PortRecord(1, 11), PortRecord(2, 12)))


def test_units_are_mapped_in_both_paths_and_taken_down() -> None:
    async def run(at: Exporting) -> None:
        at.exporter.map(DISK, 0, unit())
        at.exporter.map(DISK, 300, unit(SNAPSHOT))
        path = await at.path()
        assert set(path.native.luns) == {0, 0x412C << 48} == set(path.command_set.luns())
        at.exporter.unmap(DISK, 0)
        assert set(path.native.luns) == {0x412C << 48} == set(path.command_set.luns())
        at.exporter.remove_target(DISK)
        assert path.native.luns == {} and path.command_set.luns() == []

    exporting(run)


def test_a_target_with_one_unit_at_two_luns_is_taken_down() -> None:
    async def run(at: Exporting) -> None:
        at.exporter.map(DISK, 0, unit())
        at.exporter.map(DISK, 1, unit())
        path = await at.path()
        numbers = {number for number, _ in path.native.units.values()}
        assert len(numbers) == 1
        at.exporter.remove_target(DISK)
        assert path.native.luns == {} and path.command_set.luns() == []

    exporting(run)


def test_a_snapshot_is_another_unit_than_its_volume() -> None:
    async def run(at: Exporting) -> None:
        at.exporter.map(DISK, 0, unit())
        at.exporter.map(DISK, 1, unit(SNAPSHOT))
        path = await at.path()
        for page in (INQUIRY_SERIAL, INQUIRY_DEVICE):
            assert path.data(0, page) != path.data(1, page)

    exporting(run)


def test_each_initiator_sees_what_is_everybodys_and_its_own() -> None:
    async def run(at: Exporting) -> None:
        at.exporter.map(DISK, 0, unit(), (ALICE,))
        at.exporter.map(DISK, 0, unit(OTHER), (BOB,))
        at.exporter.map(DISK, 1, unit(SNAPSHOT))
        alice, bob = await at.path(ALICE), await at.path(BOB)
        stranger = await at.path()
        assert (alice.luns(), bob.luns(), stranger.luns()) == ([0, 1], [0, 1], [1])
        assert alice.data(0, INQUIRY_SERIAL) != bob.data(0, INQUIRY_SERIAL)
        assert alice.data(1, INQUIRY_SERIAL) == bob.data(1, INQUIRY_SERIAL)
        assert alice.native.units[0][0] != bob.native.units[0][0]
        assert alice.native.units[1 << 48] == bob.native.units[1 << 48]

    exporting(run)


def test_only_the_sessions_concerned_are_told_of_an_own_lun() -> None:
    async def run(at: Exporting) -> None:
        at.exporter.map(DISK, 0, unit())
        alice, again = await at.path(ALICE), await at.path(ALICE, isid=bytes(6))
        bob = await at.path(BOB)
        at.exporter.map(DISK, 5, unit(OTHER), (ALICE,))
        for one in (alice, again):
            assert one.attentions(0) == [LUNS_CHANGED]
            assert one.events == [(0, *LUNS_CHANGED)]
            assert one.luns() == [0, 5]
        assert (bob.attentions(0), bob.events, bob.luns()) == ([], [], [0])
        at.exporter.unmap(DISK, 5, (ALICE,))
        assert alice.attentions(0) == [LUNS_CHANGED] and alice.luns() == [0]
        assert (bob.attentions(0), bob.events) == ([], [])
        assert len(at.exporter.sessions()) == 3

    exporting(run)


def test_everybody_is_told_of_everybodys_luns_on_every_path() -> None:
    async def run(at: Exporting) -> None:
        await at.verb(at.exporter.add_portal, PortalRecord(free_address(), 2))
        at.exporter.map(DISK, 0, unit())
        here, there = at.addresses
        paths = [await at.path(ALICE, here), await at.path(ALICE, there), await at.path(BOB, there)]
        at.exporter.map(DISK, 1, unit(OTHER))
        for path in paths:
            assert path.attentions(0) == [LUNS_CHANGED] and path.luns() == [0, 1]
            assert path.events == [(0, *LUNS_CHANGED)]
        at.exporter.unmap(DISK, 0)
        for path in paths:
            assert path.events[1:] == [(1, *LUNS_CHANGED)]

    exporting(run, record=BOTH)


def test_both_paths_lead_to_one_unit_through_ports_of_their_own() -> None:
    """SPC-5, 7.7.6: relative target port identifier and port name in page 83h."""

    async def run(at: Exporting) -> None:
        await at.verb(at.exporter.add_portal, PortalRecord(free_address(), 2))
        at.exporter.map(DISK, 0, unit())
        by_group = {one.portal_group_tag: one.address for one in at.exporter.portals()}
        first, second = await at.path(address=by_group[1]), await at.path(address=by_group[2])
        assert first.data(0, INQUIRY_SERIAL) == second.data(0, INQUIRY_SERIAL)
        assert first.native.units == second.native.units
        assert first.native.luns[0] is second.native.luns[0]
        pages = [path.data(0, INQUIRY_DEVICE) for path in (first, second)]
        for tag, number, page in ((1, 11, pages[0]), (2, 12, pages[1])):
            assert f"{DISK},t,0x{tag:04x}".encode() in page
            assert bytes([0x51, 0x94, 0, 4]) + number.to_bytes(4, "big") in page
        # One unit: a reset by one path is told on both.
        first.command_set.task_management(first.number, 0, 5)
        assert len(second.attentions(0)) == 1

    exporting(run, record=BOTH)


def test_a_lun_is_read_only_where_it_is_mapped_so_and_nowhere_else() -> None:
    async def run(at: Exporting) -> None:
        at.exporter.map(DISK, 0, unit(), (ALICE,))
        at.exporter.map(DISK, 0, unit(), (BOB,), read_only=True)
        alice, bob = await at.path(ALICE), await at.path(BOB)
        assert (alice.native.units[0][1], bob.native.units[0][1]) == (False, True)
        status, sense, _ = bob.execute(0, WRITE, bytes(512))
        assert (status, sense[2], sense[12]) == (CHECK_CONDITION, 7, 0x27)
        assert alice.execute(0, WRITE, bytes(512))[0] == GOOD
        assert bob.data(0, MODE_SENSE)[2] & 0x80 and not alice.data(0, MODE_SENSE)[2] & 0x80

    exporting(run)


def test_another_unit_at_the_same_lun_is_told() -> None:
    async def run(at: Exporting) -> None:
        at.exporter.map(DISK, 0, unit())
        at.exporter.map(DISK, 1, unit(SNAPSHOT))
        path = await at.path()
        before = path.data(0, INQUIRY_SERIAL)
        at.exporter.map(DISK, 0, unit(OTHER))
        assert path.data(0, INQUIRY_SERIAL) != before
        assert path.attentions(1) == [LUNS_CHANGED]

    exporting(run)


def test_another_size_is_told_wherever_the_unit_is_seen() -> None:
    async def run(at: Exporting) -> None:
        at.exporter.map(DISK, 0, unit(), (ALICE,))
        at.exporter.map(DISK, 3, unit(), (BOB,))
        at.exporter.map(DISK, 4, unit(OTHER))
        alice, bob, stranger = await at.path(ALICE), await at.path(BOB), await at.path()
        at.exporter.capacity_changed(VOLUME)
        assert (alice.attentions(0), bob.attentions(3)) == ([CAPACITY_CHANGED],) * 2
        assert (alice.events, bob.events) == ([(0, *CAPACITY_CHANGED)], [(3, *CAPACITY_CHANGED)])
        assert (alice.attentions(4), stranger.events) == ([], [])

    exporting(run)


def test_a_unit_keeps_its_state_while_nobody_is_logged_in() -> None:
    async def run(at: Exporting) -> None:
        at.exporter.map(DISK, 0, unit())
        first = await at.path()
        number = first.native.units[0][0]
        at.exporter.close_session(first.number)
        await at.verb(at.exporter.housekeep)
        assert (await at.path()).native.units[0][0] == number

    exporting(run)


def test_who_comes_back_is_told_of_the_nexus_loss_alone() -> None:
    """SAM-5, 6.3: a view that is dropped meanwhile changes nothing of that."""

    async def run(at: Exporting) -> None:
        at.exporter.map(DISK, 0, unit())
        first = await at.path()
        at.exporter.close_session(first.number)
        await at.verb(at.exporter.housekeep)
        assert first.native.luns == {}
        again = await at.path()
        assert again.native is not first.native
        assert (first.begun_with[0], again.begun_with[0]) == ([POWER_ON], [NEXUS_LOSS])

    exporting(run)


def test_a_unit_knows_every_port_that_leads_to_it_logged_in_or_not() -> None:
    """What ALL_TG_PT registers, and REPORT TARGET PORT GROUPS lists (SPC-5)."""

    async def run(at: Exporting) -> None:
        at.exporter.set_target(TargetRecord(f"{DISK}2", "id", ports=(PortRecord(1, 13),)))
        at.exporter.map(DISK, 0, unit(), (ALICE,))
        shared = at.exporter._units.find(VOLUME)
        assert shared is not None

        def numbers() -> list[int]:
            ports = shared.logical_unit.nexuses.target_ports()
            return sorted(port.relative_identifier for port in ports)

        assert numbers() == [11, 12]
        await at.path(ALICE)
        at.exporter.map(f"{DISK}2", 5, unit())
        assert numbers() == [11, 12, 13]
        at.exporter.set_target(replace(BOTH, ports=BOTH.ports[:1]))
        assert numbers() == [11, 13]
        at.exporter.unmap(f"{DISK}2", 5)
        assert numbers() == [11]
        at.exporter.unmap(DISK, 0)
        assert at.exporter._units.find(VOLUME) is None

    exporting(run, record=BOTH)


def test_a_changed_personality_reaches_every_view_of_the_unit() -> None:
    async def run(at: Exporting) -> None:
        at.exporter.map(DISK, 0, unit())
        paths = await at.path(), await at.path(f"{INITIATOR}2")
        other = Personality(Identity(VOLUME, vendor="ACME", chosen_serial="A1"))
        at.exporter.personality_changed(VOLUME, other)
        at.exporter.personality_changed(SNAPSHOT, other)
        for path in paths:
            assert path.attentions(0) == [(0x3F, 0x03)]
            assert path.data(0, INQUIRY_SERIAL)[4:] == b"A1"

    exporting(run)
