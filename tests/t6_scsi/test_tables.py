"""The tables against the published lists, and what is advertised against what is dispatched."""

from pathlib import Path

import pytest

from scsi_snap.scsi.command_page import render
from scsi_snap.scsi.opcodes import OPERATIONS
from scsi_snap.scsi.operation import Operation
from scsi_snap.scsi.sense import SenseCode
from tests.t6_scsi.bus import Bus
from tests.t6_scsi.senses import INVALID_OPCODE, fixed, in_cdb

PUBLISHED_OPCODES = {
    # SPC-4, SBC-4 and, for the six-byte READ and WRITE, SBC-2: opcode, service action, CDB length.
    "TEST UNIT READY": (0x00, None, 6),
    "REQUEST SENSE": (0x03, None, 6),
    "READ (6)": (0x08, None, 6),
    "WRITE (6)": (0x0A, None, 6),
    "INQUIRY": (0x12, None, 6),
    "FORMAT UNIT": (0x04, None, 6),
    "MODE SELECT (6)": (0x15, None, 6),
    "MODE SENSE (6)": (0x1A, None, 6),
    "RESERVE (6)": (0x16, None, 6),
    "RELEASE (6)": (0x17, None, 6),
    "START STOP UNIT": (0x1B, None, 6),
    "RECEIVE DIAGNOSTIC RESULTS": (0x1C, None, 6),
    "SEND DIAGNOSTIC": (0x1D, None, 6),
    "PREVENT ALLOW MEDIUM REMOVAL": (0x1E, None, 6),
    "READ CAPACITY (10)": (0x25, None, 10),
    "READ (10)": (0x28, None, 10),
    "WRITE (10)": (0x2A, None, 10),
    "WRITE AND VERIFY (10)": (0x2E, None, 10),
    "VERIFY (10)": (0x2F, None, 10),
    "PRE-FETCH (10)": (0x34, None, 10),
    "SYNCHRONIZE CACHE (10)": (0x35, None, 10),
    "READ DEFECT DATA (10)": (0x37, None, 10),
    "WRITE SAME (10)": (0x41, None, 10),
    "UNMAP": (0x42, None, 10),
    "LOG SELECT": (0x4C, None, 10),
    "LOG SENSE": (0x4D, None, 10),
    "SANITIZE / OVERWRITE": (0x48, 0x01, 10),
    "SANITIZE / BLOCK ERASE": (0x48, 0x02, 10),
    "SANITIZE / EXIT FAILURE MODE": (0x48, 0x1F, 10),
    "RESERVE (10)": (0x56, None, 10),
    "RELEASE (10)": (0x57, None, 10),
    "PERSISTENT RESERVE IN / READ KEYS": (0x5E, 0x00, 10),
    "PERSISTENT RESERVE IN / READ RESERVATION": (0x5E, 0x01, 10),
    "PERSISTENT RESERVE IN / REPORT CAPABILITIES": (0x5E, 0x02, 10),
    "PERSISTENT RESERVE IN / READ FULL STATUS": (0x5E, 0x03, 10),
    "PERSISTENT RESERVE OUT / REGISTER": (0x5F, 0x00, 10),
    "PERSISTENT RESERVE OUT / RESERVE": (0x5F, 0x01, 10),
    "PERSISTENT RESERVE OUT / RELEASE": (0x5F, 0x02, 10),
    "PERSISTENT RESERVE OUT / CLEAR": (0x5F, 0x03, 10),
    "PERSISTENT RESERVE OUT / PREEMPT": (0x5F, 0x04, 10),
    "PERSISTENT RESERVE OUT / PREEMPT AND ABORT": (0x5F, 0x05, 10),
    "PERSISTENT RESERVE OUT / REGISTER AND IGNORE EXISTING KEY": (0x5F, 0x06, 10),
    "PERSISTENT RESERVE OUT / REGISTER AND MOVE": (0x5F, 0x07, 10),
    "PERSISTENT RESERVE OUT / REPLACE LOST RESERVATION": (0x5F, 0x08, 10),
    "MODE SELECT (10)": (0x55, None, 10),
    "MODE SENSE (10)": (0x5A, None, 10),
    "EXTENDED COPY (LID1)": (0x83, 0x00, 16),
    "RECEIVE COPY STATUS (LID1)": (0x84, 0x00, 16),
    "RECEIVE COPY DATA (LID1)": (0x84, 0x01, 16),
    "RECEIVE COPY OPERATING PARAMETERS": (0x84, 0x03, 16),
    "RECEIVE COPY FAILURE DETAILS (LID1)": (0x84, 0x04, 16),
    "READ (16)": (0x88, None, 16),
    "COMPARE AND WRITE": (0x89, None, 16),
    "WRITE (16)": (0x8A, None, 16),
    "ORWRITE (16)": (0x8B, None, 16),
    "WRITE AND VERIFY (16)": (0x8E, None, 16),
    "VERIFY (16)": (0x8F, None, 16),
    "PRE-FETCH (16)": (0x90, None, 16),
    "SYNCHRONIZE CACHE (16)": (0x91, None, 16),
    "WRITE SAME (16)": (0x93, None, 16),
    "WRITE ATOMIC (16)": (0x9C, None, 16),
    "READ CAPACITY (16)": (0x9E, 0x10, 16),
    "GET LBA STATUS": (0x9E, 0x12, 16),
    "REPORT LUNS": (0xA0, None, 12),
    "REPORT IDENTIFYING INFORMATION": (0xA3, 0x05, 12),
    "REPORT TARGET PORT GROUPS": (0xA3, 0x0A, 12),
    "REPORT SUPPORTED OPERATION CODES": (0xA3, 0x0C, 12),
    "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS": (0xA3, 0x0D, 12),
    "SET IDENTIFYING INFORMATION": (0xA4, 0x06, 12),
    "READ (12)": (0xA8, None, 12),
    "WRITE (12)": (0xAA, None, 12),
    "WRITE AND VERIFY (12)": (0xAE, None, 12),
    "VERIFY (12)": (0xAF, None, 12),
    "READ DEFECT DATA (12)": (0xB7, None, 12),
}

