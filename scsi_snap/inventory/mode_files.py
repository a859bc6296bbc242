"""Mode parameters kept for the next process, a file per logical unit in the state directory.

    modes-UUID     which boot it is of, on a line; then the record

The record is that of docs/formats/mode-parameters.md.

What was kept before the machine was booted is nothing any more: power was off, and every initiator
has seen its end. A record is replaced whole, and durable when `save` returns (see
`state_directory`).
"""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from scsi_snap.errors import IoFailed
from scsi_snap.inventory.state_directory import StateDirectory
from scsi_snap.scsi.record_store import StoreFailed

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_FILE_BYTES_MAX = 1 << 16
"""All pages of a unit, in hexadecimal, stay well below."""


def boot() -> str:
    """What this boot of the machine is called; empty where there is no way to know."""
    try:
        return str(UUID(BOOT_ID.read_text("ascii").strip()))
    except (OSError, ValueError):
        return ""


class ModeFile:
    """A `RecordStore` for one logical unit, of one boot."""

    def __init__(self, directory: StateDirectory, boot_id: str, unit: UUID) -> None:
        self._directory = directory
        self._boot_line = boot_id.encode("ascii") + b"\n"
        self._name = f"modes-{unit}"

    def load(self) -> bytes:
        try:
            content = self._directory.read(self._name, _FILE_BYTES_MAX) or b""
        except IoFailed as error:
            raise StoreFailed(error.message) from error
        boot_line, newline, record = content.partition(b"\n")
        if _is_uuid(boot_line):
            return record if boot_line + newline == self._boot_line else b""
        # Of which boot it is cannot be told: the command set finds it damaged.
        return content

    def save(self, data: bytes) -> None:
        try:
            self._directory.replace(self._name, self._boot_line + data)
        except IoFailed as error:
            raise StoreFailed(error.message) from error

    def remove(self) -> None:
        try:
            self._directory.remove(self._name)
        except IoFailed as error:
            raise StoreFailed(error.message) from error


def damage(unit: UUID, backing: str, reason: str) -> str:
    """What an operator is told of a unit whose record is damaged."""
    return (
        f"{backing}: what its initiators had chosen by MODE SELECT is not known, as the file "
        f"modes-{unit} of the state directory is damaged: {reason}. The defaults hold, with the "
        "write cache on, and every initiator is told to look again"
    )


def _is_uuid(text: bytes) -> bool:
    try:
        UUID(text.decode("ascii"))
    except ValueError:
        return False
    return True
