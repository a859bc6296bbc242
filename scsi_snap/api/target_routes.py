"""/v1/targets, /v1/luns and /v1/sessions"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from scsi_snap.api import fields
from scsi_snap.api.rendering import created, deleted_body, outcome_body
from scsi_snap.api.schema import (
    ChapSet,
    DeletedBody,
    InitiatorAllow,
    LunMap,
    OutcomeBody,
    RedirectSet,
    TargetCreate,
)
from scsi_snap.control import views
from scsi_snap.control.service import Service
from scsi_snap.inventory.names import parse_backing

Target = OutcomeBody[views.Target]


def target_router(service: Service) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["targets"])
    _add_targets(router, service)
    _add_access(router, service)
    _add_luns(router, service)
    return router


def _add_targets(router: APIRouter, service: Service) -> None:
    targets = service.targets

    @router.get("/targets")
    def list_targets() -> list[views.Target]:
        """Every target."""
        return targets.all()

    @router.post("/targets", responses=created(views.Target))
    def create_target(body: TargetCreate, response: Response) -> Target:
        """Makes a target. Any initiator may log in until some are listed."""
        return outcome_body(targets.create(body.name, body.groups, body.via), response)

    @router.get("/targets/{target}")
    def show_target(target: fields.TargetName) -> views.Target:
        """One target, who may log in, and its LUNs. Secrets are never shown."""
        return targets.show(target)

    @router.delete("/targets/{target}")
    def delete_target(
        target: fields.TargetName, close_sessions: bool = False, dry_run: fields.DryRun = False
    ) -> DeletedBody:
        """Its LUN map goes with it; volumes and snapshots stay."""
        outcome = targets.delete(target, close_sessions=close_sessions, dry_run=dry_run)
        return deleted_body(outcome)

    @router.put("/targets/{target}/groups/{tag}")
    def add_group(target: fields.TargetName, tag: fields.GroupTag, response: Response) -> Target:
        """The target is reached through the portals of that group as well."""
        return outcome_body(targets.add_group(target, tag), response)

    @router.delete("/targets/{target}/groups/{tag}")
    def remove_group(
        target: fields.TargetName,
        tag: fields.GroupTag,
        response: Response,
        close_sessions: bool = False,
    ) -> Target:
        """The portals stay; the target is not reached through them any more."""
        changed = targets.remove_group(target, tag, close_sessions=close_sessions)
        return outcome_body(changed, response)

    @router.put("/targets/{target}/redirect")
    def set_redirect(target: fields.TargetName, body: RedirectSet, response: Response) -> Target:
        """Logins are sent on to the address, but those that come there."""
        changed = targets.set_redirect(target, body.address, permanent=body.permanent)
        return outcome_body(changed, response)

    @router.delete("/targets/{target}/redirect")
    def clear_redirect(target: fields.TargetName, response: Response) -> Target:
        """Logins are taken again."""
        return outcome_body(targets.set_redirect(target, None), response)

    @router.get("/sessions")
    def list_sessions(target: fields.TargetName | None = None) -> list[views.Session]:
        """Initiators that are logged in, to one target or to any."""
        return targets.sessions(target)

    @router.delete("/sessions/{session}")
    def close_session(session: fields.SessionId) -> DeletedBody:
        """The initiator may log in again."""
        return deleted_body(targets.close_session(session))


def _add_access(router: APIRouter, service: Service) -> None:
    targets = service.targets

    @router.put("/targets/{target}/chap")
    def set_chap(target: fields.TargetName, body: ChapSet, response: Response) -> Target:
        """Of initiators that have no secret of their own."""
        return outcome_body(targets.set_chap(target, body.record()), response)

    @router.delete("/targets/{target}/chap")
    def clear_chap(target: fields.TargetName, response: Response) -> Target:
        """Nothing is asked any more of initiators that have no secret of their own."""
        return outcome_body(targets.set_chap(target, None), response)

    @router.put("/targets/{target}/initiators/{initiator}")
    def allow_initiator(
        target: fields.TargetName,
        initiator: fields.InitiatorName,
        response: Response,
        body: InitiatorAllow | None = None,
    ) -> Target:
        """Lists an initiator: those that are not listed are refused from then on."""
        chap = body.chap.record() if body is not None and body.chap is not None else None
        return outcome_body(targets.allow(target, initiator, chap), response)

    @router.delete("/targets/{target}/initiators/{initiator}")
    def deny_initiator(
        target: fields.TargetName, initiator: fields.InitiatorName, response: Response
    ) -> Target:
        """Its secret and the LUNs that are its own go with it."""
        return outcome_body(targets.deny(target, initiator), response)

    @router.delete("/targets/{target}/initiators")
    def allow_any_initiator(target: fields.TargetName, response: Response) -> Target:
        """Empties the list: any initiator may log in."""
        return outcome_body(targets.allow_any(target), response)

    @router.put("/targets/{target}/initiators/{initiator}/chap")
    def set_initiator_chap(
        target: fields.TargetName,
        initiator: fields.InitiatorName,
        body: ChapSet,
        response: Response,
    ) -> Target:
        """A secret of its own for an initiator that the target lists."""
        return outcome_body(targets.set_chap(target, body.record(), initiator), response)

    @router.delete("/targets/{target}/initiators/{initiator}/chap")
    def clear_initiator_chap(
        target: fields.TargetName, initiator: fields.InitiatorName, response: Response
    ) -> Target:
        """The target's secret is asked for again."""
        return outcome_body(targets.set_chap(target, None, initiator), response)


def _add_luns(router: APIRouter, service: Service) -> None:
    targets = service.targets

    @router.get("/luns")
    def list_luns(target: fields.TargetName | None = None) -> list[views.Lun]:
        """LUNs of one target, or of all."""
        return targets.luns(target)

    @router.put("/targets/{target}/luns/{lun}", responses=created(views.Lun))
    def map_lun(
        target: fields.TargetName, lun: fields.LunNumber, body: LunMap, response: Response
    ) -> OutcomeBody[views.Lun]:
        """Shows a volume, or read-only a snapshot, to initiators. Sessions go on."""
        backing = parse_backing(body.backing)
        mapped = targets.map(
            target,
            lun,
            backing,
            body.initiators,
            read_only=body.read_only,
            via=body.via,
            again=body.again,
        )
        return outcome_body(mapped, response)

    @router.delete("/targets/{target}/luns/{lun}")
    def unmap_lun(
        target: fields.TargetName,
        lun: fields.LunNumber,
        initiator: Annotated[list[fields.InitiatorName] | None, Query()] = None,
    ) -> DeletedBody:
        """From these initiators alone, or (none named) from everybody."""
        return deleted_body(targets.unmap(target, lun, initiator or ()))
