"""Logical block provisioning thresholds (SBC-4, 4.7.3.7): when to say that space is running out.

Resources are counted in threshold sets of one mebibyte, the grain of a pool. The Logical Block
Provisioning mode page has two thresholds, one on what is available and one on what is used; a
`ThresholdWatch` remembers which of them are armed.

A threshold is a range one set wide around its count. A decreasing one is armed while the value is
below the top of the range, and goes off below its bottom; once off, it is armed again when the
value has been above the top. An increasing one is the mirror image. The value, a whole number of
sets, is at the count itself when it is inside the range.
"""

from dataclasses import dataclass
from typing import Final

from scsi_snap.scsi.caretaker import Space

THRESHOLD_SET_BYTES: Final = 1 << 20
"""A mebibyte: counts of the largest pool still have 32 bits."""

COUNT_MAX: Final = 0xFFFFFFFF

AVAILABLE, USED = 0x01, 0x02
"""THRESHOLD RESOURCE, and parameter code of the Logical Block Provisioning log page."""

DECREASING, INCREASING = 0b000, 0b001
"""THRESHOLD ARMING."""


def threshold_exponent(block_bytes: int) -> int:
    """THRESHOLD EXPONENT of the Logical Block Provisioning page: blocks of a set, by power of 2."""
    return (THRESHOLD_SET_BYTES // block_bytes).bit_length() - 1


def in_sets(length_bytes: int) -> int:
    """As a resource count."""
    return min(length_bytes // THRESHOLD_SET_BYTES, COUNT_MAX)


@dataclass(frozen=True, slots=True)
class Threshold:
    """A threshold descriptor that is enabled, and where it is in its mode page."""

    offset: int
    resource: int
    count: int


class ThresholdWatch:
    """Which thresholds have gone off. The owner locks."""

    def __init__(self) -> None:
        self._gone_off: set[Threshold] = set()
        self.last_offset: int | None = None
        """Where the descriptor of the one that went off last is in the mode page."""

    def rearm(self) -> None:
        """A logical unit reset: what is still beyond a threshold is told again."""
        self._gone_off.clear()

    def crossed(self, thresholds: list[Threshold], space: Space) -> list[Threshold]:
        """Those that go off now. One that was changed is another one, and armed."""
        self._gone_off &= set(thresholds)
        found = []
        for one in thresholds:
            beyond = _beyond(one, space)
            if beyond > 0 and one not in self._gone_off:
                self._gone_off.add(one)
                found.append(one)
                self.last_offset = one.offset
            elif beyond < 0:
                self._gone_off.discard(one)
        return found


def _beyond(threshold: Threshold, space: Space) -> int:
    """Above 0: past the range; below 0: on the side it came from; 0: inside it."""
    if threshold.resource == AVAILABLE:
        return threshold.count - in_sets(space.available_bytes)
    return in_sets(space.used_bytes) - threshold.count
