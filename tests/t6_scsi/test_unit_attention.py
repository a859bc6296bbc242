"""Unit attentions, resets, START STOP UNIT, and what the gate is told of them."""

from dataclasses import replace
from uuid import UUID

import pytest

from scsi_snap.scsi.identity import Identity
from scsi_snap.scsi.limits import NEXUSES_REMEMBERED
from scsi_snap.scsi.logical_unit import LogicalUnit
from scsi_snap.scsi.nexus import TargetPort
from scsi_snap.scsi.request import Expected, ExpectedDirection, NexusId, Request
from scsi_snap.scsi.sense import SenseCode
from scsi_snap.scsi.target import Target
from tests.t6_scsi.bus import Bus, expecting, initiator, make_bus
from tests.t6_scsi.fakes import MemoryDevice
from tests.t6_scsi.modes import CACHING, NO_WCE, SWP, select_6
from tests.t6_scsi.senses import (
    CAPACITY_CHANGED,
    DEVICE_RESET,
    INQUIRY_CHANGED,
    INVALID_OPCODE,
    LUN_NOT_SUPPORTED,
    LUNS_CHANGED,
    NEXUS_LOSS,
    NOT_READY_START_IT,
    POWER_ON,
    THRESHOLD_REACHED,
    WRITE_PROTECTED,
    fixed,
    in_cdb,
)

READ_10 = [0x28, 0, *[0, 0, 0, 7], 0, *[0, 1], 0]
INQUIRY = [0x12, 0, 0, 0, 36, 0]
REPORT_LUNS = [0xA0, 0, 0, 0, 0, 0, *[0, 0, 0, 64], 0, 0]
REQUEST_SENSE = [0x03, 0, 0, 0, 252, 0]
TEST_UNIT_READY = [0] * 6
STOP, START = [0x1B, 0, 0, 0, 0x00, 0], [0x1B, 0, 0, 0, 0x01, 0]
CLEAR_TASK_SET, LOGICAL_UNIT_RESET, TARGET_WARM_RESET = 4, 5, 6


NOTHING = Expected(ExpectedDirection.NONE, 0)


