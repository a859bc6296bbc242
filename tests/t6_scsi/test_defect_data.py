"""READ DEFECT DATA: bus traces (SBC-4, 5.22 and 5.23)."""

import pytest

from tests.t6_scsi.bus import Bus

PLIST, GLIST = 0x10, 0x08


@pytest.mark.parametrize("lists", [0, PLIST, GLIST, PLIST | GLIST])
@pytest.mark.parametrize("address_format", [0b000, 0b011, 0b101])
class TestNoDefects:
    """Headers only: the lists asked for are valid, in the format asked for, and empty."""

    def test_10(self, bus: Bus, lists: int, address_format: int) -> None:
        cdb = [0x37, 0, lists | address_format, 0, 0, 0, 0, *[0, 99], 0]
        assert bus.good(cdb) == bytes([0, lists | address_format, 0, 0])

    def test_12(self, bus: Bus, lists: int, address_format: int) -> None:
        cdb = [0xB7, lists | address_format, *[0, 0, 0, 0], *[0, 0, 0, 99], 0, 0]
        assert bus.good(cdb) == bytes([0, lists | address_format, 0, 0, 0, 0, 0, 0])


def test_an_index_past_the_list_finds_an_empty_one(bus: Bus) -> None:
    cdb = [0xB7, GLIST, *[0, 0, 0, 7], *[0, 0, 0, 99], 0, 0]
    assert bus.good(cdb) == bytes([0, GLIST, 0, 0, 0, 0, 0, 0])


def test_the_allocation_length_cuts(bus: Bus) -> None:
    assert bus.good([0x37, 0, GLIST, 0, 0, 0, 0, *[0, 2], 0]) == bytes([0, GLIST])
