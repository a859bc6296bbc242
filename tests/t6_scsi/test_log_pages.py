"""LOG SENSE and LOG SELECT, CDB by CDB, and what the pages count."""

import pytest

from scsi_snap.scsi.caretaker import Nobody, Space
from scsi_snap.scsi.device import BlockDevice
from scsi_snap.scsi.request import Completion, Status
from scsi_snap.scsi.statistics import Counts, Statistics
from tests.t6_scsi.bus import Bus, make_bus
from tests.t6_scsi.fakes import MemoryDevice
from tests.t6_scsi.senses import LIST_LENGTH_ERROR, fixed, in_cdb, in_list

MIB = 1 << 20
LOG_CHANGED = (0x6, 0x2A, 0x02)
THRESHOLDS, CUMULATIVE, DEFAULT_THRESHOLDS, DEFAULT_CUMULATIVE = range(4)


class Keeper(Nobody):
    """Knows of some space."""

    def __init__(self, available_bytes: int = 7 * MIB + 1, used_bytes: int = 3 * MIB) -> None:
        super().__init__()
        self.known: Space | None = Space(used_bytes, available_bytes)

    def space(self) -> Space | None:
        return self.known


@pytest.fixture
def thin_bus() -> Bus:
    return make_bus(MemoryDevice(), caretaker=Keeper())


def sense_cdb(page: int, subpage: int = 0, pointer: int = 0, control: int = 1) -> list[int]:
    pc_page = control << 6 | page
    return [0x4D, 0, pc_page, subpage, 0, *pointer.to_bytes(2, "big"), 0x02, 0x00, 0]


def select_cdb(
    page: int = 0, subpage: int = 0, *, flags: int = 0, control: int = 1, length: int = 0
) -> list[int]:
    return [0x4C, flags, control << 6 | page, subpage, 0, 0, 0, *length.to_bytes(2, "big"), 0]


SP, PCR = 0x01, 0x02


def parameters(page: bytes) -> dict[int, tuple[int, bytes]]:
    """Control byte and value by parameter code; the page is whole and in order."""
    assert int.from_bytes(page[2:4], "big") == len(page) - 4
    found: dict[int, tuple[int, bytes]] = {}
    at = 4
    while at < len(page):
        code, length = int.from_bytes(page[at : at + 2], "big"), page[at + 3]
        assert not found or code > max(found)
        found[code] = page[at + 2], page[at + 4 : at + 4 + length]
        at += 4 + length
    assert at == len(page)
    return found


def access(bus: Bus, control: int = CUMULATIVE) -> list[int]:
    """The eight counters of General Access Statistics and Performance."""
    value = parameters(bus.good(sense_cdb(0x19, control=control)))[0x0001][1]
    return [int.from_bytes(value[at : at + 8], "big") for at in range(0, 64, 8)]


class TestLists:
    """SPC-4, 7.3.17 to 7.3.19."""

    def test_supported_pages(self, bus: Bus, thin_bus: Bus) -> None:
        assert bus.good(sense_cdb(0x00)) == bytes([0x00, 0, 0, 2, 0x00, 0x19])
        assert thin_bus.good(sense_cdb(0x00)) == bytes([0x00, 0, 0, 3, 0x00, 0x0C, 0x19])

    def test_supported_pages_and_subpages(self, bus: Bus) -> None:
        assert bus.good(sense_cdb(0x00, 0xFF)) == bytes(
            [0x40, 0xFF, 0, 8, 0x00, 0x00, 0x00, 0xFF, 0x19, 0x00, 0x19, 0xFF]
        )

    def test_supported_subpages(self, bus: Bus) -> None:
        assert bus.good(sense_cdb(0x19, 0xFF)) == bytes([0x59, 0xFF, 0, 4, 0x19, 0, 0x19, 0xFF])

    def test_every_listed_page_is_there_and_no_other(self, thin_bus: Bus) -> None:
        pairs = thin_bus.good(sense_cdb(0x00, 0xFF))[4:]
        listed = {(pairs[at], pairs[at + 1]) for at in range(0, len(pairs), 2)}
        for page in range(0x40):
            for subpage in (0x00, 0x01, 0xFE, 0xFF):
                if (page, subpage) in listed:
                    data = thin_bus.good(sense_cdb(page, subpage))
                    assert data[0] & 0x7F == page | (0x40 if subpage else 0)
                    assert data[1] == subpage
                else:
                    known = (page, 0) in listed and page
                    pointer = in_cdb(3) if known else in_cdb(2, bit=5)
                    assert thin_bus.refused(sense_cdb(page, subpage)) == pointer

    def test_a_list_has_no_parameter_to_point_to(self, bus: Bus) -> None:
        assert bus.refused(sense_cdb(0x00, pointer=1)) == in_cdb(5)

    def test_nothing_is_saved(self, bus: Bus) -> None:
        cdb = sense_cdb(0x19)
        cdb[1] = SP
        assert bus.refused(cdb) == in_cdb(1, bit=0)

    def test_the_allocation_length_cuts(self, bus: Bus) -> None:
        assert bus.good([*sense_cdb(0x19)[:7], 0, 4, 0]) == bytes([0x99, 0, 0, 92])


