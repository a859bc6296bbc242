"""/v1/portals and /v1/discovery"""

from __future__ import annotations

from fastapi import APIRouter, Response

from scsi_snap.api import fields
from scsi_snap.api.rendering import created, deleted_body, outcome_body
from scsi_snap.api.schema import ChapSet, DeletedBody, OutcomeBody, PortalCreate
from scsi_snap.control import views
from scsi_snap.control.service import Service


def portal_router(service: Service) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["portals"])
    portals, targets = service.portals, service.targets

    @router.get("/portals")
    def list_portals() -> list[views.Portal]:
        """Every portal, those of the daemon's command line as well."""
        return portals.all()

    @router.post("/portals", responses=created(views.Portal))
    def create_portal(body: PortalCreate, response: Response) -> OutcomeBody[views.Portal]:
        """Listens at an address, from now on and after every start."""
        return outcome_body(portals.create(body.address, body.group, body.via), response)

    @router.delete("/portals/{address}")
    def delete_portal(address: fields.Address) -> DeletedBody:
        """Sessions go on."""
        return deleted_body(portals.delete(address))

    @router.get("/discovery")
    def show_discovery() -> views.Discovery:
        """Whom discovery asks for. Secrets are never shown."""
        return targets.discovery()

    @router.put("/discovery/chap")
    def set_discovery_chap(body: ChapSet, response: Response) -> OutcomeBody[views.Discovery]:
        """What initiators must prove before they are told of targets."""
        return outcome_body(targets.set_discovery_chap(body.record()), response)

    @router.delete("/discovery/chap")
    def clear_discovery_chap(response: Response) -> OutcomeBody[views.Discovery]:
        """Discovery asks for no secret any more."""
        return outcome_body(targets.set_discovery_chap(None), response)

    return router
