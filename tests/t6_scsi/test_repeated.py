"""Commands that a process had begun when it died: carried out again, they find out how far it was.

The first of two is what the dead process did, all of it or a part; the second comes `repeated`.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scsi_snap.scsi import opcodes
from scsi_snap.scsi.opcodes import OPERATIONS
from scsi_snap.scsi.reservations import PersistentReservations
from tests.budget import budget
from tests.t6_scsi.bus import CHECK_CONDITION, GOOD, RESERVATION_CONFLICT, Bus, expecting, make_bus
from tests.t6_scsi.cluster import (
    APTPL,
    CLEAR,
    EA,
    EA_AR,
    IGNORE_EXISTING_KEY,
    MOVE,
    PREEMPT,
    PREEMPT_AND_ABORT,
    REGISTER,
    RELEASE,
    REPLACE_LOST,
    RESERVE,
    SPEC_I_PT,
    WE,
    WE_RO,
    Cluster,
    basic,
    counted,
    key_of,
    moving,
    out_cdb,
    port_name,
    transport_id,
)
from tests.t6_scsi.fakes import MemoryDevice
from tests.t6_scsi.senses import MISCOMPARE, fixed
from tests.t6_scsi.test_atomic_commands import compare_and_write
from tests.t6_scsi.test_extended_copy import (
    ABORTED,
    Pair,
    aborted,
    blocks_segment,
    bytes_segment,
    copy_list,
    extended_copy,
)

K1, K2, K3 = key_of(1), key_of(2), key_of(3)


def again(bus: Bus, cdb: list[int], data: bytes, nexus: int = 1) -> tuple[int, bytes]:
    """Status and sense of a command that is given again."""
    status, sense, data_in, _ = bus.target.execute(
        nexus, 0, bytes(cdb), 1, data, expecting(data), True
    )
    assert data_in == b""
    return status, sense


def test_which_they_are() -> None:
    assert opcodes.once_codes() == {0x5F: True, 0x83: True, 0x89: False}
    # An outcome is a status and sense data.
    assert not any(each.once and "allocation_length" in each.layout for each in OPERATIONS)
    same_code = {(each.operation_code, each.once) for each in OPERATIONS}
    assert len(same_code) == len({code for code, _ in same_code})


class TestCompareAndWrite:
    OLD, NEW, OTHER = b"\x00" * 512, b"n" * 512, b"o" * 512

    def outcome(self, found: bytes) -> tuple[int, bytes, bytes]:
        """Status and sense where the medium holds `found`, and what it holds then. The blocks
        expected are two old ones, and two new are to be written.
        """
        device = MemoryDevice()
        bus = make_bus(device)
        device.data[: len(found)] = found
        status, sense = again(bus, compare_and_write(0, 2), self.OLD * 2 + self.NEW * 2)
        return status, sense, bytes(device.data[:1024])

    def test_it_had_not_begun(self) -> None:
        assert self.outcome(self.OLD * 2) == (GOOD, b"", self.NEW * 2)

    def test_it_had_been_done(self) -> None:
        assert self.outcome(self.NEW * 2) == (GOOD, b"", self.NEW * 2)

    @pytest.mark.parametrize("first", [True, False])
    def test_it_had_been_half_done(self, first: bool) -> None:
        """What the process had written of it is no miscompare, and is not left half written."""
        found = self.NEW + self.OLD if first else self.OLD + self.NEW
        assert self.outcome(found) == (GOOD, b"", self.NEW * 2)

    def test_another_has_written_there(self) -> None:
        found = self.NEW + self.OTHER
        miscompare = fixed(MISCOMPARE, information=0)
        assert self.outcome(found) == (CHECK_CONDITION, miscompare, found)

    def test_without_write_cache_it_is_durable(self, bus: Bus) -> None:
        new = self.NEW
        bus.device.data[:512] = new
        status, _ = again(bus, compare_and_write(0, 1, flags=0x08), self.OLD + new)
        assert (status, bus.device.calls[-1]) == (GOOD, ("flush", 0, 0))

    def test_only_a_repeated_one_is_so_taken(self, bus: Bus) -> None:
        bus.device.data[:512] = self.NEW
        sense = bus.refused(compare_and_write(0, 1), self.OLD + self.NEW)
        assert sense == fixed(MISCOMPARE, information=0)


class TestExtendedCopy:
    def repeat(self, pair: Pair, *segments: bytes) -> tuple[int, bytes]:
        data = copy_list(pair.cscds, [*segments])
        return again(pair.bus, extended_copy(len(data)), data)

    def test_one_that_does_not_write_where_it_reads_begins_again(self, pair: Pair) -> None:
        segments = blocks_segment(0, 1, 2, 0, 8), blocks_segment(0, 0, 4, 0, 4)
        assert self.repeat(pair, *segments) == (GOOD, b"")
        assert pair.other.block(8) == pair.bus.device.filled(0)
        assert pair.bus.device.block(7) == pair.bus.device.filled(3)

    @pytest.mark.parametrize(
        "segments",
        [
            [blocks_segment(0, 0, 4, 0, 3)],
            # A swap by way of the other unit.
            [
                blocks_segment(0, 1, 1, 0, 0),
                blocks_segment(0, 0, 1, 9, 0),
                blocks_segment(1, 0, 1, 0, 9),
            ],
            [bytes_segment(0, 0, 768, (0, 256), (1, 256))],
        ],
    )
    def test_one_that_does_is_aborted(self, pair: Pair, segments: list[bytes]) -> None:
        before = bytes(pair.bus.device.data)
        status, sense = self.repeat(pair, *segments)
        assert (status, sense[2] & 0xF) == (CHECK_CONDITION, ABORTED[0])
        assert sense == aborted(ABORTED, sense[11])
        assert bytes(pair.bus.device.data) == before


@pytest.fixture
def pair() -> Pair:
    return Pair()


class TestPersistentReserveOut:
    @pytest.fixture
    def cluster(self, bus: Bus) -> Cluster:
        return settled(bus)

    def repeat(
        self,
        cluster: Cluster,
        nexus: int,
        action: int,
        parameters: bytes,
        kind: int = 0,
    ) -> None:
        """Done, and done again: the second ends GOOD as well, changes nothing and tells nobody."""
        assert cluster.command(nexus, action, parameters, kind) == (GOOD, b"")
        self.repeat_only(cluster, nexus, action, parameters, kind)

    def repeat_only(
        self, cluster: Cluster, nexus: int, action: int, parameters: bytes, kind: int = 0
    ) -> None:
        after, told = state(cluster), attentions(cluster)
        cdb = out_cdb(action, len(parameters), kind)
        assert again(cluster.bus, cdb, parameters, nexus) == (GOOD, b"")
        assert (state(cluster), attentions(cluster)) == (after, told)

    def test_register(self, cluster: Cluster) -> None:
        self.repeat(cluster, 1, REGISTER, basic(0, K1))
        self.repeat(cluster, 1, REGISTER, basic(K1, K2))
        self.repeat(cluster, 1, REGISTER, basic(K2, K2, APTPL))
        self.repeat(cluster, 1, REGISTER, basic(K2, 0))

    def test_register_does_what_was_not_done(self, cluster: Cluster) -> None:
        """The key is there, and is not yet to persist."""
        cluster.join(1)
        assert again(cluster.bus, out_cdb(REGISTER, 24), basic(K1, K1, APTPL))[0] == GOOD
        assert cluster.bus.unit.reservations.read().persists

    def test_register_of_others(self, cluster: Cluster) -> None:
        ids = counted(transport_id(port_name(2)) + transport_id(port_name(3)))
        self.repeat(cluster, 1, REGISTER, basic(0, K1, SPEC_I_PT, ids))
        assert cluster.out(3, REGISTER, K1, K3) == GOOD
        cdb = out_cdb(REGISTER, len(ids) + 24)
        assert again(cluster.bus, cdb, basic(0, K1, SPEC_I_PT, ids))[0] == RESERVATION_CONFLICT

    def test_clear(self, cluster: Cluster) -> None:
        cluster.join(1, 2)
        cluster.reserve(2, WE)
        self.repeat(cluster, 1, CLEAR, basic(K1))

    def test_clear_is_not_taken_for_done_while_there_is_anybody(self, cluster: Cluster) -> None:
        cluster.join(1)
        assert again(cluster.bus, out_cdb(CLEAR, 24), basic(K2), 2)[0] == RESERVATION_CONFLICT

    @pytest.mark.parametrize("action", [PREEMPT, PREEMPT_AND_ABORT])
    @pytest.mark.parametrize("kind", [WE, EA, WE_RO, EA_AR])
    def test_preempt(self, cluster: Cluster, action: int, kind: int) -> None:
        cluster.join(1, 2, 3)
        cluster.reserve(2, kind)
        self.repeat(cluster, 1, action, basic(K1, K2), EA)
        self.repeat(cluster, 1, action, basic(K1, K3), EA)
        self.repeat(cluster, 1, action, basic(K1, K1), EA)

    def test_preempt_of_all_registrants(self, cluster: Cluster) -> None:
        cluster.join(1, 2, 3)
        cluster.reserve(2, EA_AR)
        self.repeat(cluster, 1, PREEMPT, basic(K1, 0), WE)

    def test_preempt_with_a_key_that_is_not_its_own(self, cluster: Cluster) -> None:
        cluster.join(1)
        cdb = out_cdb(PREEMPT, 24, EA)
        assert again(cluster.bus, cdb, basic(K3, K2))[0] == RESERVATION_CONFLICT
        assert again(cluster.bus, cdb, basic(K1, 0))[0] == CHECK_CONDITION

    @pytest.mark.parametrize("unregister", [0, 2])
    def test_register_and_move(self, cluster: Cluster, unregister: int) -> None:
        cluster.join(1)
        cluster.reserve(1, EA)
        to = transport_id(port_name(2))
        self.repeat(cluster, 1, MOVE, moving(K1, K2, to, port=1, flags=unregister))

    def test_replace_lost(self, cluster: Cluster) -> None:
        cluster.bus.unit.reservations.lost = "it was overwritten"
        self.repeat(cluster, 1, REPLACE_LOST, basic(0, K1), EA)
        cdb = out_cdb(REPLACE_LOST, 24, WE)
        assert again(cluster.bus, cdb, basic(0, K1))[0] == CHECK_CONDITION


STEP = st.tuples(
    st.sampled_from([1, 2]),
    st.sampled_from(
        [REGISTER, RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT_AND_ABORT, IGNORE_EXISTING_KEY]
    ),
    st.sampled_from([0, K1, K2]),
    st.sampled_from([0, K1, K2]),
    st.sampled_from([WE, EA, WE_RO, EA_AR]),
    st.sampled_from([0, APTPL]),
)


@given(steps=st.lists(STEP, max_size=12))
@budget(examples=60, steps=12)
def test_whatever_ended_good_ends_good_again(
    steps: list[tuple[int, int, int, int, int, int]],
) -> None:
    bus = make_bus(MemoryDevice())
    cluster = settled(bus)
    for nexus, action, key, action_key, kind, flags in steps:
        for each in (1, 2, 3):
            bus.clear_attentions(each)
        data = basic(key, action_key, flags)
        if cluster.command(nexus, action, data, kind)[0] != GOOD:
            continue
        after, told = state(cluster), attentions(cluster)
        assert again(bus, out_cdb(action, len(data), kind), data, nexus) == (GOOD, b"")
        assert (state(cluster), attentions(cluster)) == (after, told)


def settled(bus: Bus) -> Cluster:
    """Three nodes that nothing is pending for."""
    for nexus in (1, 2, 3):
        bus.clear_attentions(nexus)
    return Cluster(bus)


def state(cluster: Cluster) -> tuple[object, ...]:
    """All but PRgeneration, which counts what does nothing as well."""
    now: PersistentReservations = cluster.bus.unit.reservations.read()
    return dict(now.keys), now.reservation, now.persists


def attentions(cluster: Cluster) -> list[object]:
    nexuses = cluster.bus.unit.nexuses
    return [nexuses.waiting(itl) for itl in nexuses.known()]
