"""What a pool tells about itself: the JSON texts of the data path, parsed at the door."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from scsi_snap.errors import InternalError, NotFound


@dataclass(frozen=True)
class MemberView:
    name: str
    id: str
    role: int | None
    state: str
    errors: int


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

    def snapshot(self, name: str) -> SnapshotView | None:
        return next((one for one in self.snapshots if one.name == name), None)

    def snapshot_named(self, pool: str, name: str) -> SnapshotView:
        """Raises `NotFound` with what is nearest."""
        found = self.snapshot(name)
        if found is None:
            raise NotFound.named(
                f"snapshot of {pool}/{self.name}",
                name,
                (one.name for one in self.snapshots),
                f"scsi-snap snapshot list {pool}/{self.name}",
            )
        return found


@dataclass(frozen=True)
class PoolEvent:
    kind: str
    volume: str | None
    snapshot: str | None
    message: str


def parse_status(text: str) -> PoolStatus:
    value = _parsed(text)
    members = tuple(
        MemberView(one["name"], str(one["id"]), one["role"], one["state"], one["errors"])
        for one in value["members"]
    )
    return PoolStatus(
        name=value["name"],
        id=str(value["id"]),
        level=value["level"],
        strip_bytes=value["strip_bytes"],
        state=value["state"],
        size_bytes=value["size_bytes"],
        free_bytes=value["free_bytes"],
        members=members,
    )


def parse_volumes(text: str) -> tuple[VolumeView, ...]:
    return tuple(_volume(value) for value in _parsed(text))


def parse_events(text: str) -> list[PoolEvent]:
    return [
        PoolEvent(one["kind"], one.get("volume"), one.get("snapshot"), one["message"])
        for one in _parsed(text)
    ]


def parse_check(text: str) -> list[str]:
    return [str(problem) for problem in _parsed(text)["problems"]]


def _volume(value: Any) -> VolumeView:
    store = value["store"]
    return VolumeView(
        id=str(value["id"]),
        name=value["name"],
        created_at_ms=value["created_at_ms"],
        size_bytes=value["size_bytes"],
        block_bytes=value["block_bytes"],
        chunk_bytes=value["chunk_bytes"],
        policy=value["policy"],
        store=StoreView(store["used_bytes"], store["capacity_bytes"], store["limit_bytes"]),
        snapshots=tuple(_snapshot(one) for one in value["snapshots"]),
    )


def _snapshot(value: Any) -> SnapshotView:
    return SnapshotView(
        id=str(value["id"]),
        name=value["name"],
        created_at_ms=value["created_at_ms"],
        first_byte=value["first_byte"],
        length_bytes=value["length_bytes"],
        state=value["state"],
        invalid_reason=value["invalid_reason"],
        group=value["group"],
    )


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InternalError(f"the data path answered what is not JSON: {error}") from error