class TestProvisioning:
    """SBC-4, 6.4.5: counts of threshold sets, which are mebibytes."""

    def test_available_and_used(self, thin_bus: Bus) -> None:
        page = thin_bus.good(sense_cdb(0x0C))
        available = bytes([0, 1, 0x23, 8, 0, 0, 0, 7, 0b10, 0, 0, 0])  # the pool's
        used = bytes([0, 2, 0x23, 8, 0, 0, 0, 3, 0b01, 0, 0, 0])  # the unit's own
        assert page == bytes([0x8C, 0, 0, 24]) + available + used

    def test_lists_have_no_thresholds(self, thin_bus: Bus) -> None:
        """PC is ignored for list parameters (SPC-4, 6.8)."""
        pages = {thin_bus.good(sense_cdb(0x0C, control=control)) for control in range(4)}
        assert len(pages) == 1

    def test_from_a_parameter_on(self, thin_bus: Bus) -> None:
        whole = parameters(thin_bus.good(sense_cdb(0x0C)))
        rest = parameters(thin_bus.good(sense_cdb(0x0C, pointer=2)))
        assert rest == {2: whole[2]}
        assert thin_bus.refused(sense_cdb(0x0C, pointer=3)) == in_cdb(5)

    def test_the_page_agrees_with_the_threshold_exponent(self) -> None:
        """SBC-4, 6.6.7: 2 to the power of the exponent blocks are a set."""
        for block_bytes in (512, 4096):
            bus = make_bus(MemoryDevice(block_bytes=block_bytes), caretaker=Keeper())
            exponent = bus.good([0x12, 1, 0xB2, 0, 8, 0])[4]
            assert block_bytes << exponent == MIB

    def test_a_unit_without_it_has_no_exponent_either(self, bus: Bus, read_only_bus: Bus) -> None:
        for one in (bus, read_only_bus, make_bus(MemoryDevice(read_only=True), caretaker=Keeper())):
            assert one.good([0x12, 1, 0xB2, 0, 8, 0])[4] == 0
            assert one.refused(sense_cdb(0x0C)) == in_cdb(2, bit=5)
            assert one.refused([0x1A, 8, 0x1C, 2, 255, 0]) == in_cdb(3)

    def test_a_pool_that_knows_nothing_just_now(self) -> None:
        keeper = Keeper()
        bus = make_bus(MemoryDevice(), caretaker=keeper)
        keeper.known = None
        assert bus.good(sense_cdb(0x0C)) == bytes([0x8C, 0, 0, 0])


