"""/v1/events"""

from __future__ import annotations

import asyncio

from fastapi import APIRouter

from scsi_snap.api import fields
from scsi_snap.control import views
from scsi_snap.control.service import Service


def event_router(service: Service) -> APIRouter:
    router = APIRouter(prefix="/v1/events", tags=["events"])
    events = service.events

    @router.get("")
    def list_events(
        after: fields.EventNumber = 0,
        severity: fields.LeastSeverity = "info",
        subject: fields.Subject | None = None,
    ) -> list[views.Event]:
        """Those that are kept, oldest first."""
        return events.after(after, severity, subject)

    @router.get("/next")
    async def next_events(
        after: fields.EventNumber = 0,
        severity: fields.LeastSeverity = "info",
        subject: fields.Subject | None = None,
        wait_s: fields.WaitSeconds = 30.0,
    ) -> list[views.Event]:
        """The same, but where there is none, waits for the next one; none when the time is over or
        the daemon stops. Asked again and again, each time after the last number, it misses none,
        over restarts of the daemon too."""
        loop, came = asyncio.get_running_loop(), asyncio.Event()
        ends_at = loop.time() + wait_s
        with events.waking(lambda: _set_in(loop, came)):
            while True:
                came.clear()
                found = events.after(after, severity, subject)
                if found or events.ended:
                    return found
                try:
                    async with asyncio.timeout_at(ends_at):
                        await came.wait()
                except TimeoutError:
                    return []

    return router


def _set_in(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    loop.call_soon_threadsafe(event.set)