class TestUnitAttention:
    def test_the_first_command_of_a_nexus_learns_of_power_on(self, bus: Bus) -> None:
        """SAM-5; the command is not carried out, and the next one is."""
        assert bus.refused(READ_10, nexus=2) == fixed(POWER_ON)
        assert bus.device.calls == []
        assert bus.good(READ_10, nexus=2) == bus.device.filled(7)

    def test_it_comes_before_other_errors(self, bus: Bus) -> None:
        assert bus.refused([0xFF] + [0] * 15, nexus=2) == fixed(POWER_ON)
        assert bus.refused([0xFF] + [0] * 15, nexus=2) == fixed(INVALID_OPCODE)

    def test_inquiry_and_report_luns_leave_it_pending(self, bus: Bus) -> None:
        bus.good(INQUIRY, nexus=2)
        bus.good(REPORT_LUNS, nexus=2)
        assert bus.refused(TEST_UNIT_READY, nexus=2) == fixed(POWER_ON)

    def test_request_sense_reports_and_clears_it(self, bus: Bus) -> None:
        assert bus.good(REQUEST_SENSE, nexus=2) == fixed(POWER_ON)
        bus.good(TEST_UNIT_READY, nexus=2)

    def test_request_sense_without_anything_to_say(self, bus: Bus) -> None:
        assert bus.good(REQUEST_SENSE) == fixed((0, 0, 0))
        assert bus.good([0x03, 1, 0, 0, 252, 0]) == bytes([0x72, *[0] * 7])
        assert bus.good([0x03, 0, 0, 0, 4, 0]) == fixed((0, 0, 0))[:4]

    def test_a_nexus_that_was_lost_begins_anew(self, bus: Bus) -> None:
        """SAM-5: the same initiator port learns of the loss, and of nothing older."""
        bus.unit.capacity_changed()
        bus.lose(1)
        assert bus.refused(TEST_UNIT_READY) == fixed(NEXUS_LOSS)
        bus.good(TEST_UNIT_READY)

    def test_capacity_changed(self, bus: Bus) -> None:
        bus.clear_attentions(2)
        bus.device.data += bytes(512)
        bus.unit.capacity_changed()
        bus.unit.capacity_changed()
        for nexus in (1, 2):
            assert bus.refused(READ_10, nexus=nexus) == fixed(CAPACITY_CHANGED)
            assert bus.good([0x25, *[0] * 9], nexus=nexus)[3] == 64

    def test_a_reset_takes_the_place_of_what_was_pending(self, bus: Bus) -> None:
        bus.unit.capacity_changed()
        assert bus.target.task_management(1, 0, LOGICAL_UNIT_RESET) == 0
        assert bus.refused(TEST_UNIT_READY) == fixed(DEVICE_RESET)
        bus.good(TEST_UNIT_READY)

    def test_a_power_on_says_more_than_a_reset(self, bus: Bus) -> None:
        """SAM-5, 5.14: what is lower is not reported beside it."""
        bus.begin(2)
        bus.target.task_management(1, 0, LOGICAL_UNIT_RESET)
        assert bus.refused(TEST_UNIT_READY, nexus=2) == fixed(POWER_ON)
        bus.good(TEST_UNIT_READY, nexus=2)

    def test_a_reset_says_more_than_a_loss(self, bus: Bus) -> None:
        bus.lose(1)
        bus.begin(1)
        bus.target.task_management(1, 0, LOGICAL_UNIT_RESET)
        assert bus.refused(TEST_UNIT_READY) == fixed(DEVICE_RESET)
        bus.good(TEST_UNIT_READY)

    def test_the_rest_comes_in_its_order_and_once(self, bus: Bus) -> None:
        bus.clear_attentions(2)
        changed = replace(bus.unit.personality, removable=True)
        for _ in range(2):
            bus.unit.nexuses.establish(SenseCode.THIN_PROVISIONING_SOFT_THRESHOLD_REACHED)
            bus.unit.inquiry_changed(changed)
            bus.unit.capacity_changed()
        for nexus in (1, 2):
            for condition in (THRESHOLD_REACHED, INQUIRY_CHANGED, CAPACITY_CHANGED):
                assert bus.refused(TEST_UNIT_READY, nexus=nexus) == fixed(condition)
            bus.good(TEST_UNIT_READY, nexus=nexus)

    def test_another_personality_is_in_effect(self, bus: Bus) -> None:
        bus.unit.inquiry_changed(replace(bus.unit.personality, removable=True, read_only=True))
        assert bus.good(INQUIRY)[1] == 0x80
        assert bus.gate.declines_writes()
        bus.clear_attentions(1)
        assert not bus.gate.pending(1)
        assert bus.refused([0x2A, *READ_10[1:]], bytes(512)) == fixed(WRITE_PROTECTED)

    def test_clear_task_set_tells_nobody(self, bus: Bus) -> None:
        """SAM-5, 7.3: each nexus has its own task set (TST), so nobody else's commands ended."""
        bus.clear_attentions(2)
        assert bus.target.task_management(1, 0, CLEAR_TASK_SET) == 0
        bus.good(TEST_UNIT_READY)
        bus.good(TEST_UNIT_READY, nexus=2)

    def test_the_same_session_name_on_another_unit_is_not_lost(self, bus: Bus) -> None:
        bus.target.add_unit(1, LogicalUnit(MemoryDevice(), bus.unit.personality))
        bus.lose(1)
        bus.target.remove_unit(1)
        bus.target.add_unit(1, LogicalUnit(MemoryDevice(), bus.unit.personality))
        assert bus.refused(TEST_UNIT_READY, lun=1 << 48) == fixed(POWER_ON)

    def test_what_is_remembered_has_a_limit(self, bus: Bus) -> None:
        """Who was forgotten learns of a power on, which says more than a loss."""
        for nexus in range(10, 10 + NEXUSES_REMEMBERED):
            bus.begin(nexus)
            bus.lose(nexus)
        bus.lose(1)
        assert bus.refused(TEST_UNIT_READY) == fixed(POWER_ON)
        last = 9 + NEXUSES_REMEMBERED
        assert bus.refused(TEST_UNIT_READY, nexus=last) == fixed(NEXUS_LOSS)

    def test_a_unit_in_two_targets_tells_both(self, bus: Bus) -> None:
        other = Target(TargetPort("iqn.2026-11.org.example:other"))
        other.add_unit(3, bus.unit)
        other.nexus_begins(7, initiator(7))
        ask = (7, 3 << 48, bytes(6), 1, b"", expecting(b""))
        assert other.execute(*ask)[1] == fixed(POWER_ON)
        bus.unit.capacity_changed()
        assert other.execute(*ask)[1] == fixed(CAPACITY_CHANGED)
        assert bus.refused(TEST_UNIT_READY) == fixed(CAPACITY_CHANGED)


