"""Mode parameters that outlive the process, and nexuses that begin without a word."""

from __future__ import annotations

import hashlib
import json

import pytest

from scsi_snap.scsi.identity import Identity, Personality
from scsi_snap.scsi.logical_unit import LogicalUnit
from scsi_snap.scsi.nexus import TargetPort
from scsi_snap.scsi.record_store import StoreFailed
from scsi_snap.scsi.target import Target
from tests.t6_scsi.bus import CHECK_CONDITION, GOOD, TARGET_NAME, UNIT_UUID, Bus, initiator
from tests.t6_scsi.fakes import MemoryDevice, MemoryEraser, RecordingGate
from tests.t6_scsi.modes import CACHING, CONTROL, D_SENSE, NO_WCE, SWP, select_6, with_bit
from tests.t6_scsi.senses import DEVICE_RESET, INTERNAL_FAILURE, MODE_CHANGED, POWER_ON, fixed

LOGICAL_UNIT_RESET = 5


class MemoryStore:
    """Fails when told to; `at_save` is the unit's WCE at each save."""

    def __init__(self) -> None:
        self.data, self.fails = b"", False
        self.unit: LogicalUnit | None = None
        self.at_save: list[bool] = []

    def _call(self) -> None:
        if self.fails:
            raise StoreFailed("the disk is full")

    def load(self) -> bytes:
        self._call()
        return self.data

    def save(self, data: bytes) -> None:
        self._call()
        assert self.unit is not None
        self.at_save.append(self.unit.mode_pages.write_cache_enabled)
        self.data = data

    def remove(self) -> None:
        self._call()
        self.data = b""


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def process(store: MemoryStore, device: MemoryDevice | None = None) -> Bus:
    """A process of its own, that nobody has been told of yet."""
    device = device or MemoryDevice()
    gate = RecordingGate()
    target = Target(TargetPort(TARGET_NAME), gate)
    unit = LogicalUnit(device, Personality(Identity(UNIT_UUID)), modes=store)
    store.unit = unit
    target.add_unit(0, unit)
    return Bus(device, unit, target, gate, MemoryEraser())


def taken_over(store: MemoryStore) -> Bus:
    """The next process, with a nexus of before."""
    bus = process(store)
    bus.begun.add(1)
    bus.target.nexus_begins(1, initiator(1), quietly=True)
    return bus


def page(bus: Bus, code: int) -> bytes:
    return bus.good([0x1A, 0x08, code, 0, 0xFF, 0])[4:]


class TestKept:
    def test_what_was_chosen_is_there_in_the_next_process(self, store: MemoryStore) -> None:
        before = process(store)
        before.clear_attentions(1)
        select_6(before, NO_WCE)
        select_6(before, SWP)
        after = taken_over(store)
        assert (page(after, 0x08), page(after, 0x0A)) == (NO_WCE, SWP)
        assert after.unit.write_protected

    def test_writes_of_the_next_process_are_durable(self, store: MemoryStore) -> None:
        before = process(store)
        before.clear_attentions(1)
        select_6(before, NO_WCE)
        after = taken_over(store)
        assert after.gate.declines_writes()
        after.good([0x2A, 0, *[0, 0, 0, 7], 0, *[0, 1], 0], bytes(512))
        assert after.device.calls == [("write", 7, 1), ("flush", 0, 0)]

    def test_it_is_durable_before_it_is_in_effect(self, store: MemoryStore) -> None:
        bus = process(store)
        bus.clear_attentions(1)
        select_6(bus, NO_WCE)
        assert store.at_save == [True]

    def test_nothing_is_kept_of_the_defaults(self, store: MemoryStore) -> None:
        bus = process(store)
        bus.clear_attentions(1)
        select_6(bus, NO_WCE)
        select_6(bus, CACHING)
        assert store.data == b""

    @pytest.mark.parametrize("how", ["reset", "close"])
    def test_what_ends_them(self, store: MemoryStore, how: str) -> None:
        bus = process(store)
        bus.clear_attentions(1)
        select_6(bus, NO_WCE + D_SENSE)
        getattr(bus.unit, how)()
        assert store.data == b""
        assert page(taken_over(store), 0x08) == CACHING

    def test_a_change_that_cannot_be_kept_is_none(self, store: MemoryStore) -> None:
        bus = process(store)
        bus.clear_attentions(1)
        bus.clear_attentions(2)
        store.fails = True
        data = bytes(4) + NO_WCE
        assert bus.refused([0x15, 0x10, 0, 0, len(data), 0], data) == fixed(INTERNAL_FAILURE)
        bus.good([0] * 6, nexus=2)
        assert page(bus, 0x08) == CACHING
        bus.unit.reset()

    def test_a_list_that_is_refused_leaves_what_was_kept(self, store: MemoryStore) -> None:
        bus = process(store)
        bus.clear_attentions(1)
        select_6(bus, NO_WCE)
        kept = store.data
        data = bytes(4) + with_bit(CONTROL, 3, 0x20)
        bus.refused([0x15, 0x10, 0, 0, len(data), 0], data)
        assert store.data == kept


