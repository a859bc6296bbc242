"""Views of pools as the data path makes them, to be made by tests (`inventory.pool_views`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class MemberView:
    name: str
    id: str
    role: int | None
    state: str
    errors: int
    repairs: int = 0


@dataclass(frozen=True)
class PoolStatus:
    name: str
    id: str
    level: str
    strip_bytes: int
    state: str
    size_bytes: int
    free_bytes: int
    members: tuple[MemberView, ...]
    event: int = 1


@dataclass(frozen=True)
class SnapshotView:
    id: str
    name: str
    created_at_ms: int
    first_byte: int
    length_bytes: int
    state: str
    invalid_reason: str | None
    group: str | None
    volume_bytes: int
    epoch: int = 1


@dataclass(frozen=True)
class StoreView:
    used_bytes: int
    capacity_bytes: int
    limit_bytes: int | None


@dataclass(frozen=True)
class VolumeView:
    id: str
    name: str
    created_at_ms: int
    size_bytes: int
    block_bytes: int
    chunk_bytes: int
    policy: str
    store: StoreView
    snapshots: tuple[SnapshotView, ...]
    attributes: Mapping[str, str]

    @property
    def snapshot_count(self) -> int:
        return len(self.snapshots)

    def snapshot(self, name: str) -> SnapshotView | None:
        return next((one for one in self.snapshots if one.name == name), None)

    def snapshot_of(self, snapshot_id: str) -> SnapshotView | None:
        return next((one for one in self.snapshots if one.id == snapshot_id), None)


@dataclass(frozen=True)
class Event:
    kind: str
    member: str | None = None
    volume: str | None = None
    snapshots: tuple[str, ...] = ()
    reason: str | None = None
    bytes: int | None = None
    offset_bytes: int | None = None
    length_bytes: int | None = None
    percent: int | None = None
