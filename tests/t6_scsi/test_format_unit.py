"""FORMAT UNIT (SBC-4, 5.4)."""

import threading

import pytest

from scsi_snap.scsi.identity import Identity, Personality
from scsi_snap.scsi.logical_unit import LogicalUnit
from tests.t6_scsi import modes
from tests.t6_scsi.bus import UNIT_UUID, Bus, make_bus
from tests.t6_scsi.fakes import MemoryDevice
from tests.t6_scsi.held import held, wait_until_idle
from tests.t6_scsi.senses import (
    FORMAT_FAILED,
    FORMATTING,
    LIST_LENGTH_ERROR,
    WRITE_PROTECTED,
    fixed,
    in_cdb,
    in_list,
)
from tests.t6_scsi.test_sanitize import NO_SENSE, READ_10, TEST_UNIT_READY, progress, sanitize

FMTPINFO, LONGLIST, FMTDATA, CMPLST = 0x40, 0x20, 0x10, 0x08
FOV, DPRY, DCRT, STPF, IP, IMMED = 0x80, 0x40, 0x20, 0x10, 0x08, 0x02


def format_unit(flags: int = 0, fast: int = 0) -> list[int]:
    return [0x04, flags, 0, 0, fast, 0]


def test_every_block_reads_as_zeros(bus_of: Bus) -> None:
    assert bus_of.command(format_unit()) == (0, b"", b"", 0)
    assert not any(bus_of.device.data)
    assert [call[0] for call in bus_of.device.calls] == ["discard", "flush"]


def test_a_unit_that_does_not_deallocate(bus: Bus) -> None:
    unit = LogicalUnit(bus.device, Personality(Identity(UNIT_UUID), thin=False))
    bus.target.remove_unit(0)
    bus.target.add_unit(0, unit)
    bus.clear_attentions(1)
    bus.good(format_unit())
    assert bus.device.calls == [("write_zeroes", 0, 64), ("flush", 0, 0)]


@pytest.mark.parametrize("options", [0, FOV, FOV | DPRY, FOV | DCRT, FOV | STPF])
@pytest.mark.parametrize(("flags", "length"), [(FMTDATA, 4), (FMTDATA | LONGLIST, 8)])
def test_with_a_parameter_list(bus: Bus, options: int, flags: int, length: int) -> None:
    """Defects and their certification are not there to be cared about."""
    data = bytes([0, options]).ljust(length, b"\0")
    assert bus.command(format_unit(flags), data) == (0, b"", b"", length)
    assert not any(bus.device.data)


def test_complete_list_and_formats_of_an_empty_one(bus: Bus) -> None:
    for flags in (CMPLST, 0x03, 0x04, CMPLST | 0x05):
        bus.good(format_unit(FMTDATA | flags), bytes(4))


def test_immed(bus: Bus) -> None:
    with held(bus, "discard") as hold:
        bus.good(format_unit(FMTDATA), bytes([0, IMMED, 0, 0]))
        hold.reached()
        assert bus.good([0x03, 0, 0, 0, 252, 0]) == progress(FORMATTING, 0)
        assert bus.refused(TEST_UNIT_READY) == progress(FORMATTING, 0)
        assert bus.refused(READ_10) == progress(FORMATTING, 0)
        assert bus.refused(format_unit()) == progress(FORMATTING, 0)
        assert bus.refused(sanitize(0x02)) == progress(FORMATTING, 0)
        assert bus.gate.pending(1)
        bus.good([0x12, 0, 0, 0, 96, 0])
    assert wait_until_idle(bus) == fixed(NO_SENSE)
    bus.good(TEST_UNIT_READY)
    assert not any(bus.device.data) and not bus.gate.pending(1)


@pytest.mark.parametrize(
    ("flags", "bit"),
    [(FMTPINFO, 7), (0x80, 7), (LONGLIST, 5), (CMPLST, 3), (0x03, 2), (FMTDATA | 0x01, 2)],
)
def test_the_cdb(bus: Bus, flags: int, bit: int) -> None:
    """Protection information; what means nothing without FMTDATA; a format that is not there."""
    assert bus.refused(format_unit(flags), bytes(4)) == in_cdb(1, bit=bit)
    assert bus.device.calls == []


def test_fast_format(bus: Bus) -> None:
    assert bus.refused(format_unit(fast=0x01)) == in_cdb(4, bit=1)


@pytest.mark.parametrize(
    ("data", "byte", "bit"),
    [
        ([0x01, 0, 0, 0], 0, 2),  # PROTECTION FIELD USAGE
        ([0, DPRY, 0, 0], 1, 6),
        ([0, DCRT, 0, 0], 1, 5),
        ([0, STPF, 0, 0], 1, 4),
        ([0, IP, 0, 0], 1, 3),
        ([0, FOV | IP, 0, 0], 1, 3),
        ([0, 0, 0, 8], 2, None),  # DEFECT LIST LENGTH
        ([0, 0, 0, 0, 0, 0, 0, 8], 4, None),
        ([0, 0, 0, 0x10, 0, 0, 0, 0], 3, 7),  # P_I_INFORMATION
        ([0, 0, 0, 0x01, 0, 0, 0, 0], 3, 3),  # PROTECTION INTERVAL EXPONENT
    ],
)
def test_the_parameter_list(bus: Bus, data: list[int], byte: int, bit: int | None) -> None:
    flags = FMTDATA | (LONGLIST if len(data) == 8 else 0)
    assert bus.refused(format_unit(flags), bytes(data)) == in_list(byte, bit)
    assert bus.device.calls == []


def test_a_parameter_list_cut_short(bus: Bus) -> None:
    assert bus.refused(format_unit(FMTDATA), bytes(3)) == fixed(LIST_LENGTH_ERROR)


def test_write_protected(bus: Bus) -> None:
    modes.select_6(bus, modes.SWP)
    assert bus.refused(format_unit()) == fixed(WRITE_PROTECTED)
    read_only = make_bus(MemoryDevice(read_only=True))
    assert read_only.refused(format_unit()) == fixed(WRITE_PROTECTED)


def test_a_failure_stays_until_another_format_or_sanitize(bus: Bus) -> None:
    for again in (format_unit(), sanitize(0x02)):
        bus.device.fail = lambda call: "io-error" if call == "discard" else None
        assert bus.refused(format_unit()) == fixed(FORMAT_FAILED)
        bus.device.fail = lambda call: None
        assert bus.refused(READ_10) == fixed(FORMAT_FAILED)
        bus.good(again)
        bus.good(READ_10)


def test_a_defect_in_the_device_is_a_failure_and_is_told(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[BaseException | None] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: told.append(args.exc_value))

    def break_down(call: str) -> None:
        raise ZeroDivisionError

    bus.device.fail = break_down
    assert bus.refused(format_unit()) == fixed(FORMAT_FAILED)
    bus.device.fail = lambda call: None
    wait_until_idle(bus)
    assert [type(each) for each in told] == [ZeroDivisionError]
