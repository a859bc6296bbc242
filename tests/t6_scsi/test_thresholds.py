"""Logical block provisioning thresholds (SBC-4, 4.7.3.7 and 6.5.9): told once when they are
crossed, armed again when the value is back on its own side.
"""

import pytest

from scsi_snap.scsi.caretaker import Space
from scsi_snap.scsi.thresholds import AVAILABLE, USED, Threshold, ThresholdWatch
from tests.t6_scsi.bus import Bus, make_bus
from tests.t6_scsi.fakes import HollowDevice
from tests.t6_scsi.modes import RECOVERY, select_6, with_bit
from tests.t6_scsi.senses import fixed, in_list
from tests.t6_scsi.test_log_pages import Keeper

MIB = 1 << 20
REACHED = (0x6, 0x38, 0x07)
RECOVERY_LBPERE = with_bit(RECOVERY, 7, 0x80)


@pytest.fixture
def bus() -> Bus:
    """A unit of 200 MiB: a twentieth is ten threshold sets."""
    return make_bus(HollowDevice(blocks=200 * MIB // 512), caretaker=Keeper())


def page(
    available: int = 10, *, enabled: int = 0x80, used: int = 0, used_enabled: int = 0
) -> bytes:
    """Page code, subpage code, length; SITUA; the two descriptors."""
    return (
        bytes([0x5C, 0x02, 0, 28, *[0] * 12])
        + bytes([enabled, 0x01, 0, 0, *available.to_bytes(4, "big")])
        + bytes([used_enabled | 0x01, 0x02, 0, 0, *used.to_bytes(4, "big")])
    )


def sensed(bus: Bus) -> bytes:
    return bus.good([0x1A, 0x08, 0x1C, 0x02, 0xFF, 0])[4:]


def watch(bus: Bus, available: int, used: int = 0) -> None:
    bus.unit.watch_space(Space(used * MIB, available * MIB))


def told(bus: Bus, nexus: int = 1) -> bool:
    return told_of(bus, nexus) is not None


def told_of(bus: Bus, nexus: int = 1) -> int | None:
    """INFORMATION: which descriptor of the mode page it is about (SBC-4, 4.7.3.7.6)."""
    status, sense, _, _ = bus.command([0] * 6, nexus=nexus)
    if status == 0:
        return None
    offset = int.from_bytes(sense[3:7], "big")
    assert sense == fixed(REACHED, information=offset)
    return offset


def test_the_pages_of_a_unit_with_thresholds(bus: Bus) -> None:
    """LBPERE is set: whoever does not look learns of it all the same."""
    assert sensed(bus) == page()
    assert bus.good([0x1A, 0x08, 0x01, 0, 0xFF, 0])[4:] == RECOVERY_LBPERE


def test_every_nexus_is_told_once(bus: Bus) -> None:
    bus.clear_attentions(2)
    watch(bus, 11)
    watch(bus, 10)
    assert not told(bus)
    watch(bus, 9)
    assert told(bus) and told(bus, nexus=2)
    watch(bus, 8)
    assert not told(bus)


def test_it_is_armed_again_above_the_range(bus: Bus) -> None:
    watch(bus, 9)
    assert told(bus)
    watch(bus, 10)
    watch(bus, 9)
    assert not told(bus)
    watch(bus, 11)
    watch(bus, 9)
    assert told(bus)


def test_initiators_move_and_switch_thresholds(bus: Bus) -> None:
    select_6(bus, page(100, enabled=0, used=5, used_enabled=0x80))
    assert sensed(bus) == page(100, enabled=0, used=5, used_enabled=0x80)
    watch(bus, 1, used=5)
    assert not told(bus)
    watch(bus, 1, used=6)
    assert told_of(bus) == 24
    select_6(bus, page(100, enabled=0x80))
    watch(bus, 99)
    assert told_of(bus) == 16
    # One that is moved is another one.
    select_6(bus, page(101, enabled=0x80))
    watch(bus, 99)
    assert told(bus)


def test_without_lbpere_nobody_is_told(bus: Bus) -> None:
    select_6(bus, RECOVERY)
    watch(bus, 1)
    assert not told(bus)
    select_6(bus, RECOVERY_LBPERE)
    watch(bus, 1)
    assert told(bus)


@pytest.mark.parametrize(
    ("byte", "bit"), [(4, 0), (16, 3), (16, 0), (17, 1), (18, 7), (24, 0), (25, 0)]
)
def test_what_a_threshold_is_about_is_not_chosen(bus: Bus, byte: int, bit: int) -> None:
    """SITUA, THRESHOLD TYPE, THRESHOLD ARMING, THRESHOLD RESOURCE."""
    data = bytes(4) + with_bit(page(), byte, 1 << bit)
    assert bus.refused([0x15, 0x10, 0, 0, len(data), 0], data) == in_list(4 + byte, bit=bit)


def test_a_reset_brings_the_defaults_back(bus: Bus) -> None:
    select_6(bus, page(100, enabled=0))
    bus.unit.reset()
    bus.clear_attentions(1)
    assert sensed(bus) == page()


def test_after_a_reset_it_is_told_again(bus: Bus) -> None:
    watch(bus, 9)
    assert told(bus)
    bus.unit.reset()
    bus.clear_attentions(1)
    watch(bus, 9)
    assert told(bus)


def test_a_full_pool_and_a_pool_beyond_32_bits() -> None:
    threshold = Threshold(16, AVAILABLE, 0)
    assert ThresholdWatch().crossed([threshold], Space(0, 0)) == []
    threshold = Threshold(24, USED, 0xFFFFFFFE)
    assert ThresholdWatch().crossed([threshold], Space(1 << 62, 0)) == [threshold]
