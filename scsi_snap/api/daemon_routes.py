"""/v1/daemon and /v1/health"""

from __future__ import annotations

from fastapi import APIRouter

from scsi_snap.control import views
from scsi_snap.control.service import Service


def daemon_router(service: Service) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["daemon"])

    @router.get("/daemon")
    def daemon_status() -> views.Daemon:
        """Where the daemon listens, and what it has."""
        return service.status()

    @router.get("/health")
    def show_health() -> views.Health:
        """What is not well, and what to do: 200 whatever the state."""
        return service.health()

    return router
