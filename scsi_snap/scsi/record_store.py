"""Where a logical unit keeps a small record that outlives the process."""

from typing import Protocol


class StoreFailed(Exception):
    """The store could not be read or written; what it holds is the old record or the new one."""


class RecordStore(Protocol):
    """Where one record of one logical unit is kept."""

    def load(self) -> bytes:
        """What was saved last; nothing where nothing was. Raises `StoreFailed`."""

    def save(self, data: bytes) -> None:
        """Durable when it returns. Raises `StoreFailed`."""

    def remove(self) -> None:
        """Nothing is kept any more. Raises `StoreFailed`."""


class NoStore:
    """Of a unit that forgets with the process."""

    def load(self) -> bytes:
        """Nothing."""
        return b""

    def save(self, data: bytes) -> None:
        """Kept nowhere."""

    def remove(self) -> None:
        """Nothing is there."""