class TestStatistics:
    """SPC-4, 7.3.6."""

    def test_the_mandatory_parameters(self, bus: Bus) -> None:
        found = parameters(bus.good(sense_cdb(0x19)))
        assert {code: (control, len(value)) for code, (control, value) in found.items()} == {
            0x0001: (0x22, 64),  # TSD, unbounded counter
            0x0002: (0xA2, 8),  # not watched: DU
            0x0003: (0x23, 8),
        }
        assert found[0x0003][1] == bytes([0, 0, 0, 6, 0, 0, 0, 1])  # 1 microsecond

    def test_commands_and_blocks_are_counted(self, bus: Bus) -> None:
        bus.good([0x28, 0, *[0] * 4, 0, *[0, 3], 0])
        bus.good([0x88, 0, *[0] * 8, *[0, 0, 0, 2], 0, 0])
        bus.good([0x2A, 0, *[0] * 4, 0, *[0, 4], 0], bytes(2048))
        bus.good([0x42, 0, *[0] * 5, *[0, 24], 0], bytes([0, 22, 0, 16, *[0] * 15, 1, *[0] * 4]))
        bus.refused([0x28, 0, *[0xFF] * 4, 0, *[0, 1], 0])
        assert access(bus)[:4] == [3, 2, 4, 5]
        assert access(bus)[6:] == [0, 0]  # command priority is not supported

    def test_the_fast_path_is_counted(self, bus: Bus) -> None:
        bus.device.fast_path = (10, 10 * 512, 30_000, 20, 40 * 512, 50_000)
        assert access(bus) == [10, 20, 40, 10, 30, 50, 0, 0]
        bus.good([0x28, 0, *[0] * 4, 0, *[0, 1], 0])
        assert access(bus)[:4] == [11, 20, 40, 11]

    def test_time_is_that_of_the_command(self) -> None:
        clock = iter(range(0, 100_000, 7_000))
        statistics = Statistics(MemoryDevice(), lambda: next(clock))
        read = bytes([0x28, *[0] * 9])
        statistics.count(read, 0, Completion(Status.GOOD, data_in=bytes(512)), statistics.now_ns())
        assert statistics.counts() == Counts(1, 512, 7_000)

    @pytest.mark.parametrize(
        ("cdb", "counted"),
        [
            ("08", (1, 0)),
            ("0a", (0, 1)),
            ("a8", (1, 0)),
            ("8a", (0, 1)),
            ("ae", (0, 1)),
            ("7f000000000000180009", (1, 0)),
            ("7f00000000000018000c", (0, 1)),
            ("7f00000000000018000d", (0, 0)),
            ("7f", (0, 0)),
            ("2f", (0, 0)),
            ("12", (0, 0)),
            ("", (0, 0)),
        ],
    )
    def test_what_is_a_read_and_what_a_write(self, cdb: str, counted: tuple[int, int]) -> None:
        """SPC-4, table 375."""
        device: BlockDevice = MemoryDevice()
        statistics = Statistics(device, lambda: 0)
        statistics.count(bytes.fromhex(cdb), 0, Completion(Status.GOOD), 0)
        assert (statistics.counts().reads, statistics.counts().writes) == counted

    @pytest.mark.parametrize("control", [THRESHOLDS, DEFAULT_THRESHOLDS, DEFAULT_CUMULATIVE])
    def test_thresholds_and_defaults_are_zero(self, bus: Bus, control: int) -> None:
        bus.good([0x28, 0, *[0] * 4, 0, *[0, 3], 0])
        found = parameters(bus.good(sense_cdb(0x19, control=control)))
        assert found[1] == (0x22, bytes(64)) and found[2] == (0x22, bytes(8))
        assert found[3] == (0x23, bytes([0, 0, 0, 6, 0, 0, 0, 1]))


