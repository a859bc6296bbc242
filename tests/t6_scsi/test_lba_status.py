"""GET LBA STATUS: bus traces (SBC-4, 5.6)."""

import pytest

from tests.t6_scsi.bus import Bus, make_bus
from tests.t6_scsi.fakes import HollowDevice, MemoryDevice
from tests.t6_scsi.senses import LBA_OUT_OF_RANGE, READ_ERROR, fixed, in_cdb

NOT_SAID, ROOM_FULL, END_OF_MEDIUM = 0b000, 0b001, 0b011
RTP = 0x01


def get_lba_status(lba: int, length: int = 1024, report: int = 0) -> list[int]:
    return [0x9E, 0x12, *lba.to_bytes(8, "big"), *length.to_bytes(4, "big"), report, 0]


def answer(condition: int, *runs: tuple[int, int, int]) -> bytes:
    """SBC-4, tables 50 and 52: runs of (LBA, number of blocks, PROVISIONING STATUS)."""
    data = (4 + 16 * len(runs)).to_bytes(4, "big") + bytes([0, 0, 0, condition << 1 | RTP])
    for lba, blocks, status in runs:
        data += lba.to_bytes(8, "big") + blocks.to_bytes(4, "big") + bytes([status, 0, 0, 0])
    return data


@pytest.fixture
def holed_bus() -> Bus:
    """64 blocks, of which 8 to 15 and 40 to 63 are deallocated."""
    bus = make_bus(MemoryDevice())
    bus.device.deallocated = {*range(8, 16), *range(40, 64)}
    return bus


def test_all_blocks(holed_bus: Bus) -> None:
    """Report type 00h: 0h is mapped, 1h is deallocated."""
    runs = [(0, 8, 0), (8, 8, 1), (16, 24, 0), (40, 24, 1)]
    assert holed_bus.good(get_lba_status(0)) == answer(END_OF_MEDIUM, *runs)


def test_the_first_descriptor_begins_at_the_lba_asked_for(holed_bus: Bus) -> None:
    runs = [(11, 5, 1), (16, 24, 0), (40, 24, 1)]
    assert holed_bus.good(get_lba_status(11)) == answer(END_OF_MEDIUM, *runs)
    assert holed_bus.good(get_lba_status(63)) == answer(END_OF_MEDIUM, (63, 1, 1))


@pytest.mark.parametrize(
    ("report", "runs"),
    [
        (0x01, [(0, 8, 3), (8, 8, 1), (16, 24, 3), (40, 24, 1)]),
        (0x02, [(0, 8, 3), (16, 24, 3)]),
        (0x03, [(8, 8, 1), (40, 24, 1)]),
        (0x04, []),
        (0x10, []),
    ],
)
def test_report_types(holed_bus: Bus, report: int, runs: list[tuple[int, int, int]]) -> None:
    """SBC-4, table 49; no block is anchored, and none is known to be unreadable."""
    assert holed_bus.good(get_lba_status(0, report=report)) == answer(END_OF_MEDIUM, *runs)


@pytest.mark.parametrize("report", [0x05, 0x0F, 0x11, 0xFF])
def test_reserved_report_types(bus: Bus, report: int) -> None:
    assert bus.refused(get_lba_status(0, report=report)) == in_cdb(14)


def test_the_room_is_filled_with_whole_descriptors(holed_bus: Bus) -> None:
    two = answer(ROOM_FULL, (0, 8, 0), (8, 8, 1))
    assert holed_bus.good(get_lba_status(0, 40)) == two
    assert holed_bus.good(get_lba_status(0, 55)) == two
    last = holed_bus.good(get_lba_status(40, 24))
    assert last == answer(END_OF_MEDIUM, (40, 24, 1))


@pytest.mark.parametrize("length", [0, 4, 8, 23])
def test_less_room_than_one_descriptor(holed_bus: Bus, length: int) -> None:
    """PARAMETER DATA LENGTH says one, whatever of it fits."""
    assert holed_bus.good(get_lba_status(0, length)) == answer(ROOM_FULL, (0, 8, 0))[:length]


