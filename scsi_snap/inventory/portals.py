"""The portals of this controller: those on record, and those of `daemon --listen`.

They live in one event loop; records change from other threads, and wait for the loop. A portal on
record that cannot listen (its address is not there yet) is listed with the reason, hinders nothing
else, and is tried again now and then.

`_lock` is for the table alone, and is never held while anything waits.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from scsi_snap.errors import Busy, Exists, IoFailed
from scsi_snap.inventory import addresses
from scsi_snap.inventory.exporter import PortalView
from scsi_snap.inventory.records import PortalRecord
from scsi_snap.inventory.target_records import FIRST_GROUP
from scsi_snap.iscsi.directory import PortalAddress, spelled
from scsi_snap.iscsi.portal import Portal

Result = TypeVar("Result")

MakePortal = Callable[[str, int, int], Portal]
"""Of host, port and portal group tag; it does not listen yet."""


@dataclass(frozen=True)
class _Entry:
    """`portal` None: it could not listen, for the `reason`."""

    address: str
    tag: int
    on_record: bool
    portal: Portal | None
    reason: str = ""


class Portals:
    """`start` and `close` from the loop; everything else from any thread but the loop's."""

    def __init__(self, make: MakePortal) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._entries: dict[str, _Entry] = {}
        self._addresses: tuple[PortalAddress, ...] = ()

    def addresses(self) -> tuple[PortalAddress, ...]:
        """Where initiators are listened for. From any thread, the loop's too; never waits."""
        return self._addresses

    def views(self) -> list[PortalView]:
        with self._lock:
            entries = [self._entries[address] for address in sorted(self._entries)]
        return [PortalView(one.address, one.tag, one.on_record, one.reason) for one in entries]

    async def start(self, listen: Iterable[str], records: Iterable[PortalRecord]) -> None:
        """`listen`: ADDRESS:PORT of group 1; port 0 takes a free one. Raises for these alone."""
        self._loop = asyncio.get_running_loop()
        on_record = {record.address: record for record in records}
        for text in listen:
            host, port = addresses.parse(text)
            if spelled(host, port) not in {*on_record, *self._entries}:
                portal = await self._listen(host, port, FIRST_GROUP, "--listen")
                self._put(_Entry(portal.address.endpoint, FIRST_GROUP, False, portal))
        for record in on_record.values():
            await self._try(record)

    async def close(self) -> None:
        with self._lock:
            entries, self._entries, self._addresses = self._entries, {}, ()
            self._loop = None
        await asyncio.gather(*(one.portal.close() for one in entries.values() if one.portal))

    def add(self, record: PortalRecord) -> None:
        """Listens. Raises `Exists`, or `IoFailed` where it cannot, and then nothing is changed."""
        with self._lock:
            there = self._entries.get(record.address)
        if there is not None:
            raise Exists(
                f"there is a portal at {record.address} already"
                + ("" if there.on_record else ", by `daemon --listen`"),
                "`scsi-snap portal list` shows what there is",
            )
        portal = self._in_loop(self._listen_at(record))
        if portal is not None:
            self._put(_Entry(record.address, record.tag, True, portal))

    def remove(self, address: str) -> None:
        self._refuse_foreign(address)
        with self._lock:
            entry = self._entries.pop(address, None)
            self._tell()
        if entry is not None and entry.portal is not None:
            self._in_loop(entry.portal.close())

    def _refuse_foreign(self, address: str) -> None:
        """Raises `Busy` for one that is not on record."""
        with self._lock:
            entry = self._entries.get(address)
        if entry is not None and not entry.on_record:
            raise Busy(
                f"the portal {address} is there by `daemon --listen`",
                "start the daemon without it, or with --no-listen",
            )

    def retry(self) -> list[PortalView]:
        """Those that could not listen until now and do."""
        with self._lock:
            silent = [one for one in self._entries.values() if one.portal is None]
        for entry in silent:
            self._in_loop(self._try_again(entry))
        names = {entry.address for entry in silent}
        return [one for one in self.views() if one.address in names and not one.reason]

    async def _try(self, record: PortalRecord) -> None:
        try:
            portal, reason = await self._listen_at(record), ""
        except IoFailed as error:
            portal, reason = None, error.message
        self._put(_Entry(record.address, record.tag, True, portal, reason))

    async def _try_again(self, entry: _Entry) -> None:
        try:
            portal = await self._listen_at(PortalRecord(entry.address, entry.tag))
        except IoFailed:
            return
        with self._lock:
            still_wanted = self._entries.get(entry.address) is entry
        if still_wanted:
            self._put(_Entry(entry.address, entry.tag, True, portal))
        else:
            await portal.close()

    async def _listen_at(self, record: PortalRecord) -> Portal:
        host, port = addresses.parse(record.address)
        return await self._listen(host, port, record.tag, "scsi-snap portal create")

    async def _listen(self, host: str, port: int, tag: int, by: str) -> Portal:
        portal = self._make(host, port, tag)
        try:
            await portal.start()
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise IoFailed(
                f"cannot listen on {spelled(host, port)}: {reason}",
                f"choose an address of this machine that nobody uses, by `{by} ADDRESS:PORT`;"
                " a wildcard address needs its port on every address",
            ) from error
        return portal

    def _put(self, entry: _Entry) -> None:
        with self._lock:
            self._entries[entry.address] = entry
            self._tell()

    def _tell(self) -> None:
        """The lock is held."""
        self._addresses = tuple(
            PortalAddress(one.portal.address.host, one.portal.address.port, one.tag)
            for _, one in sorted(self._entries.items())
            if one.portal is not None
        )

    def _in_loop(self, work: Coroutine[Any, Any, Result]) -> Result | None:
        """Its result; None where the loop does not run (yet, or any more)."""
        loop = self._loop
        if loop is None:
            work.close()
            return None
        return asyncio.run_coroutine_threadsafe(work, loop).result()
