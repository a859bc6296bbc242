"""/v1/snapshots"""

from __future__ import annotations

from fastapi import APIRouter, Response

from scsi_snap import limits
from scsi_snap.api import fields
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
    def list_snapshots(
        pool: fields.PoolPart | None = None, volume: fields.VolumePart | None = None
    ) -> list[views.Snapshot]:
        """Of one volume, of one pool, of the volumes of that name in every pool, or all."""
        return snapshots.all(pool, volume)

    @router.post("", responses=created(list[views.Snapshot]))
    def create_snapshots(
        body: SnapshotsCreate, response: Response
    ) -> OutcomeBody[list[views.Snapshot]]:
        """Takes snapshots at one consistent point: all of them exist afterwards, or none."""
        wanted = [_to_make(one) for one in body.snapshots]
        return outcome_body(snapshots.create(wanted), response)

    @router.get("/{pool}/{volume}/{snapshot}")
    def show_snapshot(
        pool: fields.PoolPart, volume: fields.VolumePart, snapshot: fields.SnapshotPart
    ) -> views.Snapshot:
        """One snapshot."""
        return snapshots.show(SnapshotName(pool, volume, snapshot))

    @router.delete("/{pool}/{volume}/{snapshot}")
    def delete_snapshot(
        pool: fields.PoolPart,
        volume: fields.VolumePart,
        snapshot: fields.SnapshotPart,
        dry_run: fields.DryRun = False,
    ) -> DeletedBody:
        """Chunks that no other snapshot needs are freed. Refused while a LUN shows it."""
        name = SnapshotName(pool, volume, snapshot)
        return deleted_body(snapshots.delete(name, dry_run=dry_run))

    @router.get("/{pool}/{volume}/{snapshot}/diff")
    def snapshot_diff(
        pool: fields.PoolPart,
        volume: fields.VolumePart,
        snapshot: fields.SnapshotPart,
        until: fields.SnapshotFullName | None = None,
        first_lba: fields.Lba = 0,
        limit: fields.PageLimit = limits.DIFF_EXTENTS_PAGE,
    ) -> views.Diff:
        """`until` is POOL/VOLUME@SNAPSHOT; without it, the volume as it is now. From `first_lba`
        on, which clips an extent that begins before it; a page costs what is in it."""
        later = SnapshotName.parse(until) if until is not None else None
        return snapshots.diff(SnapshotName(pool, volume, snapshot), later, first_lba, limit)

    @router.get("/{pool}/{volume}/{snapshot}/extents")
    def snapshot_extents(
        pool: fields.PoolPart,
        volume: fields.VolumePart,
        snapshot: fields.SnapshotPart,
        first_lba: fields.Lba = 0,
        limit: fields.PageLimit = limits.DIFF_EXTENTS_PAGE,
    ) -> views.Extents:
        """What is allocated of a snapshot; all else of its range reads as zeros."""
        return snapshots.extents(SnapshotName(pool, volume, snapshot), first_lba, limit)

    @router.get("/{pool}/{volume}/{snapshot}/map")
    def snapshot_map(
        pool: fields.PoolPart,
        volume: fields.VolumePart,
        snapshot: fields.SnapshotPart,
        cells: fields.CellCount = 256,
    ) -> views.SnapshotMap:
        """The volume in at most `cells` cells: what the snapshot covers, and has preserved."""
        return snapshots.map(SnapshotName(pool, volume, snapshot), cells)

    return router


def _to_make(one: SnapshotToCreate) -> SnapshotToMake:
    block_range = (one.range.first_lba, one.range.blocks) if one.range else None
    return SnapshotToMake(SnapshotName.parse(one.name), block_range)
