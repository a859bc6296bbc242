"""Who may do what while a unit is reserved, and that the fast path only keeps the pace of those."""

from __future__ import annotations

import pytest

from scsi_snap.scsi.nexus import TargetPort
from scsi_snap.scsi.opcodes import OPERATIONS
from scsi_snap.scsi.operation import Access
from scsi_snap.scsi.target import Target
from tests.t6_scsi.bus import GOOD, RESERVATION_CONFLICT, Bus, expecting, initiator
from tests.t6_scsi.cluster import (
    BLOCK,
    CLEAR,
    EA,
    EA_AR,
    EA_RO,
    MOVE,
    PREEMPT,
    PREEMPT_AND_ABORT,
    READ_10,
    REGISTER,
    RELEASE,
    REPLACE_LOST,
    RESERVE,
    TYPES,
    WE,
    WE_AR,
    WE_RO,
    WRITE_10,
    Cluster,
    basic,
    key_of,
    moving,
    port_name,
    transport_id,
)
from tests.t6_scsi.fakes import RecordingGate
from tests.t6_scsi.senses import (
    CAPACITY_CHANGED,
    DEVICE_RESET,
    INVALID_RELEASE,
    NEXUS_LOSS,
    POWER_ON,
    REGISTRATIONS_PREEMPTED,
    fixed,
)

TEST_UNIT_READY = [0] * 6
RESERVE_6, RELEASE_6 = [0x16, *[0] * 5], [0x17, *[0] * 5]
RESERVE_10, RELEASE_10 = [0x56, *[0] * 9], [0x57, *[0] * 9]
LUN_RESET, WARM_RESET, COLD_RESET = 5, 6, 7
READS, WRITES, ALWAYS = "R", "W", "-"

PUBLISHED = {
    # SPC-4, table 65 and SBC-4, table 13. R: Allowed, Conflict, Allowed, Allowed, Conflict; W:
    # Conflict, Conflict, Allowed, Conflict, Conflict; -: Allowed.
    "TEST UNIT READY": ALWAYS,
    "REQUEST SENSE": ALWAYS,
    "READ (6)": READS,
    "WRITE (6)": WRITES,
    "INQUIRY": ALWAYS,
    "MODE SELECT (6)": WRITES,
    "MODE SENSE (6)": READS,
    "READ CAPACITY (10)": ALWAYS,
    "READ (10)": READS,
    "WRITE (10)": WRITES,
    "WRITE AND VERIFY (10)": WRITES,
    "VERIFY (10)": READS,
    "PRE-FETCH (10)": READS,
    "SYNCHRONIZE CACHE (10)": WRITES,
    "READ DEFECT DATA (10)": READS,
    "READ DEFECT DATA (12)": READS,
    "WRITE SAME (10)": WRITES,
    "UNMAP": WRITES,
    "SANITIZE / OVERWRITE": WRITES,
    "SANITIZE / BLOCK ERASE": WRITES,
    "SANITIZE / EXIT FAILURE MODE": WRITES,
    "FORMAT UNIT": WRITES,
    "LOG SELECT": WRITES,
    "LOG SENSE": ALWAYS,
    "MODE SELECT (10)": WRITES,
    "MODE SENSE (10)": READS,
    "EXTENDED COPY (LID1)": WRITES,
    "RECEIVE COPY STATUS (LID1)": ALWAYS,
    "RECEIVE COPY DATA (LID1)": ALWAYS,
    "RECEIVE COPY OPERATING PARAMETERS": ALWAYS,
    "RECEIVE COPY FAILURE DETAILS (LID1)": ALWAYS,
    "RECEIVE DIAGNOSTIC RESULTS": READS,
    "SEND DIAGNOSTIC": WRITES,
    "READ (16)": READS,
    "COMPARE AND WRITE": WRITES,
    "WRITE (16)": WRITES,
    "ORWRITE (16)": WRITES,
    "WRITE AND VERIFY (16)": WRITES,
    "VERIFY (16)": READS,
    "PRE-FETCH (16)": READS,
    "SYNCHRONIZE CACHE (16)": WRITES,
    "WRITE SAME (16)": WRITES,
    "WRITE ATOMIC (16)": WRITES,
    "READ CAPACITY (16)": ALWAYS,
    "GET LBA STATUS": READS,
    "REPORT LUNS": ALWAYS,
    "REPORT IDENTIFYING INFORMATION": ALWAYS,
    "SET IDENTIFYING INFORMATION": WRITES,
    "REPORT TARGET PORT GROUPS": ALWAYS,
    "REPORT SUPPORTED OPERATION CODES": READS,
    "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS": READS,
    "READ (12)": READS,
    "WRITE (12)": WRITES,
    "WRITE AND VERIFY (12)": WRITES,
    "VERIFY (12)": READS,
}
"""Those that are not offered do no harm here; all that are offered have to be here."""

