"""Waits for what the data path has to tell, in a thread of its own, and has it fetched at once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from scsi_snap import limits
from scsi_snap.inventory.native import DataPath

_log = logging.getLogger("scsi_snap.events")

_WAIT_S = 60.0
"""Nothing is missed between two waits: how long one is, does not matter."""


class EventWatch:
    """`fetch` is called by one thread. `stop` returns when it is not called any more."""

    def __init__(self, data_path: DataPath, fetch: Callable[[], None]) -> None:
        self._data_path = data_path
        self._fetch = fetch
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="event-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._data_path.wake_event_waiter()
        self._thread.join()

    def _run(self) -> None:
        seen = 0
        while not self._stopping.is_set():
            seen = self._data_path.wait_for_events(seen, _WAIT_S)
            try:
                self._fetch()
            except Exception:
                _log.exception("fetching events failed")
            self._stopping.wait(limits.EVENT_PACE_S)
