"""What a pool tells about itself: the JSON texts of the data path, parsed at the door."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
    volume_bytes: int
    """What its volume had when it was taken; the volume may have grown since."""


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
    """`subject` is a volume or snapshot within the pool, or empty for the pool itself."""

    kind: str
    subject: str
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
    value = _parsed(text)
    return [
        event
        for one in [*value["pool"], *value["volumes"]]
        for event in _events_of(one["event"], one)
    ]


def _events_of(kind: str, told: Any) -> list[PoolEvent]:
    volume = told.get("volume", "")
    match kind:
        case "member-failed":
            text = f"member {told['member']} was taken out: {told['reason']}"
        case "member-missing":
            text = f"member {told['member']} is missing"
        case "resynced":
            text = f"after an unclean stop, {told['bytes']} bytes of each member were compared"
        case "repaired":
            text = (
                f"member {told['member']} held {told['length_bytes']} bytes at"
                f" {told['offset_bytes']} that were wrong; they were rewritten from the others"
            )
        case "set-failed":
            text = f"every read and write fails: {told['reason']}"
        case "snapshots-dropped":
            names = told["snapshots"]
            dropped = f"the snapshot was dropped: {told['reason']}"
            return [PoolEvent(kind, f"{volume}@{name}", dropped) for name in names]
        case "store-full":
            text = "the exception store is full"
        case "store-threshold":
            text = f"the exception store is at {told['percent']}% of what it may take"
        case _:
            text = json.dumps(told)
    return [PoolEvent(kind, volume, text)]


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
        snapshots=tuple(_snapshot(one, value["size_bytes"]) for one in value["snapshots"]),
        attributes=value["attributes"],
    )


def _snapshot(value: Any, size_bytes: int) -> SnapshotView:
    volume_bytes = value["volume_bytes"]
    return SnapshotView(
        id=str(value["id"]),
        name=value["name"],
        created_at_ms=value["created_at_ms"],
        first_byte=value["first_byte"],
        length_bytes=value["length_bytes"],
        state=value["state"],
        invalid_reason=value["invalid_reason"],
        group=value["group"],
        volume_bytes=size_bytes if volume_bytes is None else volume_bytes,
    )


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InternalError(f"the data path answered what is not JSON: {error}") from error