SPECIAL = {"START STOP UNIT", "PREVENT ALLOW MEDIUM REMOVAL"}
"""Here it depends on the CDB."""

each_offered = pytest.mark.parametrize(
    "operation",
    [one for one in OPERATIONS if one.name in PUBLISHED],
    ids=lambda one: one.name,
)


@pytest.fixture
def cluster(bus: Bus) -> Cluster:
    """Node 1 and 2 are registered, 3 is not; nothing is pending."""
    made = Cluster(bus)
    made.join(1, 2)
    bus.clear_attentions(3)
    return made


@each_offered
@pytest.mark.parametrize("kind", TYPES)
def test_what_conflicts_is_what_the_tables_say(
    cluster: Cluster, operation: object, kind: int
) -> None:
    one = next(each for each in OPERATIONS if each is operation)
    cluster.reserve(1, kind)
    cdb = [one.operation_code, one.service_action or 0, *[0] * 30]
    allowed = PUBLISHED[one.name] == ALWAYS or (
        PUBLISHED[one.name] == READS and kind in (WE, WE_RO, WE_AR)
    )
    assert cluster.bus.conflicts(cdb, nexus=3) is not allowed
    registered = kind not in (WE, EA)
    assert cluster.bus.conflicts(cdb, nexus=2) is not (allowed or registered)
    assert not cluster.bus.conflicts(cdb, nexus=1)


def test_every_command_is_looked_at() -> None:
    about = {one.name for one in OPERATIONS if one.access is Access.RESERVATION}
    for name in about:
        assert name.startswith(("PERSISTENT RESERVE", "RESERVE (", "RELEASE ("))
    long_ones = {one.name for one in OPERATIONS if one.name.endswith("(32)")}
    assert {one.name for one in OPERATIONS} - about - long_ones <= set(PUBLISHED) | SPECIAL


@pytest.mark.parametrize("kind", TYPES)
def test_start_stop_unit(cluster: Cluster, kind: int) -> None:
    """SBC-4, table 13: to start is allowed, all else conflicts."""
    cluster.reserve(1, kind)
    assert not cluster.bus.conflicts([0x1B, 0, 0, 0, 0x01, 0], nexus=3)
    assert cluster.bus.conflicts([0x1B, 0, 0, 0, 0x00, 0], nexus=3)
    assert cluster.bus.conflicts([0x1B, 0, 0, 0, 0x11, 0], nexus=3)


@pytest.mark.parametrize("kind", TYPES)
def test_prevent_allow_medium_removal(cluster: Cluster, kind: int) -> None:
    cluster.reserve(1, kind)
    assert not cluster.bus.conflicts([0x1E, 0, 0, 0, 0x00, 0], nexus=3)
    assert cluster.bus.conflicts([0x1E, 0, 0, 0, 0x01, 0], nexus=3)


@pytest.mark.parametrize(
    ("action", "registered", "unregistered"),
    [
        (CLEAR, True, False),
        (PREEMPT, True, False),
        (PREEMPT_AND_ABORT, True, False),
        (REGISTER, True, True),
        (RELEASE, True, False),
        (RESERVE, False, False),
        (MOVE, False, False),
    ],
)
def test_persistent_reserve_out(
    cluster: Cluster, action: int, registered: bool, unregistered: bool
) -> None:
    """SPC-4, table 66."""

    def conflicts(nexus: int, key: int) -> bool:
        parameters = basic(key, key_of(1))
        if action == MOVE:
            parameters = moving(key, key_of(3), transport_id(port_name(4)), port=1)
        return cluster.command(nexus, action, parameters, EA)[0] == RESERVATION_CONFLICT

    cluster.reserve(1, EA)
    assert conflicts(3, 0) is not unregistered
    assert conflicts(2, key_of(2)) is not registered


def test_a_conflict_comes_before_other_errors(cluster: Cluster) -> None:
    """SAM-5, 5.3.3."""
    cluster.reserve(1, EA)
    far = [0x28, 0xE0, *[0xFF] * 4, 0, *[0, 1], 0]
    assert cluster.bus.conflicts(far, nexus=3)
    assert cluster.bus.device.calls == []


