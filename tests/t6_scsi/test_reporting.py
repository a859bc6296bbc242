"""Target port groups, identifying information and diagnostics, CDB by CDB."""

import pytest

from scsi_snap.scsi.caretaker import Nobody
from scsi_snap.scsi.nexus import TargetPort
from scsi_snap.scsi.sense import SenseCode
from scsi_snap.scsi.target import Target
from tests.t6_scsi.bus import TARGET_NAME, Bus, make_bus
from tests.t6_scsi.fakes import CodedFailure, MemoryDevice, RecordingGate
from tests.t6_scsi.senses import (
    INTERNAL_FAILURE,
    LIST_LENGTH_ERROR,
    NOT_READY_START_IT,
    WRITE_ERROR,
    WRITE_PROTECTED,
    fixed,
    in_cdb,
    in_list,
)

FAILED_SELF_TEST = (0x4, 0x3E, 0x03)
IDENTIFIER_CHANGED = (0x6, 0x3F, 0x05)


class TestReportTargetPortGroups:
    """SPC-4, 6.37."""

    GROUP = bytes([0x00, 0x01, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1])
    """Active/optimized, AO_SUP, group 1, no status, one port: relative identifier 1."""

    def cdb(self, data_format: int = 0, length: int = 255) -> list[int]:
        return [0xA3, data_format << 5 | 0x0A, 0, 0, 0, 0, *length.to_bytes(4, "big"), 0, 0]

    def test_the_group(self, bus: Bus) -> None:
        assert bus.good(self.cdb()) == bytes([0, 0, 0, 12]) + self.GROUP
        assert bus.good(self.cdb(length=4)) == bytes([0, 0, 0, 12])

    def test_the_extended_header(self, bus: Bus) -> None:
        """Format type 001b, no implicit transition time."""
        expected = bytes([0, 0, 0, 16, 0x10, 0, 0, 0]) + self.GROUP
        assert bus.good(self.cdb(data_format=1)) == expected

    @pytest.mark.parametrize("data_format", range(2, 8))
    def test_other_formats(self, bus: Bus, data_format: int) -> None:
        assert bus.refused(self.cdb(data_format)) == in_cdb(1, bit=7)

    def test_every_port_of_the_target_is_in_it(self, bus: Bus) -> None:
        Target(TargetPort(TARGET_NAME, 2, 7), RecordingGate()).add_unit(0, bus.unit)
        Target(TargetPort("iqn.2026-11.org.example:other"), RecordingGate()).add_unit(0, bus.unit)
        data = bus.good(self.cdb())
        assert data[11] == 2
        assert data[12:] == bytes([0, 0, 0, 1, 0, 0, 0, 7])

    def test_states_are_not_set_by_initiators(self, bus: Bus) -> None:
        """TPGS is 01b, so SET TARGET PORT GROUPS is not there."""
        assert bus.refused([0xA4, 0x0A, *[0] * 10]) == in_cdb(1, bit=4)


class TestIdentifyingInformation:
    """SPC-4, 5.6, 6.32 and 6.43."""

    def report(self, kind: int = 0) -> list[int]:
        return [0xA3, 0x05, 0, 0, 0, 0, 0, 0, 1, 0, kind << 1, 0]

    def set(self, length: int, kind: int = 0) -> list[int]:
        return [0xA4, 0x06, 0, 0, 0, 0, *length.to_bytes(4, "big"), kind << 1, 0]

    @pytest.mark.parametrize(("kind", "data"), [(0, b"\x00\xff" * 32), (2, "rack 4, Ö\0".encode())])
    def test_what_was_set_is_reported(self, bus: Bus, kind: int, data: bytes) -> None:
        assert bus.good(self.report(kind)) == bytes(4)
        bus.good(self.set(len(data), kind), data)
        assert bus.good(self.report(kind)) == bytes([0, 0, 0, len(data)]) + data
        assert bus.good(self.report(2 - kind)) == bytes(4)
        bus.good(self.set(0, kind))
        assert bus.good(self.report(kind)) == bytes(4)

    def test_the_types_there_are(self, bus: Bus) -> None:
        assert bus.good(self.report(0x7F)) == bytes([0, 0, 0, 8, 0, 0, 0, 64, 4, 0, 1, 0])

    def test_other_types(self, bus: Bus) -> None:
        for kind in (1, 3, 4, 0x7E):
            assert bus.refused(self.report(kind)) == in_cdb(10, bit=7)
            assert bus.refused(self.set(1, kind), b"x") == in_cdb(10, bit=7)

    @pytest.mark.parametrize(("kind", "longest"), [(0, 64), (2, 256)])
    def test_too_much(self, bus: Bus, kind: int, longest: int) -> None:
        data = b"x" * longest + b"\0"
        assert bus.refused(self.set(longest + 1, kind), data) == in_cdb(6)
        bus.good(self.set(longest, kind), data[1:])

    @pytest.mark.parametrize(("text", "at"), [(b"abc", 2), (b"a\0c\0", 1), (b"ab\xffd\0", 2)])
    def test_text_that_is_none(self, bus: Bus, text: bytes, at: int) -> None:
        assert bus.refused(self.set(len(text), 2), text) == in_list(at)
        assert bus.good(self.report(2)) == bytes(4)

    def test_a_list_cut_short(self, bus: Bus) -> None:
        assert bus.refused(self.set(4), b"abc") == fixed(LIST_LENGTH_ERROR)

    def test_the_others_are_told_of_a_change(self, bus: Bus) -> None:
        bus.clear_attentions(2)
        bus.good(self.set(1), b"x")
        assert bus.refused([0] * 6, nexus=2) == fixed(IDENTIFIER_CHANGED)
        bus.good(self.set(1), b"x")
        bus.good([0] * 6, nexus=2)
        bus.good([0] * 6)

    def test_it_outlives_a_reset(self, bus: Bus) -> None:
        bus.good(self.set(1), b"x")
        bus.unit.reset()
        bus.clear_attentions(1)
        assert bus.good(self.report()) == b"\0\0\0\x01x"

    def test_a_read_only_unit_keeps_nothing(self, read_only_bus: Bus) -> None:
        assert read_only_bus.refused(self.set(1), b"x") == fixed(WRITE_PROTECTED)

    def test_a_caretaker_that_fails(self) -> None:
        class Failing(Nobody):
            def information(self, kind: str) -> bytes:
                raise CodedFailure("closed")

        class Forgetful(Nobody):
            def keep_information(self, kind: str, data: bytes) -> None:
                raise CodedFailure("io-error")

        bus = make_bus(MemoryDevice(), caretaker=Failing())
        assert bus.refused(self.report()) == fixed(INTERNAL_FAILURE)
        bus = make_bus(MemoryDevice(), caretaker=Forgetful())
        assert bus.refused(self.set(1), b"x") == fixed(WRITE_ERROR)


