"""The last events, bounded; each is logged too. A caller asks for those after a number it has."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from scsi_snap import limits
from scsi_snap.control.views import Event

_log = logging.getLogger("scsi_snap.events")


class EventLog:
    """`now_ms` is the clock: milliseconds since 1970."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._events: deque[Event] = deque(maxlen=limits.EVENTS_KEPT)
        self._number = 0

    def add(self, kind: str, message: str) -> None:
        with self._lock:
            self._number += 1
            self._events.append(Event(self._number, self._now_ms(), kind, message))
        _log.warning("%s: %s", kind, message)

    def after(self, number: int) -> list[Event]:
        with self._lock:
            return [event for event in self._events if event.number > number]
