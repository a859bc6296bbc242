"""What a logical unit has done, for the General Statistics and Performance log page (SPC-4, 7.3.6).

Commands of the fast path are counted where they run; the others, and all that fail, are counted
here. Counts begin with the unit. A reset of the log moves the origin: counts of the fast path are
not ours to clear.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Final

from scsi_snap.scsi.device import BlockDevice
from scsi_snap.scsi.request import Completion, Status

_VARIABLE_LENGTH = 0x7F
READS: Final = frozenset({0x08, 0x28, 0xA8, 0x88, (_VARIABLE_LENGTH, 0x09)})
"""READ in all its forms; the six-byte one counts too."""
WRITES: Final = frozenset(
    {0x0A, 0x2A, 0xAA, 0x8A, 0x2E, 0xAE, 0x8E, 0x42}
    | {(_VARIABLE_LENGTH, 0x0B), (_VARIABLE_LENGTH, 0x0C)}
)
"""WRITE and WRITE AND VERIFY in all their forms, and UNMAP, which receives no logical block."""
_UNMAP = 0x42


@dataclass(frozen=True, slots=True)
class Counts:
    """Cumulative; bytes are those of logical blocks."""

    reads: int = 0
    read_bytes: int = 0
    read_ns: int = 0
    writes: int = 0
    written_bytes: int = 0
    write_ns: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(getattr(self, one) + getattr(other, one) for one in _NAMES))

    def __sub__(self, other: "Counts") -> "Counts":
        return Counts(*(getattr(self, one) - getattr(other, one) for one in _NAMES))


_NAMES = tuple(field.name for field in fields(Counts))


class Statistics:
    """Of one logical unit, in both paths."""

    def __init__(self, device: BlockDevice, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self.now_ns: Final = now_ns
        self._device: Final = device
        self._lock: Final = threading.Lock()
        self._here = Counts()
        self._origin = Counts()

    def count(self, cdb: bytes, data_out_bytes: int, done: Completion, began_ns: int) -> None:
        """A command of the slow path that has ended, to which so much Data-Out came."""
        code = _operation(cdb)
        took_ns = self.now_ns() - began_ns
        good = done.status is Status.GOOD
        if code in READS:
            more = Counts(1, len(done.data_in) if good else 0, took_ns)
        elif code in WRITES:
            writes = good and code != _UNMAP
            moved = min(done.data_out_wanted_bytes, data_out_bytes) if writes else 0
            more = Counts(0, 0, 0, 1, moved, took_ns)
        else:
            return
        with self._lock:
            self._here += more

    def counts(self) -> Counts:
        """Since the unit began, or the log was reset."""
        with self._lock:
            return self._all() - self._origin

    def reset(self) -> None:
        """Counts from here on."""
        with self._lock:
            self._origin = self._all()

    def _all(self) -> Counts:
        return self._here + Counts(*self._device.fast_path_counts())


def _operation(cdb: bytes) -> int | tuple[int, int]:
    if len(cdb) >= 10 and cdb[0] == _VARIABLE_LENGTH:
        return _VARIABLE_LENGTH, int.from_bytes(cdb[8:10], "big")
    return cdb[0] if cdb else -1