class TestReset:
    @pytest.mark.parametrize("function", [LOGICAL_UNIT_RESET, TARGET_WARM_RESET])
    def test_it_brings_everything_back(self, bus: Bus, function: int) -> None:
        select_6(bus, SWP)
        bus.good(STOP)
        assert bus.target.task_management(1, 0, function) == 0
        assert bus.refused(READ_10) == fixed(DEVICE_RESET)
        bus.good([0x2A, *READ_10[1:]], bytes(512))

    def test_functions_that_only_end_tasks(self, bus: Bus) -> None:
        for function in (1, 2, 4):  # ABORT TASK, ABORT TASK SET, CLEAR TASK SET
            assert bus.target.task_management(1, 0, function) == 0
        bus.good(TEST_UNIT_READY)

    def test_functions_that_are_not_there(self, bus: Bus) -> None:
        assert bus.target.task_management(1, 0, 3) == 5  # CLEAR ACA
        assert bus.target.task_management(1, 0, 8) == 4  # TASK REASSIGN
        assert bus.target.task_management(1, 0, 0) == 5
        assert bus.target.task_management(1, 0, 127) == 5

    def test_a_lun_that_is_not_there(self, bus: Bus) -> None:
        assert bus.target.task_management(1, 9 << 48, LOGICAL_UNIT_RESET) == 2


class TestStartStopUnit:
    def test_a_stopped_unit(self, bus: Bus) -> None:
        """SBC-3: the medium is not accessible until the unit is started again."""
        bus.clear_attentions(2)
        bus.good(STOP)
        assert bus.device.calls == [("flush", 0, 0)]
        for nexus in (1, 2):
            for cdb in (TEST_UNIT_READY, READ_10, [0x2A, *READ_10[1:]], [0x25, *[0] * 9]):
                assert bus.refused(cdb, bytes(512), nexus=nexus) == fixed(NOT_READY_START_IT)
        bus.good(INQUIRY)
        bus.good([0x1A, 0x08, 0x08, 0, 0xFF, 0])
        assert bus.good(REQUEST_SENSE) == fixed(NOT_READY_START_IT)
        bus.good(START, nexus=2)
        assert bus.good(READ_10) == bus.device.filled(7)

    def test_no_flush(self, bus: Bus) -> None:
        bus.good([0x1B, 0, 0, 0, 0x04, 0])
        assert bus.device.calls == []
        assert bus.refused(TEST_UNIT_READY) == fixed(NOT_READY_START_IT)

    def test_a_flush_that_fails_leaves_it_started(self, bus: Bus) -> None:
        bus.device.fail = lambda call: "io-error"
        bus.refused(STOP)
        bus.good(TEST_UNIT_READY)

    def test_no_eject_and_no_power_conditions(self, bus: Bus) -> None:
        assert bus.refused([0x1B, 0, 0, 0, 0x02, 0]) == in_cdb(4, bit=1)  # LOEJ
        assert bus.refused([0x1B, 0, 0, 0, 0x31, 0]) == in_cdb(4, bit=7)  # POWER CONDITION
        assert bus.refused([0x1B, 0, 0, 1, 0x00, 0]) == in_cdb(3, bit=3)  # … MODIFIER
        bus.good(TEST_UNIT_READY)


