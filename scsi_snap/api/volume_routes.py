"""/v1/volumes and /v1/check"""

from __future__ import annotations

from fastapi import APIRouter, Response

from scsi_snap.api import fields
from scsi_snap.api.rendering import created, deleted_body, outcome_body
from scsi_snap.api.schema import (
    DeletedBody,
    OutcomeBody,
    VolumeCreate,
    VolumeResize,
    VolumeSet,
)
from scsi_snap.control import views
from scsi_snap.control.service import Service
from scsi_snap.inventory.names import VolumeName


def volume_router(service: Service) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["volumes"])
    volumes = service.volumes

    @router.get("/volumes")
    def list_volumes(pool: fields.PoolPart | None = None) -> list[views.Volume]:
        """Every volume, or those of one pool."""
        return volumes.all(pool)

    @router.post("/volumes", responses=created(views.Volume))
    def create_volume(body: VolumeCreate, response: Response) -> OutcomeBody[views.Volume]:
        """Makes a volume that reads as zeros."""
        outcome = volumes.create(
            VolumeName.parse(body.name),
            body.size_bytes,
            body.block_bytes,
            body.chunk_bytes,
            body.policy,
            body.store_limit_bytes,
            body.traits(),
        )
        return outcome_body(outcome, response)

    @router.get("/volumes/{pool}/{volume}")
    def show_volume(pool: fields.PoolPart, volume: fields.VolumePart) -> views.Volume:
        """One volume."""
        return volumes.show(VolumeName(pool, volume))

    @router.patch("/volumes/{pool}/{volume}")
    def set_volume(
        pool: fields.PoolPart, volume: fields.VolumePart, body: VolumeSet, response: Response
    ) -> OutcomeBody[views.Volume]:
        """Changes what the volume's logical unit says it is, and the rules of its exception store,
        online."""
        name = VolumeName(pool, volume)
        outcome = volumes.set(name, body.traits(), body.policy, body.store_limit_bytes)
        return outcome_body(outcome, response)

    @router.post("/volumes/{pool}/{volume}/resize")
    def resize_volume(
        pool: fields.PoolPart, volume: fields.VolumePart, body: VolumeResize, response: Response
    ) -> OutcomeBody[views.Volume]:
        """Makes it larger, online; initiators are told."""
        outcome = volumes.resize(VolumeName(pool, volume), body.size_bytes)
        return outcome_body(outcome, response)

    @router.delete("/volumes/{pool}/{volume}")
    def delete_volume(
        pool: fields.PoolPart,
        volume: fields.VolumePart,
        with_snapshots: bool = False,
        dry_run: fields.DryRun = False,
    ) -> DeletedBody:
        """Gives its space back. Refused while a LUN shows it, and while it has snapshots unless
        `with_snapshots` is set."""
        name = VolumeName(pool, volume)
        outcome = volumes.delete(name, with_snapshots=with_snapshots, dry_run=dry_run)
        return deleted_body(outcome)

    @router.post("/volumes/{pool}/{volume}/check")
    def check_volume(pool: fields.PoolPart, volume: fields.VolumePart) -> views.CheckResult:
        """Checks every format on disk that holds the volume."""
        return volumes.check(VolumeName(pool, volume))

    @router.post("/check")
    def check_all(pool: fields.PoolPart | None = None) -> list[views.CheckResult]:
        """Checks every volume, of one pool or of all, and compares the members' copies and parity:
        that reads all that is written, while I/O goes on."""
        return volumes.check_all(pool)

    return router
