"""/v1/pools"""

from __future__ import annotations

from fastapi import APIRouter, Response

from scsi_snap.api.rendering import created, deleted_body, outcome_body
from scsi_snap.api.schema import (
    DeletedBody,
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
        return pools.all()

    @router.post("", responses=created(views.Pool))
    def create_pool(body: PoolCreate, response: Response) -> OutcomeBody[views.Pool]:
        members = [(member.path, member.size_bytes) for member in body.members]
        outcome = pools.create(body.name, body.level, body.strip_bytes, members)
        return outcome_body(outcome, response)

    @router.post("/import", responses=created(views.Pool))
    def import_pool(body: PoolImport, response: Response) -> OutcomeBody[views.Pool]:
        return outcome_body(pools.import_(body.members, body.name), response)

    @router.get("/{pool}")
    def show_pool(pool: str) -> views.Pool:
        return pools.show(pool)

    @router.post("/{pool}/export")
    def export_pool(pool: str) -> DeletedBody:
        """Closes the pool and forgets it; its members keep everything."""
        return deleted_body(pools.export(pool))

    @router.delete("/{pool}")
    def destroy_pool(pool: str) -> DeletedBody:
        """Erases the labels of a pool that holds no volume."""
        return deleted_body(pools.destroy(pool))

    @router.post("/{pool}/fail-member")
    def fail_member(pool: str, body: MemberFail, response: Response) -> OutcomeBody[views.Pool]:
        return outcome_body(pools.fail_member(pool, body.member), response)

    return router
