"""The eight-byte logical unit number (SAM-5, 4.7): which number it means, and its usual form.

Single level only, by the peripheral device method (numbers below 256) or the flat space method
(below 16384). A number is written in the first form where it fits, as initiators expect of REPORT
LUNS, and understood in both.

Initiators that know no methods send 256 and more as a plain number of sixteen bits, which reads as
the peripheral device method with a bus identifier. There are no buses here for it to mean, so it is
understood as the number. `scsi::lun` of the data path brings every form to the usual one.
"""

from typing import Final

from scsi_snap.scsi.limits import LUNS_MAX

_PERIPHERAL_MAX: Final = 256
_FLAT_SPACE: Final = 0x4000


def encode(number: int) -> int:
    """The eight-byte LUN, as an integer, of a logical unit's number."""
    assert 0 <= number < LUNS_MAX
    first_level = number if number < _PERIPHERAL_MAX else _FLAT_SPACE | number
    return first_level << 48


def decode(lun: int) -> int | None:
    """The number that an eight-byte LUN means; None where it can mean no unit of this target."""
    first_level, deeper = lun >> 48, lun & 0xFFFF_FFFF_FFFF
    if deeper or not 0 <= first_level <= 0xFFFF:
        return None
    return first_level & ~_FLAT_SPACE if first_level >> 15 == 0 else None