class TestLogSelect:
    """SPC-4, 6.7 and 7.3.2."""

    def used(self, bus: Bus) -> Bus:
        bus.device.fast_path = (10, 10 * 512, 30_000, 20, 40 * 512, 50_000)
        bus.good([0x28, 0, *[0] * 4, 0, *[0, 3], 0])
        assert access(bus)[0] == 11
        return bus

    @pytest.mark.parametrize(
        ("page", "subpage", "flags", "control"),
        [
            (0x00, 0x00, PCR, THRESHOLDS),
            (0x00, 0xFF, PCR, CUMULATIVE),
            (0x19, 0x00, PCR, CUMULATIVE),
            (0x19, 0xFF, PCR, DEFAULT_THRESHOLDS),
            (0x19, 0x00, PCR | SP, DEFAULT_THRESHOLDS),
            (0x19, 0x00, 0, DEFAULT_CUMULATIVE),
            (0x19, 0x00, SP, DEFAULT_CUMULATIVE),
        ],
    )
    def test_counters_are_reset(
        self, bus: Bus, page: int, subpage: int, flags: int, control: int
    ) -> None:
        """Table 186. The others are told (7.3.2.2.1), and counting goes on."""
        self.used(bus).clear_attentions(2)
        bus.good(select_cdb(page, subpage, flags=flags, control=control))
        assert access(bus) == [0] * 8
        assert bus.refused([0] * 6, nexus=2) == fixed(LOG_CHANGED)
        bus.good([0] * 6)
        bus.device.fast_path = (11, 11 * 512, 30_000, 20, 40 * 512, 50_000)
        assert access(bus)[0] == 1

    @pytest.mark.parametrize(
        ("flags", "control"), [(0, THRESHOLDS), (0, CUMULATIVE), (0, DEFAULT_THRESHOLDS)]
    )
    def test_nothing_is_asked_for(self, bus: Bus, flags: int, control: int) -> None:
        bus.clear_attentions(2)
        self.used(bus).good(select_cdb(flags=flags, control=control))
        assert access(bus)[0] == 11
        bus.good([0] * 6, nexus=2)

    def test_a_page_without_counters(self, thin_bus: Bus) -> None:
        self.used(thin_bus).good(select_cdb(0x0C, flags=PCR))
        assert access(thin_bus)[0] == 11

    @pytest.mark.parametrize("flags", [SP, SP | PCR])
    @pytest.mark.parametrize("control", [THRESHOLDS, CUMULATIVE])
    def test_current_values_are_not_saved(self, bus: Bus, flags: int, control: int) -> None:
        self.used(bus)
        assert bus.refused(select_cdb(flags=flags, control=control)) == in_cdb(1, bit=0)
        assert access(bus)[0] == 11

    def test_pages_that_are_not_there(self, bus: Bus) -> None:
        assert bus.refused(select_cdb(0x0D, flags=PCR)) == in_cdb(2, bit=5)
        assert bus.refused(select_cdb(0x19, 0x01, flags=PCR)) == in_cdb(3)

    ZEROS = bytes([0x99, 0, 0, 68, 0, 1, 0x22, 64, *[0] * 64])

    def test_a_list_of_zeros_resets(self, bus: Bus) -> None:
        self.used(bus).good(select_cdb(length=len(self.ZEROS)), self.ZEROS)
        assert access(bus) == [0] * 8

    def test_a_list_for_thresholds_changes_nothing(self, bus: Bus) -> None:
        cdb = select_cdb(length=len(self.ZEROS), control=THRESHOLDS)
        self.used(bus).good(cdb, self.ZEROS)
        assert access(bus)[0] == 11

    @pytest.mark.parametrize(
        ("data", "sense"),
        [
            (bytes([0x99, 0, 0]), in_list(0)),  # page header cut short
            (bytes([0x8D, 0, 0, 0]), in_list(0, bit=5)),  # no such page
            (bytes([0xD9, 1, 0, 0]), in_list(0, bit=5)),  # no such subpage
            (bytes([0x99, 1, 0, 0]), in_list(1)),
            (bytes([0x99, 0, 0, 1]), in_list(2)),  # page cut short
            (bytes([0x99, 0, 0, 0, 0x99, 0, 0, 0]), in_list(4, bit=5)),  # not ascending
            (bytes([0x99, 0, 0, 2, 0, 1]), in_list(4)),  # parameter header cut short
            (bytes([0x99, 0, 0, 4, 0, 9, 0x22, 0]), in_list(4)),  # no such parameter
            (bytes([0x99, 0, 0, 8, 0, 1, 0x22, 64, *[0] * 4]), in_list(8)),  # cut short
            (bytes([0x99, 0, 0, 68, 0, 1, 0x22, 63, *[0] * 64]), in_list(7)),  # its length
            (bytes([0x99, 0, 0, 68, 0, 1, 0xA2, 64, *[0] * 64]), in_list(6)),  # DU
            (bytes([0x99, 0, 0, 68, 0, 1, 0x22, 64, *[0] * 63, 1]), in_list(8)),  # a value
            (bytes([0x99, 0, 0, 12, 0, 3, 0x23, 8, *[0] * 8]), in_list(4)),  # never changes
        ],
    )
    def test_lists_that_are_refused(self, bus: Bus, data: bytes, sense: bytes) -> None:
        self.used(bus)
        assert bus.refused(select_cdb(length=len(data)), data) == sense
        assert access(bus)[0] == 11

    def test_a_list_and_a_page_in_the_cdb(self, bus: Bus) -> None:
        length = len(self.ZEROS)
        assert bus.refused(select_cdb(0x19, length=length), self.ZEROS) == in_cdb(2, bit=5)
        assert bus.refused(select_cdb(0, 1, length=length), self.ZEROS) == in_cdb(3)
        assert bus.refused(select_cdb(flags=PCR, length=length), self.ZEROS) == in_cdb(1, bit=1)

    def test_a_list_cut_short_on_the_way(self, bus: Bus) -> None:
        assert bus.refused(select_cdb(length=72), self.ZEROS[:70]) == fixed(LIST_LENGTH_ERROR)
