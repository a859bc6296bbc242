"""Removable media: PREVENT ALLOW MEDIUM REMOVAL, and START STOP UNIT with LOEJ (SBC-3)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.t6_scsi.bus import GOOD, Bus, make_bus
from tests.t6_scsi.cluster import (
    BLOCK,
    PREEMPT,
    PREEMPT_AND_ABORT,
    READ_10,
    WRITE_10,
    Cluster,
    key_of,
)
from tests.t6_scsi.fakes import MemoryDevice
from tests.t6_scsi.senses import (
    MEDIUM_MAY_HAVE_CHANGED,
    NO_MEDIUM,
    REMOVAL_PREVENTED,
    fixed,
    in_cdb,
)

TEST_UNIT_READY = [0] * 6
REQUEST_SENSE = [0x03, 0, 0, 0, 252, 0]
EJECT, LOAD = [0x1B, 0, 0, 0, 0x02, 0], [0x1B, 0, 0, 0, 0x03, 0]
STOP, START = [0x1B, 0, 0, 0, 0x00, 0], [0x1B, 0, 0, 0, 0x01, 0]
PREVENT, ALLOW = [0x1E, 0, 0, 0, 1, 0], [0x1E, 0, 0, 0, 0, 0]


@pytest.fixture
def bus() -> Bus:
    made = make_bus(MemoryDevice(), removable=True)
    made.clear_attentions(2)
    return made


def test_the_unit_says_that_its_medium_is_removable(bus: Bus) -> None:
    assert bus.good([0x12, 0, 0, 0, 36, 0])[1] == 0x80


class TestEject:
    def test_the_medium_is_gone(self, bus: Bus) -> None:
        """NOT READY, MEDIUM NOT PRESENT, for every nexus and all that needs it."""
        bus.good(EJECT)
        assert bus.device.calls == [("flush", 0, 0)]
        for nexus in (1, 2):
            for cdb in (TEST_UNIT_READY, READ_10, WRITE_10, [0x25, *[0] * 9], START):
                assert bus.refused(cdb, BLOCK, nexus=nexus) == fixed(NO_MEDIUM)
            assert bus.gate.pending(nexus)
        assert bus.good(REQUEST_SENSE) == fixed(NO_MEDIUM)
        bus.good(EJECT)
        bus.good(STOP)
        assert bus.device.calls == [("flush", 0, 0)]

    def test_and_comes_back(self, bus: Bus) -> None:
        """Whoever loads it knows; the others learn that it may be another."""
        bus.good(EJECT)
        bus.good(LOAD)
        assert bus.good(READ_10) == bus.device.filled(7)
        assert bus.refused(READ_10, nexus=2) == fixed(MEDIUM_MAY_HAVE_CHANGED)
        assert not bus.gate.pending(1) and not bus.gate.pending(2)

    def test_loading_what_is_loaded_changes_nothing(self, bus: Bus) -> None:
        bus.good(LOAD)
        bus.good(TEST_UNIT_READY, nexus=2)

    def test_no_flush(self, bus: Bus) -> None:
        bus.good([0x1B, 0, 0, 0, 0x06, 0])
        assert bus.device.calls == []

    def test_a_flush_that_fails_leaves_it_in(self, bus: Bus) -> None:
        bus.device.fail = lambda call: "io-error"
        bus.refused(EJECT)
        bus.good(TEST_UNIT_READY)

    def test_a_reset_does_not_load(self, bus: Bus) -> None:
        bus.good(EJECT)
        bus.target.task_management(1, 0, 5)
        bus.good(REQUEST_SENSE)
        assert bus.refused(TEST_UNIT_READY) == fixed(NO_MEDIUM)

    def test_stopping_keeps_it_ready(self, bus: Bus) -> None:
        """Such a unit starts by itself."""
        bus.good(STOP)
        assert bus.device.calls == [("flush", 0, 0)]
        bus.good(TEST_UNIT_READY)
        assert not bus.gate.pending(1)

    @pytest.mark.parametrize("condition", range(1, 16))
    def test_a_power_condition_ejects_nothing(self, bus: Bus, condition: int) -> None:
        """SBC-3: with a power condition, LOEJ and START mean nothing."""
        bus.good([0x1B, 1, 0, 0, condition << 4 | 0x02, 0])
        bus.good(TEST_UNIT_READY)

    def test_a_fixed_medium(self) -> None:
        bus = make_bus(MemoryDevice())
        for cdb in (EJECT, LOAD):
            assert bus.refused(cdb) == in_cdb(4, bit=1)


class TestPrevent:
    def test_neither_out_nor_in(self, bus: Bus) -> None:
        bus.good(PREVENT)
        for nexus in (1, 2):
            assert bus.refused(EJECT, nexus=nexus) == fixed(REMOVAL_PREVENTED)
        bus.good(TEST_UNIT_READY)
        bus.good(ALLOW)
        bus.good(EJECT)
        bus.good(PREVENT)
        assert bus.refused(LOAD) == fixed(REMOVAL_PREVENTED)

    def test_each_nexus_for_itself(self, bus: Bus) -> None:
        bus.good(PREVENT)
        bus.good(PREVENT, nexus=2)
        bus.good(ALLOW, nexus=2)
        assert bus.refused(EJECT) == fixed(REMOVAL_PREVENTED)
        bus.good(ALLOW)
        bus.good(EJECT)

    @pytest.mark.parametrize(
        "end",
        [
            lambda bus: bus.lose(1),
            lambda bus: bus.target.task_management(1, 0, 11),
            lambda bus: bus.target.task_management(2, 0, 5),
            lambda bus: bus.target.task_management(2, 0, 6),
            lambda bus: bus.target.task_management(2, 0, 7),
        ],
        ids=["loss", "nexus reset", "unit reset", "warm reset", "cold reset"],
    )
    def test_what_ends_it(self, bus: Bus, end: Callable[[Bus], object]) -> None:
        bus.good(PREVENT)
        end(bus)
        bus.clear_attentions(2)
        bus.good(EJECT, nexus=2)

    @pytest.mark.parametrize(("action", "ends"), [(PREEMPT_AND_ABORT, True), (PREEMPT, False)])
    def test_fencing_ends_it(self, bus: Bus, action: int, ends: bool) -> None:
        """SPC-4, 5.13.11.2.6, h)."""
        cluster = Cluster(bus)
        cluster.join(1, 2)
        bus.good(PREVENT, nexus=2)
        assert cluster.out(1, action, key_of(1), key_of(2)) == GOOD
        assert (bus.command(EJECT)[0] == GOOD) is ends

    def test_values_that_are_obsolete(self, bus: Bus) -> None:
        for value in (2, 3):
            assert bus.refused([0x1E, 0, 0, 0, value, 0]) == in_cdb(4, bit=1)