PUBLISHED_SENSE_CODES = {
    # SPC-4: sense key, ASC, ASCQ.
    "NO_ADDITIONAL_SENSE_INFORMATION": (0x0, 0x00, 0x00),
    "INITIALIZING_COMMAND_REQUIRED": (0x2, 0x04, 0x02),
    "MEDIUM_NOT_PRESENT": (0x2, 0x3A, 0x00),
    "FORMAT_IN_PROGRESS": (0x2, 0x04, 0x04),
    "SANITIZE_IN_PROGRESS": (0x2, 0x04, 0x1B),
    "WRITE_ERROR": (0x3, 0x0C, 0x00),
    "UNRECOVERED_READ_ERROR": (0x3, 0x11, 0x00),
    "LOGICAL_UNIT_FAILED_SELF_TEST": (0x4, 0x3E, 0x03),
    "FORMAT_COMMAND_FAILED": (0x3, 0x31, 0x01),
    "SANITIZE_COMMAND_FAILED": (0x3, 0x31, 0x03),
    "INTERNAL_TARGET_FAILURE": (0x4, 0x44, 0x00),
    "OPERATION_IN_PROGRESS": (0x5, 0x00, 0x16),
    "INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT": (0x5, 0x0E, 0x03),
    "PARAMETER_LIST_LENGTH_ERROR": (0x5, 0x1A, 0x00),
    "INVALID_COMMAND_OPERATION_CODE": (0x5, 0x20, 0x00),
    "LBA_OUT_OF_RANGE": (0x5, 0x21, 0x00),
    "INVALID_FIELD_IN_CDB": (0x5, 0x24, 0x00),
    "LOGICAL_UNIT_NOT_SUPPORTED": (0x5, 0x25, 0x00),
    "INVALID_FIELD_IN_PARAMETER_LIST": (0x5, 0x26, 0x00),
    "INVALID_RELEASE_OF_PERSISTENT_RESERVATION": (0x5, 0x26, 0x04),
    "TOO_MANY_TARGET_DESCRIPTORS": (0x5, 0x26, 0x06),
    "UNSUPPORTED_TARGET_DESCRIPTOR_TYPE_CODE": (0x5, 0x26, 0x07),
    "TOO_MANY_SEGMENT_DESCRIPTORS": (0x5, 0x26, 0x08),
    "UNSUPPORTED_SEGMENT_DESCRIPTOR_TYPE_CODE": (0x5, 0x26, 0x09),
    "INLINE_DATA_LENGTH_EXCEEDED": (0x5, 0x26, 0x0B),
    "COMMAND_SEQUENCE_ERROR": (0x5, 0x2C, 0x00),
    "SAVING_PARAMETERS_NOT_SUPPORTED": (0x5, 0x39, 0x00),
    "MEDIUM_REMOVAL_PREVENTED": (0x5, 0x53, 0x02),
    "INSUFFICIENT_REGISTRATION_RESOURCES": (0x5, 0x55, 0x04),
    "MEDIUM_MAY_HAVE_CHANGED": (0x6, 0x28, 0x00),
    "POWER_ON_OCCURRED": (0x6, 0x29, 0x00),
    "BUS_DEVICE_RESET_OCCURRED": (0x6, 0x29, 0x03),
    "I_T_NEXUS_LOSS_OCCURRED": (0x6, 0x29, 0x07),
    "RESERVATIONS_PREEMPTED": (0x6, 0x2A, 0x03),
    "RESERVATIONS_RELEASED": (0x6, 0x2A, 0x04),
    "REGISTRATIONS_PREEMPTED": (0x6, 0x2A, 0x05),
    "THIN_PROVISIONING_SOFT_THRESHOLD_REACHED": (0x6, 0x38, 0x07),
    "INQUIRY_DATA_HAS_CHANGED": (0x6, 0x3F, 0x03),
    "INVALID_MESSAGE_ERROR": (0x5, 0x49, 0x00),
    "MODE_PARAMETERS_CHANGED": (0x6, 0x2A, 0x01),
    "LOG_PARAMETERS_CHANGED": (0x6, 0x2A, 0x02),
    "CAPACITY_DATA_HAS_CHANGED": (0x6, 0x2A, 0x09),
    "DEVICE_IDENTIFIER_CHANGED": (0x6, 0x3F, 0x05),
    "REPORTED_LUNS_DATA_HAS_CHANGED": (0x6, 0x3F, 0x0E),
    "WRITE_PROTECTED": (0x7, 0x27, 0x00),
    "SPACE_ALLOCATION_FAILED_WRITE_PROTECT": (0x7, 0x27, 0x07),
    "SEGMENT_CANNOT_BE_COPIED": (0xA, 0x00, 0x00),
    "UNREACHABLE_COPY_TARGET": (0xA, 0x08, 0x04),
    "THIRD_PARTY_DEVICE_FAILURE": (0xA, 0x0D, 0x01),
    "COPY_TARGET_DEVICE_NOT_REACHABLE": (0xA, 0x0D, 0x02),
    "INCORRECT_COPY_TARGET_DEVICE_TYPE": (0xA, 0x0D, 0x03),
    "UNEXPECTED_INEXACT_SEGMENT": (0xA, 0x26, 0x0A),
    "INCOMPLETE_MULTIPLE_ATOMIC_WRITE_OPERATIONS": (0xB, 0x0C, 0x10),
    "PERSISTENT_RESERVATION_INFORMATION_LOST": (0x7, 0x44, 0x01),
    "MISCOMPARE_DURING_VERIFY_OPERATION": (0xE, 0x1D, 0x00),
}

