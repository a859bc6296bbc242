"""Log pages (SPC-4, 7.3; SBC-4, 6.4): what each unit reports, from what it knows.

A page is a list of parameters by ascending code, each with its control byte. No value is saved, so
DS and TSD are set; no threshold of a counter is compared, so ETC is not.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from scsi_snap.scsi.statistics import Counts
from scsi_snap.scsi.thresholds import AVAILABLE, USED, in_sets

if TYPE_CHECKING:
    from scsi_snap.scsi.logical_unit import LogicalUnit

SUPPORTED_PAGES: Final = 0x00
PROVISIONING: Final = 0x0C
STATISTICS: Final = 0x19
ALL_SUBPAGES: Final = 0xFF

_DS, _SPF = 0x80, 0x40
_DU, _TSD = 0x80, 0x20
_UNBOUNDED_COUNTER, _BINARY_LIST = 0b10, 0b11

INTERVAL_NS: Final = 1000
"""A time interval of the statistics is a microsecond."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A log parameter."""

    code: int
    control: int
    value: bytes

    @property
    def is_counter(self) -> bool:
        """Can be reset by LOG SELECT."""
        return self.control & 0b11 == _UNBOUNDED_COUNTER

    def encode(self) -> bytes:
        """Parameter code, control byte, length, value (SPC-4, 7.3.2.2)."""
        return self.code.to_bytes(2, "big") + bytes([self.control, len(self.value)]) + self.value


Page = Callable[["LogicalUnit"], list[Parameter]]


def offered_by(unit: "LogicalUnit") -> dict[int, Page]:
    """The pages with parameters that the unit has, by page code; none has subpages of its own."""
    pages: dict[int, Page] = {STATISTICS: _statistics}
    if unit.has_thresholds:
        pages[PROVISIONING] = _provisioning
    return pages


def listed_by(unit: "LogicalUnit", page_code: int, subpage_code: int) -> bytes | None:
    """A page that lists pages, whole; None where it is not one (SPC-4, 7.3.17 to 7.3.19)."""
    codes = sorted([SUPPORTED_PAGES, *offered_by(unit)])
    if (page_code, subpage_code) == (SUPPORTED_PAGES, 0):
        return _encode(SUPPORTED_PAGES, 0, bytes(codes))
    if subpage_code != ALL_SUBPAGES or page_code not in codes:
        return None
    if page_code != SUPPORTED_PAGES:
        codes = [page_code]
    pairs = b"".join(bytes([code, subpage]) for code in codes for subpage in (0, ALL_SUBPAGES))
    return _encode(page_code, ALL_SUBPAGES, pairs)


def with_parameters(page_code: int, parameters: list[Parameter]) -> bytes:
    """The page, with DS: saving does nothing."""
    return _encode(page_code, 0, b"".join(each.encode() for each in parameters), _DS)


def _encode(page_code: int, subpage_code: int, contents: bytes, flags: int = 0) -> bytes:
    spf = _SPF if subpage_code else 0
    header = bytes([flags | spf | page_code, subpage_code])
    return header + len(contents).to_bytes(2, "big") + contents


def _provisioning(unit: "LogicalUnit") -> list[Parameter]:
    """SBC-4, 6.4.5. What is available is the pool's (scope 10b), what is used the unit's (01b)."""
    space = unit.care.space()
    if space is None:
        return []
    return [
        _resource(AVAILABLE, in_sets(space.available_bytes), 0b10),
        _resource(USED, in_sets(space.used_bytes), 0b01),
    ]


def _resource(code: int, count: int, scope: int) -> Parameter:
    return Parameter(code, _TSD | _BINARY_LIST, count.to_bytes(4, "big") + bytes([scope, 0, 0, 0]))


def _statistics(unit: "LogicalUnit") -> list[Parameter]:
    """SPC-4, 7.3.6. Command priority is not supported, so the weighted counts are zero. Nothing
    watches for idle time, which is what DU says of it."""
    return [
        Parameter(0x0001, _TSD | _UNBOUNDED_COUNTER, _access(unit)),
        Parameter(0x0002, _DU | _TSD | _UNBOUNDED_COUNTER, bytes(8)),
        Parameter(0x0003, _TSD | _BINARY_LIST, _time_interval()),
    ]


def _access(unit: "LogicalUnit") -> bytes:
    counts: Counts = unit.statistics.counts()
    block_bytes = unit.medium.block_bytes
    fields = (
        counts.reads,
        counts.writes,
        counts.written_bytes // block_bytes,
        counts.read_bytes // block_bytes,
        counts.read_ns // INTERVAL_NS,
        counts.write_ns // INTERVAL_NS,
        0,
        0,
    )
    return b"".join(field.to_bytes(8, "big") for field in fields)


def _time_interval() -> bytes:
    """EXPONENT, the negative power of ten, and INTEGER: a microsecond."""
    return (6).to_bytes(4, "big") + (1).to_bytes(4, "big")
