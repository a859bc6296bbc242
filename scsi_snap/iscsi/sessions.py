"""Which normal sessions exist: at most one between the same two ends (RFC 7143, 6.3.1).

A session stays listed until somebody looks and finds it `closed`: sessions live in native
threads that do not call back. Logins of the same two ends take turns on `turn(key)`, so a new
session is listed only after the one it replaces has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from scsi_snap.iscsi.directory import NexusKey
from scsi_snap.iscsi.limits import MAX_SESSIONS

_MAX_TSIH = 0xFFFF


class AdoptedSession(Protocol):
    """A session in full-feature phase, as the floor that runs it answers for it."""

    def closed(self) -> bool:
        """Whether the connection and all its commands have ended. Quick: never blocks."""
        ...

    async def end(self) -> None:
        """Drops the connection; returns when every command of it has ended."""
        ...


@dataclass(slots=True)
class _Entry:
    tsih: int
    cid: int
    session: AdoptedSession


@dataclass(slots=True)
class _Turn:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


class SessionTable:
    """The sessions of all portals of one controller. Belongs to one event loop."""

    def __init__(self, max_sessions: int = MAX_SESSIONS) -> None:
        self._max_sessions = max_sessions
        self._entries: dict[NexusKey, _Entry] = {}
        self._turns: dict[NexusKey, _Turn] = {}
        self._last_tsih = 0

    def __len__(self) -> int:
        self._drop_closed()
        return len(self._entries)

    def __iter__(self) -> Iterator[tuple[NexusKey, AdoptedSession]]:
        self._drop_closed()
        return iter([(key, entry.session) for key, entry in self._entries.items()])

    def find(self, key: NexusKey) -> tuple[int, int] | None:
        """TSIH and CID of the open session between these ends."""
        entry = self._entries.get(key)
        if entry is None or entry.session.closed():
            return None
        return entry.tsih, entry.cid

    @asynccontextmanager
    async def turn(self, key: NexusKey) -> AsyncIterator[None]:
        """Exclusive right to end and to make the session between these ends."""
        turn = self._turns.setdefault(key, _Turn())
        turn.waiting += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.waiting -= 1
            if not turn.waiting:
                del self._turns[key]

    async def end(self, key: NexusKey) -> None:
        """Ends the session between these ends, if there is one; returns when it has ended."""
        entry = self._entries.get(key)
        if entry is not None:
            await entry.session.end()
            if self._entries.get(key) is entry:
                del self._entries[key]

    def new_tsih(self) -> int | None:
        """A TSIH that no open session has, or None when there are too many sessions."""
        self._drop_closed()
        if len(self._entries) >= self._max_sessions:
            return None
        used = {entry.tsih for entry in self._entries.values()}
        # Ends: fewer TSIH are used than there are.
        while True:
            self._last_tsih = self._last_tsih % _MAX_TSIH + 1
            if self._last_tsih not in used:
                return self._last_tsih

    def add(self, key: NexusKey, tsih: int, cid: int, session: AdoptedSession) -> None:
        """Lists a session between ends that have none."""
        assert key not in self._entries or self._entries[key].session.closed()
        self._entries[key] = _Entry(tsih, cid, session)

    def _drop_closed(self) -> None:
        closed = [key for key, entry in self._entries.items() if entry.session.closed()]
        for key in closed:
            del self._entries[key]