def test_a_report_goes_on_where_the_last_one_ended(holed_bus: Bus) -> None:
    found: list[tuple[int, int, int]] = []
    lba = 0
    while lba < 64:
        data = holed_bus.good(get_lba_status(lba, 24))
        first, blocks = int.from_bytes(data[8:16], "big"), int.from_bytes(data[16:20], "big")
        found.append((first, blocks, data[20]))
        lba = first + blocks
    assert found == [(0, 8, 0), (8, 8, 1), (16, 24, 0), (40, 24, 1)]


def test_a_device_that_tells_little_at_a_time(holed_bus: Bus) -> None:
    holed_bus.device.runs_max = 1
    runs = [(8, 8, 1), (40, 24, 1)]
    assert holed_bus.good(get_lba_status(0, report=3)) == answer(END_OF_MEDIUM, *runs)
    assert len(holed_bus.device.calls) == 4


def test_the_looking_is_bounded() -> None:
    """The report does not say that it has seen the end."""
    bus = make_bus(MemoryDevice(blocks=1200))
    bus.device.deallocated = set(range(0, 1200, 2))
    bus.device.runs_max = 1
    data = bus.good(get_lba_status(1, 0xFFFF, report=0x02))
    assert len(data) == 8 + 16 * 512
    assert data[7] == NOT_SAID << 1 | RTP
    assert len(bus.device.calls) == 1024


def test_an_empty_answer_has_looked_to_the_end() -> None:
    """Else an initiator could not tell where to go on."""
    bus = make_bus(MemoryDevice(blocks=1200))
    bus.device.deallocated = set(range(1199))
    bus.device.runs_max = 1
    bus.device.run_blocks_max = 1
    assert bus.good(get_lba_status(0, report=0x02)) == answer(END_OF_MEDIUM, (1199, 1, 3))
    assert bus.good(get_lba_status(0, report=0x10)) == answer(END_OF_MEDIUM)


def test_a_run_longer_than_a_descriptor_can_say() -> None:
    bus = make_bus(HollowDevice(blocks=(3 << 32) - 5), thin=False)
    most = 0xFFFFFFFF
    runs = [(0, most, 0), (most, most, 0), (2 * most, most - 2, 0)]
    assert bus.good(get_lba_status(0)) == answer(END_OF_MEDIUM, *runs)


@pytest.mark.parametrize("lba", [64, 65, 1 << 31])
def test_past_the_end(bus: Bus, lba: int) -> None:
    assert bus.refused(get_lba_status(lba)) == fixed(LBA_OUT_OF_RANGE, information=lba)


@pytest.mark.parametrize(
    ("report", "runs"), [(0, [(3, 61, 0)]), (1, [(3, 61, 3)]), (2, [(3, 61, 3)]), (3, [])]
)
def test_a_fully_provisioned_unit_has_all_mapped(
    report: int, runs: list[tuple[int, int, int]]
) -> None:
    """SBC-4, 5.6.2.2, whatever its device would say."""
    bus = make_bus(MemoryDevice(), thin=False)
    bus.device.deallocated = set(range(64))
    assert bus.good(get_lba_status(3, report=report)) == answer(END_OF_MEDIUM, *runs)


def test_a_snapshot_is_as_thin_as_its_volume(read_only_bus: Bus) -> None:
    read_only_bus.device.deallocated = set(range(8, 64))
    runs = [(0, 8, 0), (8, 56, 1)]
    assert read_only_bus.good(get_lba_status(0)) == answer(END_OF_MEDIUM, *runs)


def test_what_unmap_and_write_change() -> None:
    bus = make_bus(MemoryDevice())
    descriptor = (8).to_bytes(8, "big") + (8).to_bytes(4, "big") + bytes(4)
    bus.good([0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0], b"\0\x16\0\x10\0\0\0\0" + descriptor)
    assert bus.good(get_lba_status(8, 24)) == answer(ROOM_FULL, (8, 8, 1))
    bus.good([0x2A, 0, *[0, 0, 0, 8], 0, *[0, 1], 0], bytes(512))
    assert bus.good(get_lba_status(8, 24)) == answer(ROOM_FULL, (8, 1, 0))


def test_a_failure(bus: Bus) -> None:
    bus.device.fail = lambda call: "io-error"
    assert bus.refused(get_lba_status(3)) == fixed(READ_ERROR, information=3)