MEDIUM_CHANGING = {
    "WRITE (6)",
    "WRITE (10)",
    "WRITE (12)",
    "WRITE (16)",
    "WRITE AND VERIFY (10)",
    "WRITE AND VERIFY (12)",
    "WRITE AND VERIFY (16)",
    "WRITE ATOMIC (16)",
    "COMPARE AND WRITE",
    "ORWRITE (16)",
    "WRITE SAME (10)",
    "WRITE SAME (16)",
    "UNMAP",
    # Not the medium, but kept beside it.
    "SET IDENTIFYING INFORMATION",
    "FORMAT UNIT",
    "SANITIZE / OVERWRITE",
    "SANITIZE / BLOCK ERASE",
}

each_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name)


def test_the_opcodes_are_the_published_ones() -> None:
    ours = {
        each.name: (each.operation_code, each.service_action, each.layout.length)
        for each in OPERATIONS
    }
    assert ours == PUBLISHED_OPCODES
    assert len(OPERATIONS) == len(PUBLISHED_OPCODES)


def test_rows_are_distinct_and_in_order() -> None:
    keys = [(each.operation_code, each.service_action or 0) for each in OPERATIONS]
    assert keys == sorted(set(keys))
    by_code: dict[int, set[bool]] = {}
    for each in OPERATIONS:
        by_code.setdefault(each.operation_code, set()).add(each.service_action is None)
    assert all(len(kinds) == 1 for kinds in by_code.values())


