"""The command set's part of task management, and the task attribute that it refuses."""

import pytest

from scsi_snap.scsi import lun_address
from tests.t6_scsi.bus import CHECK_CONDITION, Bus, expecting
from tests.t6_scsi.modes import D_SENSE, select_6
from tests.t6_scsi.senses import CAPACITY_CHANGED, POWER_ON, fixed

QUERY_TASK, QUERY_TASK_SET, I_T_NEXUS_RESET, QUERY_ASYNCHRONOUS_EVENT = 9, 10, 11, 12
COMPLETE, NO_LUN, SUCCEEDED = 0, 2, 7
NO_SUCH_LUN = lun_address.encode(9)
TEST_UNIT_READY = [0] * 6
RESERVE_6 = [0x16, 0, 0, 0, 0, 0]
NEXUS_LOSS = (0x6, 0x29, 0x07)
INVALID_MESSAGE = (0x5, 0x49, 0x00)
ACA = 4


def answered(answer: int) -> tuple[int, bytes]:
    """The response code and the Additional Response Information (RFC 7144)."""
    response, *information = answer.to_bytes(4, "little")
    return response, bytes(information)


@pytest.mark.parametrize("function", [QUERY_TASK, QUERY_TASK_SET])
def test_queries_of_tasks_that_the_transport_did_not_find(bus: Bus, function: int) -> None:
    assert bus.target.task_management(1, 0, function) == COMPLETE
    assert bus.target.task_management(1, NO_SUCH_LUN, function) == NO_LUN


class TestNexusReset:
    def test_its_nexus_is_told_on_every_unit_and_no_other_nexus(self, bus: Bus) -> None:
        bus.target.add_unit(5, bus.unit)
        five = lun_address.encode(5)
        for nexus in (1, 2):
            bus.clear_attentions(nexus)
            bus.clear_attentions(nexus, lun=five)
        # The LUN of the request means nothing.
        assert bus.target.task_management(1, NO_SUCH_LUN, I_T_NEXUS_RESET) == COMPLETE
        for lun in (0, five):
            assert bus.refused(TEST_UNIT_READY, lun=lun) == fixed(NEXUS_LOSS)
            bus.good(TEST_UNIT_READY, lun=lun)
            bus.good(TEST_UNIT_READY, lun=lun, nexus=2)

    def test_what_it_held_is_released(self, bus: Bus) -> None:
        """What RESERVE gave the nexus, at its units; a lost nexus loses that too."""
        for nexus in (1, 2):
            bus.clear_attentions(nexus)
        bus.good(RESERVE_6)
        assert bus.conflicts(TEST_UNIT_READY, nexus=2)
        bus.target.task_management(2, 0, I_T_NEXUS_RESET)
        assert bus.refused(TEST_UNIT_READY, nexus=2) == fixed(NEXUS_LOSS)
        assert bus.conflicts(TEST_UNIT_READY, nexus=2)
        bus.target.task_management(1, 0, I_T_NEXUS_RESET)
        bus.good(TEST_UNIT_READY, nexus=2)
        assert not bus.gate.pending(2)

    def test_the_fast_path_is_closed_until_it_is_told(self, bus: Bus) -> None:
        bus.target.task_management(1, 0, I_T_NEXUS_RESET)
        assert bus.gate.pending(1)
        assert bus.refused(TEST_UNIT_READY) == fixed(NEXUS_LOSS)
        assert not bus.gate.pending(1)


class TestQueryAsynchronousEvent:
    """SAM-5: byte 0 UADE DEPTH and sense key, byte 1 and 2 the additional sense code."""

    def ask(self, bus: Bus, lun: int = 0, nexus: int = 1) -> tuple[int, bytes]:
        return answered(bus.target.task_management(nexus, lun, QUERY_ASYNCHRONOUS_EVENT))

    def test_nothing_waits(self, bus: Bus) -> None:
        assert self.ask(bus) == (COMPLETE, bytes(3))
        assert self.ask(bus, NO_SUCH_LUN) == (NO_LUN, bytes(3))

    def test_what_waits_is_told_and_stays(self, bus: Bus) -> None:
        bus.begin(2)
        assert self.ask(bus, nexus=2) == (SUCCEEDED, bytes([0x16, 0x29, 0x00]))
        bus.unit.capacity_changed()
        assert self.ask(bus, nexus=2) == (SUCCEEDED, bytes([0x26, 0x29, 0x00]))
        assert self.ask(bus, nexus=2) == (SUCCEEDED, bytes([0x26, 0x29, 0x00]))
        assert bus.refused(TEST_UNIT_READY, nexus=2) == fixed(POWER_ON)
        assert self.ask(bus, nexus=2) == (SUCCEEDED, bytes([0x16, 0x2A, 0x09]))
        assert bus.refused(TEST_UNIT_READY, nexus=2) == fixed(CAPACITY_CHANGED)
        assert self.ask(bus, nexus=2) == (COMPLETE, bytes(3))


class TestAcaAttribute:
    """SAM-5: without an ACA condition a command with the ACA attribute is an INVALID MESSAGE."""

    def refused(self, bus: Bus, lun: int = 0) -> bytes:
        answer = bus.target.execute(1, lun, bytes(TEST_UNIT_READY), ACA, b"", expecting(b""))
        assert answer == (CHECK_CONDITION, answer[1], b"", 0)
        return answer[1]

    def test_it_is_refused(self, bus: Bus) -> None:
        assert self.refused(bus) == self.refused(bus, NO_SUCH_LUN) == fixed(INVALID_MESSAGE)

    def test_in_the_format_of_the_unit(self, bus: Bus) -> None:
        select_6(bus, D_SENSE)
        assert self.refused(bus) == bytes([0x72, 0x5, 0x49, 0, 0, 0, 0, 0])

    def test_it_reports_nothing_that_waits(self, bus: Bus) -> None:
        bus.unit.capacity_changed()
        assert self.refused(bus) == fixed(INVALID_MESSAGE)
        assert bus.refused(TEST_UNIT_READY) == fixed(CAPACITY_CHANGED)
