"""/v1/snapshots"""

from __future__ import annotations

from fastapi import APIRouter, Response

from scsi_snap import limits
from scsi_snap.api.rendering import created, deleted_body, outcome_body
from scsi_snap.api.schema import (
    DeletedBody,
    OutcomeBody,
    SnapshotsCreate,
    SnapshotToCreate,
)
from scsi_snap.control import views
from scsi_snap.control.service import Service
from scsi_snap.control.snapshots import SnapshotToMake
from scsi_snap.inventory.names import SnapshotName


def snapshot_router(service: Service) -> APIRouter:
    router = APIRouter(prefix="/v1/snapshots", tags=["snapshots"])
    snapshots = service.snapshots

    @router.get("")
    def list_snapshots(pool: str | None = None, volume: str | None = None) -> list[views.Snapshot]:
        """`volume` is a name within `pool`."""
        return snapshots.all(pool, volume)

    @router.post("", responses=created(list[views.Snapshot]))
    def create_snapshots(
        body: SnapshotsCreate, response: Response
    ) -> OutcomeBody[list[views.Snapshot]]:
        wanted = [_to_make(one) for one in body.snapshots]
        return outcome_body(snapshots.create(wanted), response)

    @router.get("/{pool}/{volume}/{snapshot}")
    def show_snapshot(pool: str, volume: str, snapshot: str) -> views.Snapshot:
        return snapshots.show(SnapshotName(pool, volume, snapshot))

    @router.delete("/{pool}/{volume}/{snapshot}")
    def delete_snapshot(pool: str, volume: str, snapshot: str) -> DeletedBody:
        return deleted_body(snapshots.delete(SnapshotName(pool, volume, snapshot)))

    @router.get("/{pool}/{volume}/{snapshot}/diff")
    def diff(
        pool: str,
        volume: str,
        snapshot: str,
        until: str | None = None,
        first_lba: int = 0,
        limit: int = limits.DIFF_EXTENTS_PAGE,
    ) -> views.Diff:
        """`until` is POOL/VOLUME@SNAPSHOT; without it, the volume as it is now."""
        later = SnapshotName.parse(until) if until is not None else None
        return snapshots.diff(SnapshotName(pool, volume, snapshot), later, first_lba, limit)

    @router.get("/{pool}/{volume}/{snapshot}/map")
    def snapshot_map(pool: str, volume: str, snapshot: str, cells: int = 256) -> views.SnapshotMap:
        return snapshots.map(SnapshotName(pool, volume, snapshot), cells)

    return router


def _to_make(one: SnapshotToCreate) -> SnapshotToMake:
    block_range = (one.range.first_lba, one.range.blocks) if one.range else None
    return SnapshotToMake(SnapshotName.parse(one.name), block_range)