class TestUnitAttentionAndConflict:
    """SAM-5, 5.3.3: what tells of a reset comes first, then the conflict, then the rest."""

    def test_a_nexus_that_begins(self, cluster: Cluster) -> None:
        cluster.reserve(1, EA)
        assert cluster.bus.refused(READ_10, nexus=4) == fixed(POWER_ON)
        assert cluster.bus.conflicts(READ_10, nexus=4)
        cluster.bus.lose(4)
        assert cluster.bus.refused(READ_10, nexus=4) == fixed(NEXUS_LOSS)

    def test_a_reset(self, cluster: Cluster) -> None:
        cluster.reserve(1, EA)
        cluster.bus.target.task_management(1, 0, LUN_RESET)
        assert cluster.bus.refused(READ_10, nexus=3) == fixed(DEVICE_RESET)
        assert cluster.bus.conflicts(READ_10, nexus=3)

    def test_another_attention_stays_until_there_is_no_conflict(self, cluster: Cluster) -> None:
        cluster.reserve(1, EA_RO)
        cluster.bus.unit.capacity_changed()
        assert cluster.bus.conflicts(READ_10, nexus=3)
        assert cluster.bus.refused(READ_10, nexus=2) == fixed(CAPACITY_CHANGED)
        assert cluster.bus.refused(TEST_UNIT_READY, nexus=3) == fixed(CAPACITY_CHANGED)

    def test_who_was_fenced_sees_a_conflict_and_learns_why(self, cluster: Cluster) -> None:
        cluster.reserve(1, EA_RO)
        assert cluster.out(1, PREEMPT, key_of(1), key_of(2)) == GOOD
        assert not cluster.writes(2)
        assert cluster.learns(2) == [REGISTRATIONS_PREEMPTED]


class TestFastPath:
    """The gate: a nexus that may conflict comes up here, everyone else keeps the pace."""

    @pytest.mark.parametrize("kind", TYPES)
    def test_who_is_let_through(self, cluster: Cluster, kind: int) -> None:
        gate = cluster.bus.gate
        cluster.reserve(1, kind)
        assert not gate.pending(1)
        assert gate.pending(2) is (kind in (WE, EA))
        assert gate.pending(3)
        assert not gate.pending(99), "the gate is shut for everyone"

    @pytest.mark.parametrize("kind", TYPES)
    def test_a_nexus_that_begins_later(self, cluster: Cluster, kind: int) -> None:
        """It is stopped by what it has to learn, and then by the reservation."""
        bus = cluster.bus
        cluster.reserve(1, kind)
        bus.begin(4)
        assert bus.gate.pending(4)
        assert bus.refused(TEST_UNIT_READY, nexus=4) == fixed(POWER_ON)
        assert bus.gate.pending(4)
        assert not cluster.writes(4)

    @pytest.mark.parametrize("kind", TYPES)
    def test_a_registrant_that_comes_back(self, cluster: Cluster, kind: int) -> None:
        bus = cluster.bus
        cluster.reserve(1, kind)
        bus.lose(1)
        bus.begin(1)
        bus.clear_attentions(1)
        assert not bus.gate.pending(1)
        assert cluster.reads(1) and cluster.writes(1)

    def test_the_same_nexus_on_another_target_port(self, cluster: Cluster) -> None:
        cluster.reserve(1, EA_RO)
        gate = RecordingGate()
        other = Target(TargetPort("iqn.2026-11.org.example:other", 1, 2), gate)
        other.nexus_begins(8, initiator(1))
        other.add_unit(0, cluster.bus.unit)
        other.execute(8, 0, bytes(6), 1, b"", expecting(b""))
        assert gate.pending(8)

    def test_each_change_opens_and_shuts(self, cluster: Cluster) -> None:
        gate = cluster.bus.gate
        cluster.reserve(1, EA_RO)
        cluster.join(3)
        assert not gate.pending(3)
        assert cluster.out(3, REGISTER, key_of(3), 0) == GOOD
        assert gate.pending(3)
        assert cluster.out(1, RELEASE, key_of(1), kind=EA_RO) == GOOD
        assert not gate.pending(3)
        assert gate.pending(2), "it has to learn of the release"
        cluster.learns(2)
        assert not gate.pending(2)

    def test_preempting_shuts_before_it_ends(self, cluster: Cluster) -> None:
        cluster.reserve(1, WE_RO)
        assert cluster.out(1, PREEMPT, key_of(1), key_of(2)) == GOOD
        assert cluster.bus.gate.pending(2)
        cluster.learns(2)
        assert cluster.bus.gate.pending(2)

    def test_an_attention_reported_does_not_open(self, cluster: Cluster) -> None:
        cluster.reserve(1, EA_AR)
        cluster.bus.unit.capacity_changed()
        cluster.learns(3)
        assert cluster.bus.gate.pending(3)
        assert not cluster.reads(3)

    def test_reserve_and_release(self, cluster: Cluster) -> None:
        assert cluster.out(1, CLEAR, key_of(1)) == GOOD
        cluster.learns(2)
        cluster.bus.good(RESERVE_6)
        assert not cluster.bus.gate.pending(1) and cluster.bus.gate.pending(2)
        cluster.bus.lose(1)
        assert not cluster.bus.gate.pending(2)


