"""/v1/daemon and /v1/events"""

from __future__ import annotations

from fastapi import APIRouter

from scsi_snap.api import fields
from scsi_snap.control import views
from scsi_snap.control.service import Service


def daemon_router(service: Service) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["daemon"])

    @router.get("/daemon")
    def daemon_status() -> views.Daemon:
        """Where the daemon listens, and what it has."""
        return service.status()

    @router.get("/events")
    def list_events(after: fields.EventNumber = 0) -> list[views.Event]:
        """Those numbered above `after`, of the last ones that are kept."""
        return service.events.after(after)

    return router
