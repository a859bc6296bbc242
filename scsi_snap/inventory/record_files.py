"""A small record of a logical unit as a file of the state directory.

It is replaced whole, and durable when `save` returns (see `state_directory`).
"""

from __future__ import annotations

from scsi_snap.errors import IoFailed
from scsi_snap.inventory.state_directory import StateDirectory
from scsi_snap.scsi.record_store import StoreFailed


class RecordFile:
    """A `RecordStore`. What the record says is none of its affair: the command set checks it."""

    def __init__(self, directory: StateDirectory, name: str, bytes_max: int) -> None:
        self._directory = directory
        self._name = name
        self._bytes_max = bytes_max

    def load(self) -> bytes:
        try:
            return self._directory.read(self._name, self._bytes_max) or b""
        except IoFailed as error:
            raise StoreFailed(error.message) from error

    def save(self, data: bytes) -> None:
        try:
            self._directory.replace(self._name, data)
        except IoFailed as error:
            raise StoreFailed(error.message) from error

    def remove(self) -> None:
        try:
            self._directory.remove(self._name)
        except IoFailed as error:
            raise StoreFailed(error.message) from error
