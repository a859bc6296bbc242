"""The durable copy of the events: `events.db` in the state directory (docs/formats/events.md).

A rollback journal, not a write-ahead log: one file to copy, and writes are few and in batches. What
cannot be used (damaged, foreign, of another version) is set aside as `events.db.damaged`, never
repaired: events are not worth a guess. A full disk leaves the file as it was.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scsi_snap import limits
from scsi_snap.control.event_kinds import SEVERITIES
from scsi_snap.control.event_log import Unwritten
from scsi_snap.control.views import Event

NAME = "events.db"
VERSION = 1

_LOCK_WAIT_S = 1.0
"""For somebody who looks into the file with a program of SQLite's."""

_SCHEMA = """
CREATE TABLE event (
    number INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    severity TEXT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    message TEXT NOT NULL,
    count INTEGER NOT NULL
) STRICT;
CREATE TABLE numbering (reserved INTEGER NOT NULL) STRICT;
INSERT INTO numbering VALUES (0);
"""


class StoreUnwritable(Exception):
    """It cannot be read or written now, such as on a full disk; later it may. Says why."""


class StoreUnusable(Exception):
    """What is there is no store of ours that is whole. Says why."""


@dataclass(frozen=True)
class Found:
    """`number`: none up to it may be given out."""

    events: tuple[Event, ...]
    number: int


class EventStore:
    """Raises `StoreUnwritable`, and `StoreUnusable` for what is to be set aside. One thread at a
    time."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / NAME
        self._connection: sqlite3.Connection | None = None
        self._reserved = 0

    def open(self) -> Found:
        with _translated(), _closed_on_failure(self):
            _check_file(self.path)
            self._connection = sqlite3.connect(
                self.path, timeout=_LOCK_WAIT_S, isolation_level=None, check_same_thread=False
            )
            self._prepare(self._connection)
            (reserved,) = self._connection.execute("SELECT reserved FROM numbering").fetchone()
            rows = self._connection.execute("SELECT * FROM event ORDER BY number").fetchall()
            events = tuple(_event(row) for row in rows)
            last = events[-1].number if events else 0
            self._reserved = int(reserved)
            return Found(events[-limits.EVENTS_KEPT :], max(self._reserved, last))

    def write(self, change: Unwritten, *, last: bool = False) -> None:
        """Durable when it returns. Sets numbers aside ahead of those that are given out; with
        `last`, none that is not: the daemon ends."""
        if last:
            reserved = change.number
        else:
            reserved = max(self._reserved, change.number + limits.EVENT_NUMBERS_RESERVED)
            if self._reserved - change.number >= limits.EVENT_NUMBERS_RESERVED // 2:
                reserved = self._reserved
        if not change.added and not change.pruned and reserved == self._reserved:
            return
        with _translated():
            connection = self._opened()
            connection.execute("BEGIN IMMEDIATE")
            try:
                connection.executemany(
                    "DELETE FROM event WHERE number = ?", [(number,) for number in change.pruned]
                )
                connection.executemany(
                    "INSERT OR REPLACE INTO event VALUES (?, ?, ?, ?, ?, ?, ?)",
                    [_row(event) for event in change.added],
                )
                connection.execute("UPDATE numbering SET reserved = ?", (reserved,))
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            self._reserved = reserved

    def is_open(self) -> bool:
        return self._connection is not None

    def set_aside(self) -> Path:
        """Renames what is there, with its journal, which must not be applied to another file."""
        self.close()
        aside = self.path.with_name(f"{NAME}.damaged")
        try:
            for suffix in ("-journal", ""):
                old = self.path.with_name(NAME + suffix)
                if old.exists() or old.is_symlink():
                    old.replace(self.path.with_name(aside.name + suffix))
        except OSError as error:
            raise StoreUnwritable(error.strerror or str(error)) from error
        return aside

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with _translated():
                connection.close()

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreUnwritable("the file could not be opened")
        return self._connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute("PRAGMA synchronous = FULL")
        tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
        if version == 0 and not tables:
            script = f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;"
            connection.executescript(script)
            return
        if version != VERSION:
            raise StoreUnusable(f"it is of version {version}, and not of {VERSION}")
        problems = [text for (text,) in connection.execute("PRAGMA quick_check(1)")]
        if problems != ["ok"]:
            raise StoreUnusable(str(problems[0]))


def _check_file(path: Path) -> None:
    """Makes it, for nobody else to read; raises for what is no file."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise StoreUnusable("it is no file") from error
        raise StoreUnwritable(error.strerror or str(error)) from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise StoreUnusable("it is no file")
    finally:
        os.close(descriptor)


def _row(event: Event) -> tuple[object, ...]:
    return (
        event.number,
        event.at_ms,
        event.severity,
        event.kind,
        event.subject.encode("utf-8", "backslashreplace").decode(),
        event.message.encode("utf-8", "backslashreplace").decode(),
        event.count,
    )


def _event(row: tuple[int, int, str, str, str, str, int]) -> Event:
    number, at_ms, severity, kind, subject, message, count = row
    if severity not in SEVERITIES:
        raise StoreUnusable(f"event {number} has the severity {severity!r}")
    return Event(number, at_ms, severity, kind, subject, message, count)


@contextmanager
def _closed_on_failure(store: EventStore) -> Iterator[None]:
    try:
        yield
    except BaseException:
        store.close()
        raise


_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        missing = isinstance(error, sqlite3.OperationalError) and code == sqlite3.SQLITE_ERROR
        if code in _DAMAGED or missing or isinstance(error, sqlite3.DataError):
            raise StoreUnusable(str(error)) from error
        raise StoreUnwritable(str(error)) from error
