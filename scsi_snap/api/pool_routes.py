"""/v1/pools"""

from __future__ import annotations

from fastapi import APIRouter, Response

from scsi_snap.api import fields
from scsi_snap.api.rendering import created, deleted_body, outcome_body
from scsi_snap.api.schema import (
    DeletedBody,
    DestroyedBody,
    MemberFail,
    OutcomeBody,
    PoolCreate,
    PoolImport,
)
from scsi_snap.control import views
from scsi_snap.control.service import Service


def pool_router(service: Service) -> APIRouter:
    router = APIRouter(prefix="/v1/pools", tags=["pools"])
    pools = service.pools

    @router.get("")
    def list_pools() -> list[views.Pool]:
        """Every pool, the unavailable ones too."""
        return pools.all()

    @router.post("", responses=created(views.Pool))
    def create_pool(body: PoolCreate, response: Response) -> OutcomeBody[views.Pool]:
        """Makes a pool over files and block devices."""
        members = [(member.path, member.size_bytes) for member in body.members]
        outcome = pools.create(body.name, body.level, body.strip_bytes, members, body.force)
        return outcome_body(outcome, response)

    @router.post("/import", responses=created(views.Pool))
    def import_pool(body: PoolImport, response: Response) -> OutcomeBody[views.Pool]:
        """Takes over the pool that the members hold. Without members it tries the named pool on
        record again."""
        return outcome_body(pools.import_(body.members, body.name, body.force), response)

    @router.get("/{pool}")
    def show_pool(pool: fields.PoolPart) -> views.Pool:
        """One pool, and its members."""
        return pools.show(pool)

    @router.post("/{pool}/export")
    def export_pool(pool: fields.PoolPart) -> DeletedBody:
        """Closes the pool and forgets it; its members keep everything."""
        return deleted_body(pools.export(pool))

    @router.delete("/{pool}")
    def destroy_pool(
        pool: fields.PoolPart, delete_files: bool = False, dry_run: fields.DryRun = False
    ) -> DestroyedBody:
        """Destroys a pool that holds no volume. Its members are free then; `delete_files` removes
        those that are files."""
        outcome = pools.destroy(pool, delete_files, dry_run=dry_run)
        body = deleted_body(outcome)
        return DestroyedBody(**body.model_dump(), left=list(outcome.left))

    @router.post("/{pool}/fail-member")
    def fail_member(
        pool: fields.PoolPart, body: MemberFail, response: Response
    ) -> OutcomeBody[views.Pool]:
        """Takes a member out of the stripe set by hand."""
        return outcome_body(pools.fail_member(pool, body.member), response)

    return router
