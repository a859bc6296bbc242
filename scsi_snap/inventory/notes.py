"""What an operator may want to know: found at the start, by a verb, or by something that runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """`kind` is one of `control.event_kinds`. `subject`: what it is about, by the name that users
    type (tank, tank/vol0, tank/vol0@monday, an iSCSI name, ADDRESS:PORT), or empty for the
    controller itself."""

    kind: str
    subject: str
    message: str


Tell = Callable[[Note], None]
"""Takes a note: from any thread, without waiting, and never fails."""


def unheard(note: Note) -> None:
    """`Tell` where nobody listens."""
