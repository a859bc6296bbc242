"""What an operator was told."""

from __future__ import annotations

from scsi_snap.inventory.notes import Note


class Heard:
    """A `Tell`: `take` gives what came since the last call."""

    def __init__(self) -> None:
        self._notes: list[Note] = []

    def __call__(self, note: Note) -> None:
        self._notes.append(note)

    def take(self) -> list[Note]:
        taken, self._notes = self._notes, []
        return taken