@each_operation
def test_a_cdb_is_as_long_as_its_group_code_says(operation: Operation) -> None:
    """SPC-4, 4.2.5.1: the three high bits of the operation code give the length."""
    lengths = {0: 6, 1: 10, 2: 10, 4: 16, 5: 12}
    assert operation.layout.length == lengths[operation.operation_code >> 5]


@each_operation
def test_fields_do_not_overlap(operation: Operation) -> None:
    taken = 0
    for field in operation.layout.fields:
        bits = ((1 << field.width_bits) - 1) << field.shift(operation.layout.length)
        assert bits.bit_length() <= 8 * operation.layout.length - 8, "over the operation code"
        assert not taken & bits, field.name
        taken |= bits


def test_the_sense_codes_are_the_published_ones() -> None:
    ours = {
        each.name: (each.key, each.additional_sense_code, each.additional_sense_code_qualifier)
        for each in SenseCode
    }
    assert ours == PUBLISHED_SENSE_CODES


def test_medium_changing_commands_are_marked() -> None:
    assert {each.name for each in OPERATIONS if each.changes_medium} == MEDIUM_CHANGING


def test_every_opcode_is_advertised_or_refused(bus: Bus) -> None:
    """All 256 opcodes and 32 service actions: dispatch and the report agree."""
    advertised = report_all(bus)
    for opcode in range(256):
        for action in range(32):
            known = (opcode, action) in advertised or (opcode, None) in advertised
            _, sense, _, _ = bus.command([opcode, action, *[0] * 14])
            if any(code == opcode for code, _ in advertised):
                assert sense[12:14] != b"\x20\x00"
                assert known or sense == in_cdb(1, bit=4)
            else:
                assert sense == fixed(INVALID_OPCODE)
            if opcode == 0x1B:
                bus.unit.readiness.set_started(True, removable=False)
            else:
                bus.clear_attentions(1)


def report_all(bus: Bus) -> set[tuple[int, int | None]]:
    data = bus.good([0xA3, 0x0C, 0x00, 0, 0, 0, *[0, 0, 0xFF, 0xFF], 0, 0])
    assert int.from_bytes(data[:4], "big") == len(data) - 4
    return {
        (data[at], int.from_bytes(data[at + 2 : at + 4], "big") if data[at + 5] & 1 else None)
        for at in range(4, len(data), 8)
    }