class TestGate:
    """What the fast path must not do by itself is what the gate says is pending."""

    def test_a_clear_nexus(self, bus: Bus) -> None:
        assert not bus.gate.pending(1)

    def test_a_nexus_that_begins(self, bus: Bus) -> None:
        """Its first command must come up here, whatever it is."""
        bus.begin(2)
        assert bus.gate.pending(2)
        assert bus.refused(READ_10, nexus=2) == fixed(POWER_ON)
        assert not bus.gate.pending(2)

    def test_a_nexus_that_looks_first(self, bus: Bus) -> None:
        bus.good(INQUIRY, nexus=2)
        assert bus.gate.pending(2)

    @pytest.mark.parametrize("page", [NO_WCE, SWP])
    def test_mode_parameters_that_change_writing(self, bus: Bus, page: bytes) -> None:
        """WRITEs come up, of every nexus; READs go on as they did."""
        select_6(bus, page)
        assert bus.gate.declines_writes()
        assert not bus.gate.pending(1)

    def test_and_back(self, bus: Bus) -> None:
        bus.clear_attentions(2)
        select_6(bus, NO_WCE)
        select_6(bus, CACHING)
        assert not bus.gate.declines_writes()
        assert not bus.gate.pending(1)
        assert bus.gate.pending(2)

    def test_a_personality_that_is_read_only_and_back(self, bus: Bus) -> None:
        """When the verb has returned the gate knows: WRITEs alone come up."""
        writable = bus.unit.personality
        for read_only in (True, False):
            bus.unit.inquiry_changed(replace(writable, read_only=read_only))
            assert bus.gate.declines_writes() == read_only
            assert bus.gate.pending(1)
            bus.clear_attentions(1)
            assert not bus.gate.pending(1)

    def test_a_place_of_a_unit_that_is_read_only(self, bus: Bus) -> None:
        bus.unit.inquiry_changed(replace(bus.unit.personality, read_only=True))
        bus.target.add_unit(1, bus.unit)
        assert bus.gate.declines_writes(1 << 48)
        bus.clear_attentions(2)
        assert not bus.gate.pending(2)

    def test_a_stopped_unit(self, bus: Bus) -> None:
        bus.good(STOP)
        assert bus.gate.pending(1)
        bus.good(START)
        assert not bus.gate.pending(1)

    def test_a_reset(self, bus: Bus) -> None:
        bus.good(STOP)
        bus.target.task_management(1, 0, LOGICAL_UNIT_RESET)
        bus.refused(READ_10)
        assert not bus.gate.pending(1)

    def test_a_unit_attention(self, bus: Bus) -> None:
        bus.unit.capacity_changed()
        assert bus.gate.pending(1)
        bus.refused(READ_10)
        assert not bus.gate.pending(1)

    def test_an_attention_cleared_by_report_luns(self, bus: Bus) -> None:
        bus.target.add_unit(
            1,
            LogicalUnit(MemoryDevice(), bus.unit.personality),
        )
        assert bus.gate.pending(1)
        bus.good(REPORT_LUNS)
        assert not bus.gate.pending(1)

    def test_an_attention_cleared_by_request_sense(self, bus: Bus) -> None:
        bus.unit.capacity_changed()
        bus.good(REQUEST_SENSE)
        assert not bus.gate.pending(1)

    def test_a_read_only_unit_is_not_unusual(self) -> None:
        bus = make_bus(MemoryDevice(read_only=True))
        assert not bus.gate.pending(1)

    def test_a_unit_that_is_unusual_already_when_it_is_mapped(self, bus: Bus) -> None:
        bus.good(STOP)
        bus.target.add_unit(1, bus.unit)
        assert bus.gate.pending(99, lun=1 << 48)

    def test_a_unit_that_is_mapped_while_nexuses_are_there(self, bus: Bus) -> None:
        bus.begin(7)
        bus.target.add_unit(
            1,
            LogicalUnit(MemoryDevice(), bus.unit.personality),
        )
        assert bus.gate.pending(7, lun=1 << 48)

    def test_a_gate_that_begins_closed_is_opened(self, bus: Bus) -> None:
        """A unit may be mapped below with its gate closed until the first word from here."""
        lun = 1 << 48
        bus.gate.set_pending(lun, None, True)
        bus.target.add_unit(
            1,
            LogicalUnit(MemoryDevice(), bus.unit.personality),
        )
        assert not bus.gate.pending(99, lun=lun)

    def test_nothing_is_said_of_a_nexus_that_was_lost(self, bus: Bus) -> None:
        bus.begin(7)
        bus.lose(7)
        bus.gate.set_pending(0, 7, False)
        bus.unit.capacity_changed()
        bus.target.add_unit(1, bus.unit)
        assert not bus.gate.pending(7)
        assert not bus.gate.pending(7, lun=1 << 48)


