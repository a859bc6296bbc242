"""Verbs on snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from scsi_snap import limits
from scsi_snap.control import mappings, views
from scsi_snap.control.allocated_extents import allocated
from scsi_snap.control.outcomes import Created, Deleted
from scsi_snap.control.snapshot_map import draw_cells
from scsi_snap.errors import Busy, Exists, InvalidArgument, LimitReached, SnapshotInvalid
from scsi_snap.inventory import names, personalities
from scsi_snap.inventory.assembly import Assembly
from scsi_snap.inventory.names import SnapshotName, VolumeName
from scsi_snap.inventory.native import Point, translated
from scsi_snap.inventory.pool_views import SnapshotView, VolumeView
from scsi_snap.inventory.pools import PoolHandle
from scsi_snap.inventory.volume_eraser import is_sanitized


@dataclass(frozen=True)
class SnapshotToMake:
    """`block_range`: (first LBA, blocks), or None for the whole volume."""

    name: SnapshotName
    block_range: tuple[int, int] | None = None


class SnapshotVerbs:
    def __init__(self, assembly: Assembly) -> None:
        self._data_path = assembly.data_path
        self._catalog = assembly.catalog
        self._pools = assembly.pools
        self._exporter = assembly.exporter

    def all(self, pool: str | None = None, volume: str | None = None) -> list[views.Snapshot]:
        """In the order they were taken: of a pool or of all, and there of the volume of that name
        or of all."""
        if volume is not None:
            names.part("volume", volume)
        handles = [self._pools.get(pool)] if pool else self._pools.opened()
        mapped = mappings.by_volume(self._catalog.state)
        found = []
        for handle in handles:
            volumes = _named(handle, volume, must_exist=pool is not None)
            for one in volumes:
                luns = mapped.get(one.id, [])
                found += [view(handle.name, one, snapshot, luns) for snapshot in one.snapshots]
        return found

    def show(self, name: SnapshotName) -> views.Snapshot:
        _, volume, snapshot = self._find(name)
        mapped = mappings.of_volume(self._catalog.state, volume.id)
        return view(name.pool, volume, snapshot, mapped)

    def create(self, wanted: Sequence[SnapshotToMake]) -> Created[list[views.Snapshot]]:
        """One consistent point over all of `wanted`: all of them exist afterwards, or none."""
        _check_wanted(wanted)
        with self._pools.locked(one.name.pool for one in wanted) as handles:
            points = [_point(handles[one.name.pool], one) for one in wanted]
            with translated(self._data_path):
                self._data_path.create_snapshots(points)
            return Created([self.show(one.name) for one in wanted])

    def delete(self, name: SnapshotName, *, dry_run: bool = False) -> Deleted:
        """`dry_run`: says whether it would go, and does nothing."""
        with self._pools.locked([name.pool]) as handles:
            volume = handles[name.pool].volume(name.volume)
            snapshot = handles[name.pool].snapshot(volume, name.snapshot)
            found = mappings.of_volume(self._catalog.state, volume.id)
            mappings.refuse_in_use([one for one in found if one[1].snapshot_id == snapshot.id])
            mappings.refuse_shown(self._exporter, str(name), snapshot.id)
            if dry_run:
                return Deleted(str(name), planned=True)
            handles[name.pool].delete_snapshot(name.volume, name.snapshot)
            self._exporter.backing_deleted(UUID(snapshot.id))
        return Deleted(str(name))

    def diff(
        self,
        since: SnapshotName,
        until: SnapshotName | None = None,
        first_lba: int = 0,
        limit: int = limits.DIFF_EXTENTS_PAGE,
    ) -> views.Diff:
        """What changed from `since` to `until`, or to the volume as it is now: extents from
        `first_lba` on, which clips one that begins before it, and at most `limit` of them."""
        _check_page(first_lba, limit)
        handle, volume, earlier = self._find(since)
        _refuse_invalid(since, earlier)
        if until is not None:
            if until.origin != since.origin:
                raise InvalidArgument(
                    f"{since} and {until} are not of the same volume",
                    f"`scsi-snap snapshot list {since.origin}` shows those of {since.origin}",
                )
            later = handle.snapshot(volume, until.snapshot)
            _refuse_invalid(until, later)
            if later.epoch <= earlier.epoch:
                raise InvalidArgument(
                    f"{until} was not taken after {since}", "name the earlier snapshot first"
                )
        block_bytes = volume.block_bytes
        # One more than the page has, to say where the next one begins.
        changed = handle.diff(
            since.volume,
            since.snapshot,
            until.snapshot if until else None,
            min(first_lba * block_bytes, volume.size_bytes),
            limit + 1,
        )
        extents = [_extent(offset, length, block_bytes) for offset, length in changed]
        return views.Diff(
            since=str(since),
            until=str(until) if until else None,
            block_bytes=block_bytes,
            extents=tuple(extents[:limit]),
            next_lba=extents[limit].first_lba if len(extents) > limit else None,
        )

    def extents(
        self, name: SnapshotName, first_lba: int = 0, limit: int = limits.DIFF_EXTENTS_PAGE
    ) -> views.Extents:
        """What is allocated of the snapshot: extents from `first_lba` on, which clips one that
        begins before it, and at most `limit` of them. One may go on with the next page."""
        _check_page(first_lba, limit)
        handle, volume, snapshot = self._find(name)
        _refuse_invalid(name, snapshot)
        end = snapshot.first_byte + snapshot.length_bytes
        start = max(first_lba * volume.block_bytes, snapshot.first_byte)
        device = handle.device(name.volume, name.snapshot)
        with translated(self._data_path):
            found, reached = allocated(device, start, end, limit)
        return views.Extents(
            name=str(name),
            block_bytes=volume.block_bytes,
            extents=tuple(_extent(*one, volume.block_bytes) for one in found),
            next_lba=reached // volume.block_bytes if reached < end else None,
        )

    def map(self, name: SnapshotName, cells: int) -> views.SnapshotMap:
        """The volume in at most `cells` cells: what the snapshot covers and has preserved."""
        if not 1 <= cells <= limits.MAP_CELLS_MAX:
            raise InvalidArgument(
                f"a picture of {cells} cells cannot be drawn", f"1 to {limits.MAP_CELLS_MAX}"
            )
        handle, volume, snapshot = self._find(name)
        _refuse_invalid(name, snapshot)
        # A chunk that changed since the snapshot is one that the snapshot reads from the store.
        preserved = handle.diff(name.volume, name.snapshot, None)
        return draw_cells(str(name), volume, snapshot, preserved, cells)

    def _find(self, name: SnapshotName) -> tuple[PoolHandle, VolumeView, SnapshotView]:
        handle = self._pools.get(name.pool)
        volume = handle.volume(name.volume)
        return handle, volume, handle.snapshot(volume, name.snapshot)


def _named(handle: PoolHandle, volume: str | None, *, must_exist: bool) -> Sequence[VolumeView]:
    if volume is None:
        return handle.volumes()
    found = handle.volume(volume) if must_exist else handle.find_volume(volume)
    return [found] if found else []


def _check_page(first_lba: int, limit: int) -> None:
    if first_lba < 0:
        raise InvalidArgument(f"a page cannot begin at LBA {first_lba}", "0 or more")
    if not 1 <= limit <= limits.DIFF_EXTENTS_PAGE:
        raise InvalidArgument(
            f"a page of {limit} extents cannot be had", f"1 to {limits.DIFF_EXTENTS_PAGE}"
        )


def view(
    pool: str, volume: VolumeView, snapshot: SnapshotView, mapped: mappings.Mapped
) -> views.Snapshot:
    identity = personalities.of_snapshot(volume, snapshot).identity
    return views.Snapshot(
        name=f"{pool}/{volume.name}@{snapshot.name}",
        id=snapshot.id,
        created_at_ms=snapshot.created_at_ms,
        state=snapshot.state,
        invalid_reason=snapshot.invalid_reason,
        group=snapshot.group,
        block_bytes=volume.block_bytes,
        first_lba=snapshot.first_byte // volume.block_bytes,
        blocks=snapshot.length_bytes // volume.block_bytes,
        whole_volume=snapshot.length_bytes == snapshot.volume_bytes,
        mapped=mappings.references(mapped, snapshot.id),
        serial=identity.serial_number,
        naa=identity.naa.hex(),
    )


def _check_wanted(wanted: Sequence[SnapshotToMake]) -> None:
    if not wanted:
        raise InvalidArgument("no snapshot was named", "write POOL/VOLUME@SNAPSHOT")
    if len(wanted) > limits.SNAPSHOTS_PER_POINT_MAX:
        raise LimitReached(
            f"one point has at most {limits.SNAPSHOTS_PER_POINT_MAX} snapshots,"
            f" {len(wanted)} were named",
            "take several points",
        )
    seen: set[VolumeName] = set()
    for one in wanted:
        if one.name.origin in seen:
            raise InvalidArgument(
                f"two snapshots of {one.name.origin} in one point", "name each volume once"
            )
        seen.add(one.name.origin)


def _point(handle: PoolHandle, wanted: SnapshotToMake) -> Point:
    volume = handle.volume(wanted.name.volume)
    if volume.snapshot(wanted.name.snapshot) is not None:
        raise Exists(
            f"snapshot {str(wanted.name)!r} is there already",
            "a snapshot is a point in time: take one by another name, or delete that one",
        )
    if is_sanitized(volume):
        raise Busy(
            f"{wanted.name.origin} is being sanitized, or that has failed: a snapshot would keep"
            " what is to be erased",
            "wait for its end, or have an initiator sanitize it again",
        )
    if wanted.block_range is not None:
        first, blocks = wanted.block_range
        volume_blocks = volume.size_bytes // volume.block_bytes
        if first < 0 or blocks < 1 or first + blocks > volume_blocks:
            raise InvalidArgument(
                f"the range {first}+{blocks} is not within {wanted.name.origin}",
                f"it has {volume_blocks} blocks of {volume.block_bytes} bytes",
            )
    return handle.native, wanted.name.volume, wanted.name.snapshot, wanted.block_range


def _refuse_invalid(name: SnapshotName, snapshot: SnapshotView) -> None:
    if snapshot.state == "invalid":
        reason = snapshot.invalid_reason or "its data could not be kept"
        raise SnapshotInvalid(
            f"snapshot {str(name)!r} is invalid: {reason}",
            f"`scsi-snap snapshot delete {name}` removes it",
        )


def _extent(offset_bytes: int, length_bytes: int, block_bytes: int) -> views.Extent:
    first = offset_bytes // block_bytes
    end = -(-(offset_bytes + length_bytes) // block_bytes)
    return views.Extent(first, end - first, (end - first) * block_bytes)
