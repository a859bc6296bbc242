"""MODE SENSE and MODE SELECT."""

import pytest

from tests.t6_scsi.bus import Bus
from tests.t6_scsi.modes import (
    CACHING,
    CHANGEABLE,
    CONTROL,
    CONTROL_EXTENSION,
    CURRENT,
    D_SENSE,
    DEFAULT,
    EXCEPTIONS,
    NO_WCE,
    RECOVERY,
    SAVED,
    SWP,
    descriptor,
    select_6,
    with_bit,
)
from tests.t6_scsi.senses import (
    LIST_LENGTH_ERROR,
    MODE_CHANGED,
    SAVING_NOT_SUPPORTED,
    WRITE_PROTECTED,
    fixed,
    in_cdb,
    in_list,
)


class TestModeSense:
    def test_6_all_pages(self, bus_of: Bus) -> None:
        pages = RECOVERY + CACHING + CONTROL + EXCEPTIONS
        data = bus_of.good([0x1A, 0x00, 0x3F, 0x00, 0xFF, 0x00])
        # Length of the rest, medium type, DPOFUA, block descriptor length.
        assert data[:4] == bytes([3 + 8 + len(pages), 0, 0x10, 8])
        assert data[4:] == descriptor(bus_of) + pages

    def test_6_one_page_without_block_descriptor(self, bus: Bus) -> None:
        data = bus.good([0x1A, 0x08, 0x08, 0x00, 0xFF, 0x00])
        assert data == bytes([3 + 20, 0, 0x10, 0]) + CACHING

    def test_10(self, bus: Bus) -> None:
        data = bus.good([0x5A, 0x00, 0x0A, 0x00, 0, 0, 0, 0, 0xFF, 0])
        assert data == bytes([0, 6 + 8 + 12, 0, 0x10, 0, 0, 0, 8]) + descriptor(bus) + CONTROL

    def test_10_with_long_lba(self, bus: Bus) -> None:
        data = bus.good([0x5A, 0x10, 0x0A, 0x00, 0, 0, 0, 0, 0xFF, 0])
        long = (64).to_bytes(8, "big") + bytes(4) + (512).to_bytes(4, "big")
        assert data == bytes([0, 6 + 16 + 12, 0, 0x10, 1, 0, 0, 16]) + long + CONTROL

    @pytest.mark.parametrize("length", [0, 3, 4, 13])
    def test_the_allocation_length_cuts(self, bus: Bus, length: int) -> None:
        whole = bus.good([0x1A, 0, 0x3F, 0, 0xFF, 0])
        assert bus.good([0x1A, 0, 0x3F, 0, length, 0]) == whole[:length]

    def test_changeable(self, bus: Bus) -> None:
        """WCE, D_SENSE and SWP."""
        caching = bus.good([0x1A, 0x08, CHANGEABLE | 0x08, 0, 0xFF, 0])[4:]
        control = bus.good([0x1A, 0x08, CHANGEABLE | 0x0A, 0, 0xFF, 0])[4:]
        assert caching == bytes([0x08, 0x12, 0x04, *[0] * 17])
        assert control == bytes([0x0A, 0x0A, 0x04, 0, 0x08, *[0] * 7])

    def test_default_stays_when_current_changes(self, bus: Bus) -> None:
        select_6(bus, NO_WCE)
        assert bus.good([0x1A, 0x08, CURRENT | 0x08, 0, 0xFF, 0])[4:] == NO_WCE
        assert bus.good([0x1A, 0x08, DEFAULT | 0x08, 0, 0xFF, 0])[4:] == CACHING

    def test_saved_values(self, bus: Bus) -> None:
        sense = bus.refused([0x1A, 0x08, SAVED | 0x08, 0, 0xFF, 0])
        assert sense == fixed(SAVING_NOT_SUPPORTED)

    def test_a_page_that_is_not_there(self, bus: Bus) -> None:
        assert bus.refused([0x1A, 0, 0x19, 0, 0xFF, 0]) == in_cdb(2, bit=5)

    def test_subpages(self, bus: Bus) -> None:
        """FFh is all subpages of a page, 00h among them (SPC-4, 6.13)."""
        assert bus.good([0x1A, 0x08, 0x0A, 0x00, 0xFF, 0])[4:] == CONTROL
        assert bus.good([0x1A, 0x08, 0x0A, 0x01, 0xFF, 0])[4:] == CONTROL_EXTENSION
        assert bus.good([0x1A, 0x08, 0x0A, 0xFF, 0xFF, 0])[4:] == CONTROL + CONTROL_EXTENSION
        assert bus.good([0x1A, 0x08, 0x08, 0xFF, 0xFF, 0])[4:] == CACHING
        everything = RECOVERY + CACHING + CONTROL + CONTROL_EXTENSION + EXCEPTIONS
        assert bus.good([0x1A, 0x08, 0x3F, 0xFF, 0xFF, 0])[4:] == everything
        assert bus.refused([0x1A, 0x08, 0x0A, 0x02, 0xFF, 0]) == in_cdb(3)
        assert bus.refused([0x1A, 0x08, 0x3F, 0x01, 0xFF, 0]) == in_cdb(3)

    def test_a_subpage_is_selected_as_it_is_sensed(self, bus: Bus) -> None:
        select_6(bus, CONTROL_EXTENSION)
        assert bus.good([0x1A, 0x08, 0x0A, 0x01, 0xFF, 0])[4:] == CONTROL_EXTENSION

    def test_a_read_only_unit(self, read_only_bus: Bus) -> None:
        """WP is set; nothing is written, so there is no write cache."""
        data = read_only_bus.good([0x1A, 0x08, 0x08, 0, 0xFF, 0])
        assert data == bytes([23, 0, 0x90, 0]) + NO_WCE
        changeable = read_only_bus.good([0x1A, 0x08, CHANGEABLE | 0x08, 0, 0xFF, 0])
        assert changeable[6] == 0


