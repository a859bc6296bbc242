"""What a pool tells about itself, as the control plane reads it: objects of the data path, and the
protocols that say what of them is used. Each holds what was so when it was asked for; a property
costs nothing that is not read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from scsi_snap import units


class MemberView(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def role(self) -> int | None: ...
    @property
    def state(self) -> str: ...
    @property
    def errors(self) -> int: ...
    @property
    def repairs(self) -> int: ...


class PoolStatus(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def level(self) -> str: ...
    @property
    def strip_bytes(self) -> int: ...
    @property
    def event(self) -> int:
        """How often the members' labels have been changed."""

    @property
    def state(self) -> str: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def free_bytes(self) -> int: ...
    @property
    def members(self) -> Sequence[MemberView]: ...


class SnapshotView(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def created_at_ms(self) -> int: ...
    @property
    def epoch(self) -> int: ...
    @property
    def first_byte(self) -> int: ...
    @property
    def length_bytes(self) -> int: ...
    @property
    def state(self) -> str: ...
    @property
    def invalid_reason(self) -> str | None: ...
    @property
    def group(self) -> str | None: ...
    @property
    def volume_bytes(self) -> int:
        """What its volume had when it was taken; the volume may have grown since."""


class StoreView(Protocol):
    @property
    def used_bytes(self) -> int: ...
    @property
    def capacity_bytes(self) -> int: ...
    @property
    def limit_bytes(self) -> int | None: ...


class VolumeView(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def created_at_ms(self) -> int: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def block_bytes(self) -> int: ...
    @property
    def chunk_bytes(self) -> int: ...
    @property
    def policy(self) -> str: ...
    @property
    def store(self) -> StoreView: ...
    @property
    def attributes(self) -> Mapping[str, str]: ...
    @property
    def snapshot_count(self) -> int: ...
    @property
    def snapshots(self) -> Sequence[SnapshotView]:
        """Oldest first. Where one is wanted, or their number, ask for that."""

    def snapshot(self, name: str) -> SnapshotView | None: ...
    def snapshot_of(self, snapshot_id: str) -> SnapshotView | None: ...


class NativeEvent(Protocol):
    """Which kinds there are, and with which fields: `_native.Event`."""

    @property
    def kind(self) -> str: ...
    @property
    def member(self) -> str | None: ...
    @property
    def volume(self) -> str | None: ...
    @property
    def snapshots(self) -> Sequence[str]: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def bytes(self) -> int | None: ...
    @property
    def offset_bytes(self) -> int | None: ...
    @property
    def length_bytes(self) -> int | None: ...
    @property
    def percent(self) -> int | None: ...


@dataclass(frozen=True)
class PoolEvent:
    """`subject` is a volume or snapshot within the pool, or empty for the pool itself."""

    kind: str
    subject: str
    message: str


def pool_events(event: NativeEvent) -> list[PoolEvent]:
    """What operators read of it: one event for each thing that it is about."""
    volume = event.volume or ""
    match event.kind:
        case "member-failed":
            text = f"member {event.member} was taken out: {event.reason}"
        case "member-missing":
            text = f"member {event.member} is missing"
        case "resynced":
            text = (
                f"after an unclean stop, {units.format_size(event.bytes or 0)} of each member were"
                " compared"
            )
        case "repaired":
            text = (
                f"member {event.member} held {units.format_size(event.length_bytes or 0)} at byte"
                f" {event.offset_bytes}"
                " that were wrong; they were rewritten from the others"
            )
        case "map-repaired":
            text = f"{event.reason} were damaged, and were written anew"
        case "set-failed":
            text = f"every read and write fails: {event.reason}"
        case "snapshots-dropped":
            dropped = f"the snapshot was dropped: {event.reason}"
            return [PoolEvent(event.kind, f"{volume}@{name}", dropped) for name in event.snapshots]
        case "store-full":
            text = "the exception store is full"
        case "store-threshold":
            text = f"the exception store is at {event.percent}% of what it may take"
        case _:
            text = event.reason or event.kind
    return [PoolEvent(event.kind, volume, text)]


def disagreements(
    mismatched_bytes: int, ranges: Sequence[tuple[int, int, Sequence[str]]]
) -> list[str]:
    """What operators read of a comparison; the ranges may be some of those that were found."""
    problems = [
        f"members {', '.join(members)} disagree about {length_bytes} bytes"
        f" at byte {address} of each"
        for address, length_bytes, members in ranges
    ]
    more = mismatched_bytes - sum(length_bytes for _, length_bytes, _ in ranges)
    return [*problems, f"they disagree about {more} more bytes"] if more else problems
