"""What a logical unit asks of whoever keeps its volume, beside its blocks: how much space there is,
and to remember a little.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from scsi_snap.scsi.sense import SenseCode, refuse


@dataclass(frozen=True, slots=True)
class Space:
    """Both are estimates: other volumes of the pool take from it too."""

    used_bytes: int
    """Of the pool, set aside for the volume and for what its snapshots have preserved."""
    available_bytes: int
    """What writes to the volume may still take, for chunks to be preserved. With none left they
    fail, or cost a snapshot."""


class Caretaker(Protocol):
    """Calls block. A failure is an exception with a stable `code`, as a device's is."""

    def space(self) -> Space | None:
        """None: nothing is known of it."""

    def information(self, kind: str) -> bytes:
        """What was kept last under this name; empty where nothing was."""

    def keep_information(self, kind: str, data: bytes) -> None:
        """Durable when it returns; empty removes."""


class Nobody:
    """Of a unit over a device that stands alone: knows nothing, and remembers until it ends."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def space(self) -> Space | None:
        """Nothing is known."""
        return None

    def information(self, kind: str) -> bytes:
        """As kept by this process."""
        return self._kept.get(kind, b"")

    def keep_information(self, kind: str, data: bytes) -> None:
        """Until the process ends."""
        self._kept[kind] = data


class Care:
    """A caretaker, its failures as sense data."""

    def __init__(self, caretaker: Caretaker) -> None:
        self._caretaker: Final = caretaker

    def space(self) -> Space | None:
        """None: nothing is known of it."""
        with _failures_as(SenseCode.INTERNAL_TARGET_FAILURE):
            return self._caretaker.space()

    def information(self, kind: str) -> bytes:
        """What was kept last."""
        with _failures_as(SenseCode.INTERNAL_TARGET_FAILURE):
            return self._caretaker.information(kind)

    def keep_information(self, kind: str, data: bytes) -> None:
        """Durable when it returns."""
        with _failures_as(SenseCode.WRITE_ERROR):
            self._caretaker.keep_information(kind, data)


@contextmanager
def _failures_as(cause: SenseCode) -> Iterator[None]:
    try:
        yield
    except Exception as failure:
        if not isinstance(getattr(failure, "code", None), str):
            raise
        refuse(cause)