class TestReportSupportedOperationCodes:
    def test_all(self, bus: Bus) -> None:
        assert report_all(bus) == {(code, action) for code, action, _ in PUBLISHED_OPCODES.values()}

    def test_all_with_timeouts(self, bus: Bus) -> None:
        data = bus.good([0xA3, 0x0C, 0x80, 0, 0, 0, *[0, 0, 0xFF, 0xFF], 0, 0])
        assert len(data) == 4 + 20 * len(OPERATIONS)
        # TEST UNIT READY comes first: CTDP, length 6; descriptor length 0Ah; 30 s recommended.
        assert data[4:24] == bytes.fromhex("0000 0000 00 02 0006 000a 00 00 00000000 0000001e")

    @each_operation
    def test_one(self, bus: Bus, operation: Operation) -> None:
        action = operation.service_action
        option = 0b001 if action is None else 0b010
        code = operation.operation_code
        cdb = [0xA3, 0x0C, option, code, 0, action or 0, *[0, 0, 0, 0xFF], 0, 0]
        data = bus.good(cdb)
        assert data[:4] == bytes([0, 0x03, 0, operation.layout.length])
        assert data[4] == code
        assert len(data) == 4 + operation.layout.length
        with_timeouts = bus.good([*cdb[:2], 0x80 | option, *cdb[3:]])
        assert with_timeouts[1] == 0x83
        assert with_timeouts[len(data) :][:2] == b"\x00\x0a"
        assert bus.good([*cdb[:2], 0b011, *cdb[3:]]) == data

    def test_usage_data_of_write_same_16(self, bus: Bus) -> None:
        """UNMAP and NDOB are evaluated; WRPROTECT, ANCHOR and NACA are not supported."""
        data = bus.good([0xA3, 0x0C, 0x01, 0x93, 0, 0, *[0, 0, 0, 0xFF], 0, 0])
        assert data[4:] == bytes.fromhex("93 09 ffffffffffffffff ffffffff 00 00")

    def test_usage_data_of_read_capacity_16(self, bus: Bus) -> None:
        data = bus.good([0xA3, 0x0C, 0x02, 0x9E, 0, 0x10, *[0, 0, 0, 0xFF], 0, 0])
        assert data[4:] == bytes.fromhex("9e 10 0000000000000000 ffffffff 00 00")

    @pytest.mark.parametrize("option", [0b001, 0b010, 0b011])
    def test_an_opcode_that_is_not_there(self, bus: Bus, option: int) -> None:
        """SUPPORT 001b."""
        cdb = [0xA3, 0x0C, option, 0xC1, 0, 0, *[0, 0, 0, 0xFF], 0, 0]
        assert bus.good(cdb) == bytes([0, 0x01, 0, 0])

    def test_a_service_action_that_is_not_there(self, bus: Bus) -> None:
        cdb = [0xA3, 0x0C, 0b010, 0x9E, 0, 0x13, *[0, 0, 0, 0xFF], 0, 0]
        assert bus.good(cdb) == bytes([0, 0x01, 0, 0])

    def test_an_option_that_does_not_fit_the_opcode(self, bus: Bus) -> None:
        """SPC-4: 001b for opcodes without service actions, 010b for those with."""
        assert bus.refused([0xA3, 0x0C, 1, 0x9E, 0, 0x10, *[0, 0, 0, 9], 0, 0]) == in_cdb(4)
        assert bus.refused([0xA3, 0x0C, 2, 0x28, 0, 0, *[0, 0, 0, 9], 0, 0]) == in_cdb(4)

    @pytest.mark.parametrize("option", [4, 5, 6, 7])
    def test_reserved_options(self, bus: Bus, option: int) -> None:
        cdb = [0xA3, 0x0C, option, 0, 0, 0, *[0, 0, 0, 9], 0, 0]
        assert bus.refused(cdb) == in_cdb(2, bit=2)


def test_report_supported_task_management_functions(bus: Bus) -> None:
    """ABORT TASK, ABORT TASK SET, CLEAR TASK SET, LOGICAL UNIT RESET, QUERY TASK, target reset;
    QUERY ASYNCHRONOUS EVENT, QUERY TASK SET, I_T NEXUS RESET.
    """
    assert bus.good([0xA3, 0x0D, 0, 0, 0, 0, *[0, 0, 0, 9], 0, 0]) == b"\xde\x07\x00\x00"
    extended = bus.good([0xA3, 0x0D, 0x80, 0, 0, 0, *[0, 0, 0, 99], 0, 0])
    assert extended == b"\xde\x07\x00\x0c" + bytes(12)


@each_operation
def test_naca_is_refused(bus: Bus, operation: Operation) -> None:
    """NORMACA is zero, so the NACA bit of the control byte must be (SAM-5)."""
    cdb = [operation.operation_code, operation.service_action or 0, *[0] * 14]
    cdb[operation.layout.length - 1] = 0x04
    assert bus.refused(cdb) == in_cdb(operation.layout.length - 1, bit=2)


@each_operation
def test_a_cdb_cut_short(bus: Bus, operation: Operation) -> None:
    cdb = [operation.operation_code, operation.service_action or 0, *[0] * 14]
    length = operation.layout.length - 1
    assert bus.refused(cdb[:length]) == in_cdb(length)


def test_the_documented_page_is_the_generated_one() -> None:
    page = Path(__file__).parents[2] / "docs" / "protocols" / "scsi-commands.md"
    assert page.read_text() == render()