class TestModeSelect:
    def test_wce_off_makes_each_write_durable(self, bus: Bus) -> None:
        """What was written before is made durable too (SBC-3)."""
        select_6(bus, NO_WCE)
        assert bus.device.calls == [("flush", 0, 0)]
        bus.device.calls.clear()
        bus.good([0x2A, 0, *[0, 0, 0, 7], 0, *[0, 1], 0], bytes(512))
        assert bus.device.calls == [("write", 7, 1), ("flush", 0, 0)]
        bus.device.calls.clear()
        bus.good([0x41, 0, *[0, 0, 0, 7], 0, *[0, 1], 0], bytes(512))
        assert bus.device.calls == [("write_zeroes", 7, 1), ("flush", 0, 0)]

    def test_swp_write_protects(self, bus: Bus) -> None:
        select_6(bus, SWP)
        sense = bus.refused([0x2A, 0, *[0, 0, 0, 7], 0, *[0, 1], 0], bytes(512))
        assert sense == fixed(WRITE_PROTECTED)
        assert bus.good([0x1A, 0x08, 0x0A, 0, 0xFF, 0])[2] == 0x90  # WP, DPOFUA
        select_6(bus, CONTROL)
        bus.good([0x2A, 0, *[0, 0, 0, 7], 0, *[0, 1], 0], bytes(512))

    def test_d_sense_chooses_descriptor_format(self, bus: Bus) -> None:
        """SPC-4, 4.5.2: 72h, then the information and field pointer descriptors."""
        select_6(bus, D_SENSE)
        assert bus.refused([0x88, 0, *[0xFF] * 8, *[0, 0, 0, 1], 0, 0]) == bytes(
            [0x72, 0x5, 0x21, 0x00, 0, 0, 0, 12, 0x00, 0x0A, 0x80, 0, *[0xFF] * 8]
        )
        assert bus.refused([0x28, 0x20, *[0] * 8]) == bytes(
            [0x72, 0x5, 0x24, 0x00, 0, 0, 0, 8, 0x02, 0x06, 0, 0, 0xCF, 0, 1, 0]
        )

    def test_10_with_long_block_descriptor(self, bus: Bus) -> None:
        long = (64).to_bytes(8, "big") + bytes(4) + (512).to_bytes(4, "big")
        data = bytes([0, 0, 0, 0, 1, 0, 0, 16]) + long + SWP
        bus.good([0x55, 0x10, 0, 0, 0, 0, 0, 0, len(data), 0], data)
        assert bus.unit.write_protected

    @pytest.mark.parametrize("blocks", [0, 64, 0xFFFFFFFF])
    def test_a_block_descriptor_that_changes_nothing(self, bus: Bus, blocks: int) -> None:
        data = bytes([0, 0, 0, 8]) + blocks.to_bytes(4, "big") + (512).to_bytes(4, "big") + SWP
        bus.good([0x15, 0x10, 0, 0, len(data), 0], data)
        assert bus.unit.write_protected

    def test_nothing_sent(self, bus: Bus) -> None:
        assert bus.command([0x15, 0x10, 0, 0, 0, 0]) == (0, b"", b"", 0)

    @pytest.mark.parametrize(
        ("data", "sense"),
        [
            (bytes(3), fixed(LIST_LENGTH_ERROR)),  # header cut short
            (bytes([0, 0, 0, 8]) + bytes(7), fixed(LIST_LENGTH_ERROR)),  # descriptor cut short
            (bytes([0, 0, 0, 7]) + bytes(7), in_list(3)),  # no such descriptor
            (bytes(4) + CONTROL[:1], fixed(LIST_LENGTH_ERROR)),  # page header cut short
            (bytes(4) + CONTROL[:-1], fixed(LIST_LENGTH_ERROR)),  # page cut short
            (bytes(4) + bytes([0x0A, 0x0B, *[0] * 11]), in_list(5)),  # wrong page length
            (bytes(4) + bytes([0x19, 0x06, *[0] * 6]), in_list(4, bit=5)),  # no such page
            (bytes(4) + bytes([0x4A, 0x02, *[0] * 10]), in_list(4, bit=6)),  # no such subpage
            (bytes(4) + bytes([0x4A, 0x01, 0x00, 0x1B, *[0] * 28]), in_list(7)),  # wrong length
            (bytes(4) + CONTROL_EXTENSION[:-1], fixed(LIST_LENGTH_ERROR)),  # subpage cut short
            (bytes(4) + with_bit(CONTROL_EXTENSION, 4, 1), in_list(8, bit=0)),  # not changeable
            (bytes(4) + with_bit(CONTROL, 3, 0x20), in_list(4 + 3, bit=5)),  # not changeable
            (bytes(4) + RECOVERY + with_bit(CACHING, 2, 1), in_list(16 + 2, bit=0)),  # RCD
            (
                bytes([0, 0, 0, 8]) + (65).to_bytes(4, "big") + (512).to_bytes(4, "big"),
                in_list(4),
            ),  # other size
            (
                bytes([0, 0, 0, 8]) + (64).to_bytes(4, "big") + (520).to_bytes(4, "big"),
                in_list(9),
            ),  # other block length
        ],
    )
    def test_lists_that_are_refused(self, bus: Bus, data: bytes, sense: bytes) -> None:
        assert bus.refused([0x15, 0x10, 0, 0, len(data), 0], data) == sense

    def test_all_pages_or_none(self, bus: Bus) -> None:
        data = bytes(4) + SWP + with_bit(CACHING, 2, 1)
        bus.refused([0x15, 0x10, 0, 0, len(data), 0], data)
        assert not bus.unit.write_protected

    def test_a_list_cut_short_on_the_way(self, bus: Bus) -> None:
        data = bytes(4) + SWP
        sense = bus.refused([0x15, 0x10, 0, 0, len(data), 0], data[:-1])
        assert sense == fixed(LIST_LENGTH_ERROR)

    def test_saving_and_other_formats(self, bus: Bus) -> None:
        data = bytes(4) + SWP
        assert bus.refused([0x15, 0x11, 0, 0, len(data), 0], data) == in_cdb(1, bit=0)  # SP
        assert bus.refused([0x15, 0x12, 0, 0, len(data), 0], data) == in_cdb(1, bit=1)  # RTD
        assert bus.refused([0x15, 0x00, 0, 0, len(data), 0], data) == in_cdb(1, bit=4)  # no PF

    def test_other_nexuses_learn_of_a_change_and_of_nothing_else(self, bus: Bus) -> None:
        bus.clear_attentions(2)
        select_6(bus, CONTROL)
        bus.good([0] * 6, nexus=2)
        select_6(bus, SWP)
        bus.good([0] * 6)
        assert bus.refused([0] * 6, nexus=2) == fixed(MODE_CHANGED)
