"""Makes events durable, in a thread of its own: nothing else ever waits for the file of events.

Where it cannot be written, events stay in memory and are written when it can be again; that it
cannot is itself an event, and ill health. What is damaged is set aside and begun anew.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from scsi_snap import limits
from scsi_snap.control.event_log import EventLog
from scsi_snap.control.event_store import EventStore, Found, StoreUnusable, StoreUnwritable


class EventKeeper:
    """`start` reads what was kept, before anything is raised; `stop` writes the last. `now_ms`: as
    the log's."""

    def __init__(self, log: EventLog, directory: Path, now_ms: Callable[[], int]) -> None:
        self._log = log
        self._store = EventStore(directory)
        self._now_ms = now_ms
        self._turn = threading.Lock()
        """Held while the file is used."""
        self._numbered = False
        self._problem = ""
        self._came = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)

    @property
    def problem(self) -> str:
        """Why events are not durable now, or empty."""
        return self._problem

    def start(self) -> None:
        self.write()
        self._thread.start()

    def stop(self) -> None:
        """What was raised before is durable, if it can be."""
        self._stopping = True
        self._came.set()
        self._thread.join()
        self._log.settle()
        self.write(last=True)
        self._store.close()

    def _run(self) -> None:
        with self._log.waking(self._came.set):
            while not self._stopping:
                self.write()
                wait_s = self._log.settle()
                if self._problem and wait_s is None:
                    wait_s = limits.EVENT_RETRY_S
                self._came.wait(wait_s)
                self._came.clear()

    def write(self, *, last: bool = False) -> None:
        """What is not durable yet; where that fails, it stays to be written."""
        with self._turn:
            self._write(last)

    def _write(self, last: bool) -> None:
        try:
            if not self._store.is_open():
                self._open()
            change = self._log.unwritten()
            self._store.write(change, last=last)
        except (StoreUnusable, StoreUnwritable) as error:
            self._failed(error)
            return
        self._log.written(change)
        if self._problem:
            self._problem = ""
            self._log.add("events-writable", "", "events are durable again")

    def _open(self) -> None:
        try:
            found = self._store.open()
        except StoreUnusable as error:
            self._set_aside(str(error))
            found = self._store.open()
        self._resume(found)

    def _failed(self, error: Exception) -> None:
        if isinstance(error, StoreUnusable):
            try:
                self._set_aside(str(error))
            except StoreUnwritable as why:
                error = why
            else:
                return
        self._number_anew()
        if not self._problem:
            self._log.add(
                "events-unwritable",
                "",
                f"{self._store.path} cannot be written: {error}; events are kept in memory",
            )
        self._problem = str(error)

    def _set_aside(self, reason: str) -> None:
        aside = self._store.set_aside()
        self._number_anew()
        self._log.add(
            "events-damaged",
            "",
            f"{self._store.path} could not be used and was begun anew: {reason}; what it was is"
            f" {aside} now",
        )

    def _number_anew(self) -> None:
        """Where it is not known which numbers were given out: on from the time in seconds, which
        is far above them."""
        if not self._numbered:
            self._resume(Found((), self._now_ms() // 1000))

    def _resume(self, found: Found) -> None:
        self._log.resume(found.events, found.number)
        self._numbered = True
