"""Mode parameters kept for the next process, a file per logical unit in the state directory.

    modes-UUID     which boot it is of, on a line; then the record

The record is that of docs/formats/mode-parameters.md.

What was kept before the machine was booted is nothing any more: power was off, and every initiator
has seen its end.
"""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from scsi_snap.inventory.record_files import RecordFile
from scsi_snap.inventory.state_directory import StateDirectory

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_FILE_BYTES_MAX = 1 << 16
"""All pages of a unit, in hexadecimal, stay well below."""


def boot() -> str:
    """What this boot of the machine is called; empty where there is no way to know."""
    try:
        return str(UUID(BOOT_ID.read_text("ascii").strip()))
    except (OSError, ValueError):
        return ""


class ModeFile(RecordFile):
    """Of one logical unit, in one boot."""

    def __init__(self, directory: StateDirectory, boot_id: str, unit: UUID) -> None:
        super().__init__(directory, f"modes-{unit}", _FILE_BYTES_MAX)
        self._boot_line = boot_id.encode("ascii") + b"\n"

    def load(self) -> bytes:
        content = super().load()
        boot_line, newline, record = content.partition(b"\n")
        if _is_uuid(boot_line):
            return record if boot_line + newline == self._boot_line else b""
        # Of which boot it is cannot be told: the command set finds it damaged.
        return content

    def save(self, data: bytes) -> None:
        super().save(self._boot_line + data)


def damage(unit: UUID, reason: str) -> str:
    """What an operator is told of a unit whose record is damaged."""
    return (
        "what its initiators had chosen by MODE SELECT is not known, as the file "
        f"modes-{unit} of the state directory is damaged: {reason}. The defaults hold, with the "
        "write cache on, and every initiator is told to look again"
    )


def _is_uuid(text: bytes) -> bool:
    try:
        UUID(text.decode("ascii"))
    except ValueError:
        return False
    return True
