"""A volume's `Caretaker`: how much space its pool has for it, and what is kept in its attributes
(docs/formats/volume-attributes.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from scsi_snap.errors import ScsiSnapError
from scsi_snap.inventory.pool_views import PoolStatus, VolumeView
from scsi_snap.inventory.pools import PoolHandle
from scsi_snap.scsi.caretaker import Space


class VolumeCaretaker:
    """Of one volume of an open pool; it is there as long as it is mapped."""

    def __init__(self, handle: PoolHandle, volume_id: str) -> None:
        self._handle = handle
        self._volume_id = volume_id

    def space(self) -> Space | None:
        try:
            return space_of(self._handle.status(), self._volume())
        except ScsiSnapError:
            # A pool that is being closed knows nothing any more.
            return None

    def information(self, kind: str) -> bytes:
        """What cannot be used, as it was written by hand, counts as nothing."""
        try:
            return bytes.fromhex(self._volume().attributes.get(kind, ""))
        except ValueError:
            return b""

    def keep_information(self, kind: str, data: bytes) -> None:
        self._handle.set_attributes(self._volume().name, {kind: data.hex()})

    def _volume(self) -> VolumeView:
        return self._handle.volume_of(self._volume_id)


def spaces(handle: PoolHandle) -> Mapping[UUID, Space]:
    """Of every volume of the pool that has snapshots: the others' writes need no more space."""
    status = handle.status()
    return {
        UUID(volume.id): space_of(status, volume)
        for volume in handle.volumes()
        if volume.snapshot_count
    }


def space_of(pool: PoolStatus, volume: VolumeView) -> Space:
    """A volume's blocks have their extents from the beginning. What its writes may still take is
    for chunks that its snapshots need: the store's room, and what it may grow by."""
    store = volume.store
    growth_bytes = pool.free_bytes
    if store.limit_bytes is not None:
        growth_bytes = min(growth_bytes, max(store.limit_bytes - store.capacity_bytes, 0))
    return Space(
        used_bytes=volume.size_bytes + store.capacity_bytes,
        available_bytes=growth_bytes + max(store.capacity_bytes - store.used_bytes, 0),
    )