def test_adding_and_removing_a_unit_is_told_on_the_others(bus: Bus) -> None:
    other = LogicalUnit(MemoryDevice(), bus.unit.personality)
    bus.target.add_unit(1, other)
    assert bus.refused(TEST_UNIT_READY) == fixed(LUNS_CHANGED)
    bus.clear_attentions(1, lun=1 << 48)
    bus.target.remove_unit(1)
    assert bus.refused(TEST_UNIT_READY) == fixed(LUNS_CHANGED)
    bus.good(TEST_UNIT_READY)


def test_another_unit_in_the_same_place_is_new_to_every_nexus(bus: Bus) -> None:
    bus.begin(1)
    bus.target.remove_unit(0)
    bus.target.add_unit(0, LogicalUnit(MemoryDevice(), bus.unit.personality))
    assert bus.gate.pending(1)
    assert bus.refused(TEST_UNIT_READY) == fixed(POWER_ON)


def test_another_unit_at_a_number_in_use_is_said_to_be_another(bus: Bus) -> None:
    """SAM-5, 5.14: who logged in before learns that the list, and what INQUIRY says, are
    others; who logs in later finds it so.
    """
    personality = replace(bus.unit.personality, identity=Identity(UUID(int=7)))
    for _ in range(2):
        bus.target.remove_unit(0)
        bus.target.add_unit(0, LogicalUnit(MemoryDevice(), personality))
        assert bus.refused(TEST_UNIT_READY) == fixed(POWER_ON)
        assert bus.refused(TEST_UNIT_READY) == fixed(INQUIRY_CHANGED)
        assert bus.refused(TEST_UNIT_READY) == fixed(LUNS_CHANGED)
        bus.good(TEST_UNIT_READY)
        personality = replace(personality, identity=Identity(UUID(int=8)))
    bus.begin(2)
    assert bus.refused(TEST_UNIT_READY, nexus=2) == fixed(POWER_ON)
    bus.good(TEST_UNIT_READY, nexus=2)


def test_the_same_unit_back_at_its_number_is_no_other(bus: Bus) -> None:
    bus.target.remove_unit(0)
    bus.target.add_unit(0, LogicalUnit(MemoryDevice(), bus.unit.personality))
    assert bus.refused(TEST_UNIT_READY) == fixed(POWER_ON)
    assert bus.refused(TEST_UNIT_READY) == fixed(LUNS_CHANGED)
    bus.good(TEST_UNIT_READY)


def test_a_command_that_meets_the_unit_after_it_was_removed(bus: Bus) -> None:
    """The router had looked the unit up before it went."""
    (mapping, _) = bus.target._places[0]
    bus.target.remove_unit(0)
    request = Request(NexusId(1), initiator(1), bytes(6), b"", NOTHING)
    done = bus.unit.execute(request, mapping, bus.target)
    assert done.sense == fixed(LUN_NOT_SUPPORTED)