class TestDiagnostics:
    """SPC-4, 6.28 and 6.42."""

    SELF_TEST = (0x1D, 0x04, 0, 0, 0, 0)

    def test_the_self_test_reads_both_ends_and_flushes(self, bus: Bus) -> None:
        bus.device.calls.clear()
        bus.good([*self.SELF_TEST])
        assert sorted(bus.device.calls) == [("flush", 0, 0), ("read", 0, 1), ("read", 63, 1)]

    @pytest.mark.parametrize("call", ["read", "flush"])
    def test_a_unit_that_fails_it(self, bus: Bus, call: str) -> None:
        bus.device.fail = lambda name: "io-error" if name == call else None
        assert bus.refused([*self.SELF_TEST]) == fixed(FAILED_SELF_TEST)

    def test_a_snapshot_of_a_range_is_well(self, read_only_bus: Bus) -> None:
        read_only_bus.device.fail = lambda name: "outside-snapshot"
        read_only_bus.good([*self.SELF_TEST])

    def test_a_stopped_unit(self, bus: Bus) -> None:
        bus.unit.readiness.set_started(False, removable=False)
        assert bus.refused([*self.SELF_TEST]) == fixed(NOT_READY_START_IT)

    def test_a_self_test_with_a_list(self, bus: Bus) -> None:
        assert bus.refused([0x1D, 0x14, 0, 0, 4, 0], bytes(4)) == in_cdb(3)

    @pytest.mark.parametrize("code", range(1, 8))
    def test_the_other_self_tests_are_not_there(self, bus: Bus, code: int) -> None:
        assert bus.refused([0x1D, code << 5, 0, 0, 0, 0]) == in_cdb(1, bit=7)

    def test_page_00h_is_the_only_page(self, bus: Bus) -> None:
        assert bus.good([0x1C, 0x01, 0x00, 0, 255, 0]) == bytes([0, 0, 0, 1, 0])
        assert bus.good([0x1C, 0x00, 0x00, 0, 255, 0]) == bytes([0, 0, 0, 1, 0])
        assert bus.good([0x1C, 0x01, 0x00, 0, 4, 0]) == bytes([0, 0, 0, 1])
        assert bus.refused([0x1C, 0x01, 0x01, 0, 255, 0]) == in_cdb(2)
        bus.good([0x1D, 0x10, 0, 0, 4, 0], bytes(4))
        bus.good([0x1D, 0x10, 0, 0, 0, 0])

    @pytest.mark.parametrize(
        ("data", "sense"),
        [
            (b"\x01\0\0\0", in_list(0)),
            (b"\0\0\0\x01\0", in_list(2)),
            (b"\0\0\0", fixed(LIST_LENGTH_ERROR)),
        ],
    )
    def test_other_lists(self, bus: Bus, data: bytes, sense: bytes) -> None:
        assert bus.refused([0x1D, 0x10, 0, 0, len(data), 0], data) == sense

    def test_a_list_without_page_format(self, bus: Bus) -> None:
        assert bus.refused([0x1D, 0x00, 0, 0, 4, 0], bytes(4)) == in_cdb(1, bit=4)


def test_reported_luns_is_told_once_by_whichever_unit(bus: Bus) -> None:
    """LUICLR (SPC-4, 7.8.7): reporting it for one unit settles it for all of the nexus."""
    other = make_bus(MemoryDevice()).unit
    bus.target.add_unit(1, other)
    bus.clear_attentions(1)
    bus.clear_attentions(1, lun=1 << 48)
    changed = SenseCode.REPORTED_LUNS_DATA_HAS_CHANGED
    bus.unit.nexuses.establish_at(bus.target._places[0][0], changed)
    other.nexuses.establish_at(bus.target._places[1][0], changed)
    code = SenseCode.REPORTED_LUNS_DATA_HAS_CHANGED.value
    assert bus.refused([0] * 6) == fixed(code)
    bus.good([0] * 6, lun=1 << 48)
