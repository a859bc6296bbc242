"""/v1/targets, /v1/luns and /v1/sessions"""

from __future__ import annotations

from fastapi import APIRouter, Response

from scsi_snap.api.rendering import created, deleted_body, outcome_body
from scsi_snap.api.schema import ChapSet, DeletedBody, LunMap, OutcomeBody, TargetCreate
from scsi_snap.control import views
from scsi_snap.control.service import Service
from scsi_snap.inventory.names import parse_backing
from scsi_snap.inventory.records import ChapRecord


def target_router(service: Service) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["targets"])
    targets = service.targets

    @router.get("/targets")
    def list_targets() -> list[views.Target]:
        return targets.all()

    @router.post("/targets", responses=created(views.Target))
    def create_target(body: TargetCreate, response: Response) -> OutcomeBody[views.Target]:
        return outcome_body(targets.create(body.name), response)

    @router.get("/targets/{target}")
    def show_target(target: str) -> views.Target:
        return targets.show(target)

    @router.delete("/targets/{target}")
    def delete_target(target: str, close_sessions: bool = False) -> DeletedBody:
        return deleted_body(targets.delete(target, close_sessions=close_sessions))

    @router.put("/targets/{target}/chap")
    def set_chap(target: str, body: ChapSet, response: Response) -> OutcomeBody[views.Target]:
        chap = ChapRecord(body.user, body.secret, body.mutual_user, body.mutual_secret)
        return outcome_body(targets.set_chap(target, chap), response)

    @router.delete("/targets/{target}/chap")
    def clear_chap(target: str, response: Response) -> OutcomeBody[views.Target]:
        return outcome_body(targets.set_chap(target, None), response)

    @router.put("/targets/{target}/initiators/{initiator}")
    def allow(target: str, initiator: str, response: Response) -> OutcomeBody[views.Target]:
        return outcome_body(targets.allow(target, initiator), response)

    @router.delete("/targets/{target}/initiators/{initiator}")
    def deny(target: str, initiator: str, response: Response) -> OutcomeBody[views.Target]:
        return outcome_body(targets.deny(target, initiator), response)

    @router.delete("/targets/{target}/initiators")
    def allow_any(target: str, response: Response) -> OutcomeBody[views.Target]:
        """Empties the list: any initiator may log in."""
        return outcome_body(targets.allow_any(target), response)

    @router.get("/luns")
    def list_luns(target: str | None = None) -> list[views.Lun]:
        return targets.luns(target)

    @router.put("/targets/{target}/luns/{lun}", responses=created(views.Lun))
    def map_lun(target: str, lun: int, body: LunMap, response: Response) -> OutcomeBody[views.Lun]:
        return outcome_body(targets.map(target, lun, parse_backing(body.backing)), response)

    @router.delete("/targets/{target}/luns/{lun}")
    def unmap_lun(target: str, lun: int) -> DeletedBody:
        return deleted_body(targets.unmap(target, lun))

    @router.get("/sessions")
    def list_sessions(target: str | None = None) -> list[views.Session]:
        return targets.sessions(target)

    @router.delete("/sessions/{session}")
    def close_session(session: int) -> DeletedBody:
        return deleted_body(targets.close_session(session))

    return router