def record(content: object) -> bytes:
    body = json.dumps(content).encode() + b"\n"
    return f"scsi-snap modes 1 {hashlib.sha256(body).hexdigest()}\n".encode() + body


class TestDamaged:
    @pytest.mark.parametrize(
        "data",
        [
            b"x",
            record({"0800": NO_WCE.hex()})[:-2],
            record({"0800": NO_WCE.hex()}).replace(b"modes 1", b"modes 2"),
            record([]),
            record({"0800": 1}),
            record({"0800": "no"}),
            record({"08": NO_WCE.hex()}),
            record({"080000": NO_WCE.hex()}),
            record({"1900": NO_WCE.hex()}),
            record({"0800": NO_WCE[:-1].hex()}),
            record({"0800": with_bit(NO_WCE, 1, 1).hex()}),
            record({"0800": with_bit(NO_WCE, 3, 1).hex()}),
            record({"0A00": SWP.hex(), "0800": SWP.hex()}),
        ],
    )
    def test_the_defaults_and_a_word_about_it(self, store: MemoryStore, data: bytes) -> None:
        store.data = data
        bus = taken_over(store)
        assert bus.refused([0] * 6) == fixed(POWER_ON)
        assert (page(bus, 0x08), page(bus, 0x0A)) == (CACHING, CONTROL)

    def test_a_record_that_cannot_be_read(self, store: MemoryStore) -> None:
        store.fails = True
        assert taken_over(store).refused([0] * 6) == fixed(POWER_ON)

    def test_what_was_written_is_read(self, store: MemoryStore) -> None:
        store.data = record({"0800": NO_WCE.hex()})
        assert page(taken_over(store), 0x08) == NO_WCE


class TestQuietNexus:
    def test_it_has_nothing_to_learn(self, store: MemoryStore) -> None:
        bus = taken_over(store)
        assert not bus.gate.pending(1)
        assert bus.command([0] * 6) == (GOOD, b"", b"", 0)

    def test_another_has(self, store: MemoryStore) -> None:
        bus = taken_over(store)
        assert bus.refused([0] * 6, nexus=2) == fixed(POWER_ON)

    def test_it_learns_what_comes_later(self, store: MemoryStore) -> None:
        bus = taken_over(store)
        bus.clear_attentions(2)
        select_6(bus, SWP, nexus=2)
        assert bus.gate.pending(1)
        assert bus.refused([0] * 6) == fixed(MODE_CHANGED)

    def test_once_lost_it_comes_back_like_any_other(self, store: MemoryStore) -> None:
        bus = taken_over(store)
        bus.lose(1)
        bus.begin(1)
        status, sense, _, _ = bus.command([0] * 6)
        assert (status, sense[12]) == (CHECK_CONDITION, 0x29)


class TestResetByWhoTellsOfIt:
    @pytest.fixture
    def bus(self) -> Bus:
        gate = RecordingGate()
        target = Target(TargetPort(TARGET_NAME), gate, tells_resets=True)
        device = MemoryDevice()
        unit = LogicalUnit(device, Personality(Identity(UNIT_UUID)))
        target.add_unit(0, unit)
        bus = Bus(device, unit, target, gate, MemoryEraser())
        bus.clear_attentions(1)
        return bus

    @pytest.fixture
    def other(self, bus: Bus) -> Bus:
        """The same unit in another target, whose transport tells nobody."""
        gate = RecordingGate()
        target = Target(TargetPort("iqn.2026-11.org.example:other"), gate)
        target.add_unit(0, bus.unit)
        other = Bus(bus.device, bus.unit, target, gate, bus.eraser)
        other.clear_attentions(2)
        return other

    def test_the_unit_is_reset_and_the_others_learn(self, bus: Bus, other: Bus) -> None:
        select_6(bus, NO_WCE)
        other.clear_attentions(2)
        assert bus.target.task_management(1, 0, LOGICAL_UNIT_RESET) == 0
        assert page(bus, 0x08) == CACHING
        assert other.refused([0] * 6, nexus=2) == fixed(DEVICE_RESET)

    def test_what_it_had_to_learn_before_the_reset_covers(self, bus: Bus, other: Bus) -> None:
        select_6(other, SWP, nexus=2)
        assert bus.target.task_management(1, 0, LOGICAL_UNIT_RESET) == 0
        assert not bus.gate.pending(1)
        bus.good([0] * 6)

    def test_a_reset_from_elsewhere_is_told(self, bus: Bus, other: Bus) -> None:
        assert other.target.task_management(2, 0, LOGICAL_UNIT_RESET) == 0
        assert bus.refused([0] * 6) == fixed(DEVICE_RESET)
