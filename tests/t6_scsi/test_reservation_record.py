"""What persists of reservations: saved before a command ends, and never half of it."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scsi_snap.scsi.initiator_names import canonical
from scsi_snap.scsi.nexus import InitiatorPort, TargetPort
from scsi_snap.scsi.record_store import StoreFailed
from scsi_snap.scsi.reservation_record import DamagedRecord, decode, encode
from scsi_snap.scsi.reservations import (
    ItNexus,
    PersistentReservations,
    Reservation,
    ReservationType,
)
from tests.budget import budget
from tests.t6_scsi.bus import CHECK_CONDITION, GOOD, Bus, make_bus
from tests.t6_scsi.cluster import (
    APTPL,
    BLOCK,
    CLEAR,
    EA,
    EA_RO,
    IGNORE_EXISTING_KEY,
    PREEMPT,
    READ_10,
    REGISTER,
    RELEASE,
    REPLACE_LOST,
    RESERVE,
    WE,
    WE_AR,
    WRITE_10,
    Cluster,
    basic,
    key_of,
)
from tests.t6_scsi.fakes import MemoryDevice
from tests.t6_scsi.senses import (
    INTERNAL_FAILURE,
    INVALID_RELEASE,
    POWER_ON,
    RESERVATIONS_LOST,
    fixed,
    in_list,
)

K1, K2 = key_of(1), key_of(2)


class MemoryStore:
    """A store that remembers each record, and may fail."""

    def __init__(self, data: bytes = b"") -> None:
        self.saved = [data]
        self.failing = False

    def load(self) -> bytes:
        if self.failing:
            raise StoreFailed("it cannot be read")
        return self.saved[-1]

    def save(self, data: bytes) -> None:
        if self.failing:
            raise StoreFailed("the disk is full")
        self.saved.append(data)

    def remove(self) -> None:
        self.saved.append(b"")


def powered_on(store: MemoryStore) -> Cluster:
    return Cluster(make_bus(MemoryDevice(), store))


class TestPersisting:
    def test_with_aptpl_everything_is_there_again(self) -> None:
        store = MemoryStore()
        cluster = powered_on(store)
        cluster.join(1, 2, flags=APTPL)
        cluster.reserve(1, EA_RO)
        again = powered_on(store)
        assert again.registered() == [K1, K2]
        assert again.reservation() == (K1, EA_RO)
        assert again.generation() == 0, "PRgeneration begins anew"
        again.bus.clear_attentions(3)
        assert again.writes(1) and not again.writes(3)
        again.bus.clear_attentions(2)
        assert again.writes(2)

    def test_the_gate_is_shut_from_the_beginning(self) -> None:
        store = MemoryStore()
        cluster = powered_on(store)
        cluster.join(1, flags=APTPL)
        cluster.reserve(1, EA)
        again = powered_on(store).bus
        again.begin(3)
        assert again.refused(READ_10, nexus=3) == fixed(POWER_ON)
        assert again.gate.pending(3) and not again.gate.pending(1)

    def test_without_aptpl_nothing_is_written(self) -> None:
        store = MemoryStore()
        cluster = powered_on(store)
        cluster.join(1)
        cluster.reserve(1, WE)
        assert store.saved == [b""]
        assert powered_on(store).registered() == []

    def test_the_last_aptpl_decides(self) -> None:
        """SPC-4, 5.13.5.1: whoever set it."""
        store = MemoryStore()
        cluster = powered_on(store)
        cluster.join(1, flags=APTPL)
        cluster.join(2)
        assert powered_on(store).registered() == []
        cluster.join(1, flags=APTPL)
        assert powered_on(store).registered() == [K1, K2]

    @pytest.mark.parametrize(
        ("action", "action_key", "kind"),
        [(RESERVE, 0, WE), (RELEASE, 0, WE), (PREEMPT, K2, WE), (CLEAR, 0, 0), (REGISTER, 9, 0)],
    )
    def test_each_change_is_saved_before_it_ends(
        self, action: int, action_key: int, kind: int
    ) -> None:
        store = MemoryStore()
        cluster = powered_on(store)
        cluster.join(1, 2, flags=APTPL)
        if action != RESERVE:
            cluster.reserve(1, WE)
        flags = APTPL if action == REGISTER else 0
        assert cluster.out(1, action, K1, action_key, kind, flags) == GOOD
        again = powered_on(store)
        assert again.registered() == cluster.registered()
        assert again.reservation() == cluster.reservation()

    @pytest.mark.parametrize("action", [RESERVE, CLEAR, IGNORE_EXISTING_KEY, PREEMPT])
    def test_what_cannot_be_saved_does_not_happen(self, action: int) -> None:
        store = MemoryStore()
        cluster = powered_on(store)
        cluster.join(1, 2, flags=APTPL)
        before = (cluster.registered(), cluster.reservation(), cluster.generation())
        store.failing = True
        answer = cluster.command(1, action, basic(K1, K2, 0), WE)
        assert answer == (CHECK_CONDITION, fixed(INTERNAL_FAILURE))
        assert (cluster.registered(), cluster.reservation(), cluster.generation()) == before
        assert cluster.learns(2) == []

    def test_what_changes_nothing_is_not_saved(self) -> None:
        store = MemoryStore()
        cluster = powered_on(store)
        cluster.join(1, 2, flags=APTPL)
        cluster.reserve(1, WE)
        records = len(store.saved)
        cluster.reserve(1, WE)
        assert cluster.out(2, RELEASE, K2, kind=WE) == GOOD
        assert len(store.saved) == records


def damaged() -> list[bytes]:
    """Records of which something is doubtful."""
    state = PersistentReservations(
        {nexus(1): K1}, Reservation(ReservationType.EXCLUSIVE_ACCESS, nexus(1)), 3, True
    )
    whole = encode(state)
    body = json.loads(whole.partition(b"\n")[2])
    holder, entry = body["reservation"], body["registrations"][0]
    forged = [
        [],
        {},
        {**body, "registrations": None},
        {**body, "registrations": [entry, entry]},
        {**body, "registrations": [{**entry, "key": "0"}]},
        {**body, "registrations": [{**entry, "isid": "00"}]},
        {**body, "registrations": [{**entry, "initiator": 7}]},
        {**body, "registrations": []},
        {**body, "reservation": {**holder, "type": 2}},
        {**body, "reservation": {**holder, "holder": 1}},
        {**body, "reservation": {**holder, "holder": None}},
        {**body, "reservation": {"type": 7, "holder": 0}},
        {"registrations": [], "reservation": {"type": 7, "holder": None}},
    ]
    signed = [titled(json.dumps(one).encode()) for one in forged]
    flipped = whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]
    return [whole[:-1], whole + b"\n", flipped, b"\0" * 4096, b"x", titled(b"{"), *signed]


def titled(body: bytes) -> bytes:
    return f"scsi-snap reservations 1 {hashlib.sha256(body).hexdigest()}\n".encode() + body


def nexus(number: int) -> ItNexus:
    port = TargetPort("iqn.2026-11.org.example:disk", 1, 1)
    return ItNexus(InitiatorPort(f"iqn.2026-11.org.example:h{number}", bytes(6)), port)


class TestLoss:
    """SPC-4, 5.13.5.3: nobody can say who is fenced, so nothing that could do harm is done."""

    @pytest.mark.parametrize("record", damaged())
    def test_a_damaged_record(self, record: bytes) -> None:
        with pytest.raises(DamagedRecord):
            decode(record)

    @pytest.fixture
    def bus(self) -> Bus:
        made = make_bus(MemoryDevice(), MemoryStore(b"damaged"))
        made.good([0x03, 0, 0, 0, 252, 0])
        return made

    def test_a_record_that_cannot_be_read_is_lost(self) -> None:
        store = MemoryStore()
        store.failing = True
        assert make_bus(MemoryDevice(), store).unit.reservations.lost == "it cannot be read"

    def test_what_is_refused_and_what_is_not(self, bus: Bus) -> None:
        assert bus.unit.reservations.lost is not None
        assert bus.gate.pending(1) and bus.gate.pending(99)
        registering = (0x5F, 0, 0, 0, 0, 0, 0, 0, 24, 0)
        reading_keys = (0x5E, 0, 0, 0, 0, 0, 0, 0, 8, 0)
        refused = [READ_10, WRITE_10, [0] * 6, [0x25, *[0] * 9], [0x16, *[0] * 5]]
        for cdb in (*refused, list(registering), list(reading_keys)):
            assert bus.refused(cdb, BLOCK) == fixed(RESERVATIONS_LOST)
        for allowed in ([0x12, 0, 0, 0, 36, 0], [0x1B, 0, 0, 0, 1, 0], [0x03, 0, 0, 0, 9, 0]):
            bus.good(allowed)

    @pytest.mark.parametrize("flags", [0, APTPL])
    def test_replacing_ends_it(self, flags: int) -> None:
        """SPC-4, 5.13.11.3."""
        store = MemoryStore(b"damaged")
        cluster = powered_on(store)
        cluster.bus.good([0x03, 0, 0, 0, 252, 0])
        assert cluster.out(1, REPLACE_LOST, 0, K1, EA_RO, flags) == GOOD
        assert cluster.bus.unit.reservations.lost is None
        assert (cluster.registered(), cluster.reservation()) == ([K1], (K1, EA_RO))
        assert cluster.generation() == 0
        cluster.bus.clear_attentions(2)
        assert cluster.writes(1) and not cluster.reads(2)
        assert not cluster.bus.gate.pending(1) and cluster.bus.gate.pending(2)
        assert powered_on(store).registered() == ([K1] if flags else [])
        assert cluster.command(1, REPLACE_LOST, basic(0, K1), WE)[1] == fixed(INVALID_RELEASE)

    def test_replacing_that_is_wrong(self, bus: Bus) -> None:
        cluster = Cluster(bus)
        assert cluster.command(1, REPLACE_LOST, basic(K1, K2), WE)[1] == in_list(0)
        assert cluster.command(1, REPLACE_LOST, basic(0, 0), WE)[1] == in_list(8)
        assert cluster.command(1, REPLACE_LOST, basic(0, K2, 4), WE)[1] == in_list(20, bit=2)
        assert bus.unit.reservations.lost is not None


def _is_canonical(name: str) -> bool:
    try:
        return canonical(name) == name
    except ValueError:
        return False


INITIATOR_NAMES = st.text(
    st.characters(exclude_categories=("C", "Lu", "Lt", "Z"), exclude_characters=",/"),
    min_size=1,
    max_size=55,
).filter(_is_canonical)
"""As a nexus has them: in the one spelling by which initiators are known."""

NEXUSES = st.builds(
    ItNexus,
    st.builds(InitiatorPort, INITIATOR_NAMES, st.binary(min_size=6, max_size=6)),
    st.builds(TargetPort, st.text(min_size=1, max_size=9), st.integers(0, 65535)),
)


@budget(100, 1)
@given(st.dictionaries(NEXUSES, st.integers(1, (1 << 64) - 1), min_size=1, max_size=5), st.data())
def test_a_record_says_what_was_saved(keys: dict[ItNexus, int], data: st.DataObject) -> None:
    holder = data.draw(st.sampled_from(list(keys)))
    kind = data.draw(st.sampled_from(ReservationType))
    held = Reservation(kind, None if kind.all_registrants else holder)
    state = PersistentReservations(keys, data.draw(st.sampled_from([None, held])), 7, True)
    again = decode(encode(state))
    assert (again.keys, again.reservation, again.persists) == (keys, state.reservation, True)
    assert list(again.keys) == list(keys)
    assert again.generation == 0


def test_a_record_in_bytes() -> None:
    """docs/formats/reservations.md."""
    state = PersistentReservations(
        {nexus(1): K1}, Reservation(ReservationType(WE_AR), None), 3, True
    )
    title, _, body = encode(state).partition(b"\n")
    assert title == b"scsi-snap reservations 1 " + hashlib.sha256(body).hexdigest().encode()
    assert json.loads(body) == {
        "registrations": [
            {
                "initiator": "iqn.2026-11.org.example:h1",
                "isid": "000000000000",
                "target": "iqn.2026-11.org.example:disk",
                "portal_group_tag": 1,
                "relative_port": 1,
                "key": "000000000000abc1",
            }
        ],
        "reservation": {"type": 7, "holder": None},
    }
