"""The last events, in memory; each is logged too. `event_keeper` makes them durable.

Whoever raises an event waits for no disk, and whoever lists them neither. Numbers count up for
ever, over every restart, and never repeat; some may be missing.

An event that repeats (same kind and subject) within a second of the last one is counted, and told
as one event with its `count` when the second is over: a fault in a loop, or an initiator that is
refused a thousand times a second, fills neither the log nor the disk. A few that differ in their
message are let through: two members may fail at once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from scsi_snap import limits
from scsi_snap.control.event_kinds import Severity, at_least, severity_of
from scsi_snap.control.views import Event
from scsi_snap.errors import LimitReached
from scsi_snap.inventory.notes import Note

_log = logging.getLogger("scsi_snap.events")

_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

_MANY_SUBJECTS = ""


@dataclass
class _Window:
    """The second after an event: what was said in it, and what is still to be said."""

    ends_at_s: float
    messages: set[str] = field(default_factory=set)
    repeats: int = 0
    last: str = ""


@dataclass(frozen=True)
class Unwritten:
    """What the durable copy lacks: events to add, numbers that are pruned."""

    added: tuple[Event, ...]
    pruned: tuple[int, ...]
    number: int
    """The last number that was given out."""


class EventLog:
    """`now_ms` is the clock: milliseconds since 1970. `clock_s` counts seconds evenly."""

    def __init__(
        self, now_ms: Callable[[], int], clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._now_ms = now_ms
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._number = 0
        self._events: dict[int, Event] = {}
        self._by_kind: dict[str, deque[int]] = {}
        self._unwritten: dict[int, None] = {}
        self._pruned: dict[int, None] = {}
        self._windows: dict[tuple[str, str], _Window] = {}
        self._wakers: set[Callable[[], None]] = set()
        self._ended = False

    def resume(self, events: Iterable[Event], number: int) -> None:
        """Puts these, which are durable, before what was raised until now, and that is written
        (again) behind them. No number up to `number` is given out from now on."""
        with self._lock:
            raised = list(self._events.values())
            self._events, self._by_kind, self._unwritten, self._pruned = {}, {}, {}, {}
            for event in events:
                self._keep(event)
            for event in raised:
                self._unwritten[event.number] = None
                self._keep(event)
            self._number = max(self._number, number)

    def add(self, kind: str, subject: str, message: str) -> None:
        """From any thread; does not wait, and does not fail."""
        with self._lock:
            self._close_windows()
            key = self._key(kind, subject)
            message = message[: limits.EVENT_MESSAGE_CHARS_MAX]
            window = self._windows.get(key)
            if window is None:
                ends_at_s = self._clock_s() + limits.EVENT_REPEAT_S
                window = self._windows[key] = _Window(ends_at_s)
            fresh = message not in window.messages
            if fresh and len(window.messages) < limits.EVENTS_THAT_DIFFER_MAX:
                window.messages.add(message)
                self._append(kind, key[1], message, 1)
            else:
                window.repeats += 1
                window.last = message
        self._wake()

    def tell(self, note: Note) -> None:
        """`Tell`."""
        self.add(note.kind, note.subject, note.message)

    def after(
        self, number: int, least: Severity = "info", subject: str | None = None
    ) -> list[Event]:
        """Those above `number`, of that severity or a graver one, about `subject` or what is in
        it: a pool's volumes and snapshots too."""
        with self._lock:
            self._close_windows()
            if number >= self._number:
                return []
            return [
                event
                for event in self._events.values()
                if event.number > number
                and at_least(event.severity, least)
                and (subject is None or _is_about(event.subject, subject))
            ]

    def settle(self) -> float | None:
        """Tells what was counted in seconds that are over. In how many seconds the next one is."""
        with self._lock:
            told = self._close_windows()
            ends = [one.ends_at_s for one in self._windows.values() if one.repeats]
            wait_s = max(0.0, min(ends) - self._clock_s()) if ends else None
        if told:
            self._wake()
        return wait_s

    @contextmanager
    def waking(self, waker: Callable[[], None]) -> Iterator[None]:
        """Calls `waker`, from any thread, after each event and when `end_waits` is called."""
        with self._lock:
            if len(self._wakers) >= limits.EVENT_FOLLOWERS_MAX:
                raise LimitReached(
                    f"{limits.EVENT_FOLLOWERS_MAX} callers wait for events already",
                    "end one, or ask for events without waiting",
                )
            self._wakers = {*self._wakers, waker}
        try:
            yield
        finally:
            with self._lock:
                self._wakers = self._wakers - {waker}

    def end_waits(self) -> None:
        """The daemon stops: nobody waits for events any more."""
        self._ended = True
        self._wake()

    @property
    def ended(self) -> bool:
        return self._ended

    def unwritten(self) -> Unwritten:
        """What is to be written next; `written` says that it is."""
        with self._lock:
            added = tuple(self._events[number] for number in self._unwritten)
            return Unwritten(added, tuple(self._pruned), self._number)

    def written(self, done: Unwritten) -> None:
        with self._lock:
            for number in done.pruned:
                self._pruned.pop(number, None)
            for event in done.added:
                self._unwritten.pop(event.number, None)
                if event.number not in self._events:
                    # Pruned while it was being written.
                    self._pruned[event.number] = None

    def _key(self, kind: str, subject: str) -> tuple[str, str]:
        """Of the window. Subjects may come from outside: where too many have one, they share."""
        if (kind, subject) in self._windows or len(self._windows) < limits.EVENT_WINDOWS_MAX:
            return kind, subject
        return kind, _MANY_SUBJECTS

    def _close_windows(self) -> bool:
        """The lock is held. Whether anything was told."""
        now_s = self._clock_s()
        over = [key for key, window in self._windows.items() if window.ends_at_s <= now_s]
        told = False
        for key in over:
            window = self._windows.pop(key)
            if window.repeats:
                self._append(*key, window.last, window.repeats)
                self._windows[key] = _Window(now_s + limits.EVENT_REPEAT_S, {window.last})
                told = True
        return told

    def _append(self, kind: str, subject: str, message: str, count: int) -> None:
        self._number += 1
        severity = severity_of(kind)
        event = Event(self._number, self._now_ms(), severity, kind, subject, message, count)
        self._unwritten[event.number] = None
        self._keep(event)
        times = f" ({count} times)" if count > 1 else ""
        about = f"{subject}: " if subject else ""
        _log.log(_LEVELS[severity], "%s: %s%s%s", kind, about, message, times)

    def _keep(self, event: Event) -> None:
        """Beside the last ones of its kind and of all."""
        self._events[event.number] = event
        of_kind = self._by_kind.setdefault(event.kind, deque())
        of_kind.append(event.number)
        if len(of_kind) > limits.EVENTS_OF_A_KIND_KEPT:
            self._prune(of_kind[0])
        if len(self._events) > limits.EVENTS_KEPT:
            self._prune(next(iter(self._events)))

    def _prune(self, number: int) -> None:
        """The oldest, of its kind at least."""
        event = self._events.pop(number)
        self._by_kind[event.kind].popleft()
        if number in self._unwritten:
            del self._unwritten[number]
        else:
            self._pruned[number] = None

    def _wake(self) -> None:
        for waker in self._wakers:
            # Whoever waited may be gone by now, with its event loop.
            with suppress(RuntimeError):
                waker()


def _is_about(subject: str, wanted: str) -> bool:
    return subject == wanted or subject.startswith((f"{wanted}/", f"{wanted}@"))