@pytest.mark.parametrize(("reserve", "release"), [(RESERVE_6, RELEASE_6), (RESERVE_10, RELEASE_10)])
class TestReserve:
    """RESERVE and RELEASE as SPC-2 has them."""

    def test_the_unit_is_of_one_nexus(
        self, bus: Bus, reserve: list[int], release: list[int]
    ) -> None:
        bus.clear_attentions(2)
        bus.good(reserve)
        bus.good(reserve)
        bus.good(READ_10)
        bus.good(WRITE_10, BLOCK)
        mode_sense = [0x1A, 0, 0x3F, 0, 255, 0]
        for cdb in (READ_10, WRITE_10, TEST_UNIT_READY, mode_sense, reserve):
            assert bus.conflicts(cdb, BLOCK, nexus=2)
        for allowed in ([0x12, 0, 0, 0, 36, 0], [0x25, *[0] * 9], release):
            bus.good(allowed, nexus=2)
        assert bus.conflicts(READ_10, nexus=2), "another nexus has released it"
        bus.good(release)
        bus.good(READ_10, nexus=2)

    @pytest.mark.parametrize("function", [LUN_RESET, WARM_RESET, COLD_RESET])
    def test_a_reset_releases(
        self, bus: Bus, reserve: list[int], release: list[int], function: int
    ) -> None:
        bus.good(reserve)
        bus.target.task_management(1, 0, function)
        bus.clear_attentions(2)
        bus.good(READ_10, nexus=2)
        bus.clear_attentions(1)
        bus.good(release)

    def test_the_loss_of_the_nexus_releases(
        self, bus: Bus, reserve: list[int], release: list[int]
    ) -> None:
        bus.clear_attentions(2)
        bus.good(reserve)
        bus.lose(1)
        bus.good(READ_10, nexus=2)
        bus.good(release, nexus=2)

    def test_persistent_reservations_conflict_with_it(
        self, bus: Bus, reserve: list[int], release: list[int]
    ) -> None:
        """SPC-2: regardless of initiator and service action."""
        bus.clear_attentions(2)
        bus.good(reserve)
        for nexus in (1, 2):
            assert bus.conflicts([0x5E, 0, 0, 0, 0, 0, 0, 0, 8, 0], nexus=nexus)
            assert Cluster(bus).out(nexus, REGISTER, 0, 1) == RESERVATION_CONFLICT
        bus.good(release)
        assert Cluster(bus).out(1, REGISTER, 0, 1) == GOOD

    def test_it_conflicts_while_anybody_is_registered(
        self, cluster: Cluster, reserve: list[int], release: list[int]
    ) -> None:
        for cdb in (reserve, release):
            assert cluster.bus.conflicts(cdb)
            assert cluster.bus.conflicts(cdb, nexus=3)

    @pytest.mark.parametrize("kind", TYPES)
    def test_compatible_handling(
        self, cluster: Cluster, reserve: list[int], release: list[int], kind: int
    ) -> None:
        """SPC-4, 5.13.3: of a holder, or a registrant where that suffices, GOOD and nothing."""
        cluster.reserve(1, kind)
        for cdb in (reserve, release):
            cluster.bus.good(cdb)
            assert cluster.bus.conflicts(cdb, nexus=2) is (kind in (WE, EA))
            assert cluster.bus.conflicts(cdb, nexus=3)
        assert cluster.reservation() is not None
        assert cluster.registered() == [key_of(1), key_of(2)]


def test_third_parties_and_extents_are_obsolete(bus: Bus) -> None:
    for bit, mask in ((4, 0x10), (0, 0x01)):
        assert bus.refused([0x16, mask, *[0] * 4])[15:18] == bytes([0xC8 | bit, 0, 1])


def test_replacing_conflicts_with_nobody(cluster: Cluster) -> None:
    cluster.reserve(1, EA)
    status, sense = cluster.command(3, REPLACE_LOST, basic(0, 1), WE)
    assert (status, sense) == (2, fixed(INVALID_RELEASE))
