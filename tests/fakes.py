"""The data path in memory, for every test above floor 7.

`Disks` is what outlives a restart: pools by the paths of their members. `FakeDataPath` opens them
as `_native` would, one owner at a time; `crash` forgets owners without closing. Snapshots are true
copies of their volume's chunks; what changed is counted chunk by chunk.
"""

from __future__ import annotations

import copy
import json
import os
import socket
import threading
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field

from scsi_snap.inventory.native import NativePool, NativeRing, NativeSession, NativeTarget, Point
from scsi_snap.iscsi.full_feature_text import NormalSessionText
from scsi_snap.iscsi.parameters import SessionParameters
from scsi_snap.scsi.target import Target
from tests.pool_views import Event, MemberView, PoolStatus, SnapshotView, StoreView, VolumeView

_MADE_AT_MS = 1_793_000_000_000


class FakeNativeError(Exception):
    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass
class _Snapshot:
    id: str
    name: str
    epoch: int
    first_byte: int
    length_bytes: int
    chunks: dict[int, bytes]
    changed: set[int] = field(default_factory=set)
    invalid_reason: str | None = None
    group: str | None = None
    volume_bytes: int = 0


@dataclass
class _Volume:
    id: str
    name: str
    size_bytes: int
    block_bytes: int
    chunk_bytes: int
    policy: str
    limit_bytes: int | None
    attributes: dict[str, str]
    chunks: dict[int, bytes] = field(default_factory=dict)
    snapshots: list[_Snapshot] = field(default_factory=list)
    epochs: int = 0


@dataclass
class _PoolContent:
    id: str
    name: str
    level: str
    strip_bytes: int
    members: list[str]
    failed: set[str] = field(default_factory=set)
    away: set[str] = field(default_factory=set)
    """What it was opened without."""
    labels: dict[str, tuple[int, frozenset[str]]] = field(default_factory=dict)
    """By member: the event count, and which have failed as far as it knows."""
    volumes: dict[str, _Volume] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    erased_stores: list[str] = field(default_factory=list)
    open: bool = False

    @property
    def event(self) -> int:
        return max(self.labels[path][0] for path in self.members if path not in self.failed)

    def commit(self) -> None:
        """The labels of all that are in sync."""
        event = max((count for count, _ in self.labels.values()), default=0) + 1
        for path in set(self.members) - self.failed:
            self.labels[path] = event, frozenset(self.failed)


@dataclass
class FakeMark:
    kind: str
    pool: str | None = None
    member: str | None = None
    event: int = 0


@dataclass
class Disks:
    """Paths to sizes, and the pools on them."""

    files: dict[str, int] = field(default_factory=dict)
    pools: list[_PoolContent] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)
    displaced: set[str] = field(default_factory=set)
    free: set[str] = field(default_factory=set)
    """Members of pools that were destroyed."""

    def copy(self, name: str, suffix: str) -> list[str]:
        """Copies of that pool's members, bit by bit, at paths that end with `suffix`."""
        source = self.pool(name)
        twin = copy.deepcopy(source)
        twin.members = [path + suffix for path in source.members]
        twin.labels = {path + suffix: label for path, label in source.labels.items()}
        twin.open = False
        self.files |= dict.fromkeys(twin.members, 1)
        self.pools.append(twin)
        return twin.members

    def crash(self) -> None:
        """Power is gone: nobody owns a pool any more; everything acknowledged is there."""
        for pool in self.pools:
            pool.open = False

    def pool(self, name: str) -> _PoolContent:
        return next(pool for pool in self.pools if pool.name == name)


class FakePool:
    """As `_native.Pool`. `size_bytes` of members are not looked at: a pool has 1 TiB."""

    def __init__(self, content: _PoolContent, disks: Disks) -> None:
        self.content = content
        self._disks = disks
        self.listed = 0
        """How often all of its volumes were asked for."""
        content.open = True
        content.commit()

    def close(self) -> None:
        self._check_open()
        self.content.commit()
        self.content.open = False

    def destroy(self) -> None:
        self._check_open()
        if self.content.volumes:
            raise FakeNativeError("busy", "the pool has volumes")
        self._disks.pools.remove(self.content)
        self._disks.free |= set(self.content.members) - self.content.away
        self.content.open = False

    def status(self) -> PoolStatus:
        pool = self.content
        used = sum(volume.size_bytes for volume in pool.volumes.values())
        return PoolStatus(
            name=pool.name,
            id=pool.id,
            level=pool.level,
            strip_bytes=pool.strip_bytes,
            state="degraded" if pool.failed else "optimal",
            size_bytes=1 << 40,
            free_bytes=(1 << 40) - used,
            members=tuple(
                MemberView(
                    f"number {role}" if path in pool.away else path,
                    str(uuid.uuid5(uuid.NAMESPACE_URL, path)),
                    role,
                    "missing"
                    if path in pool.away
                    else "failed"
                    if path in pool.failed
                    else "in-sync",
                    0,
                )
                for role, path in enumerate(pool.members)
            ),
            event=pool.event,
        )

    def fail_member(self, name: str) -> None:
        self._check_open()
        if self.content.failed:
            raise FakeNativeError("pool-unavailable", "the level allows one failed member")
        self.content.failed.add(name)
        self.content.commit()
        self.content.events.append(Event("member-failed", member=name, reason="by hand"))

    def volumes(self) -> list[VolumeView]:
        self._check_open()
        self.listed += 1
        return [_view(one) for _, one in sorted(self.content.volumes.items())]

    def volume(self, name: str) -> VolumeView | None:
        self._check_open()
        found = self.content.volumes.get(name)
        return _view(found) if found else None

    def volume_of(self, volume_id: str) -> VolumeView | None:
        self._check_open()
        found = [one for one in self.content.volumes.values() if one.id == volume_id]
        return _view(found[0]) if found else None

    def volumes_with(self, attribute: str, value: str) -> list[VolumeView]:
        self._check_open()
        volumes = self.content.volumes.values()
        return [_view(one) for one in volumes if one.attributes.get(attribute) == value]

    def volume_names(self) -> list[str]:
        self._check_open()
        self.listed += 1
        return sorted(self.content.volumes)

    def volume_count(self) -> int:
        self._check_open()
        return len(self.content.volumes)

    def create_volume(
        self,
        name: str,
        size_bytes: int,
        block_bytes: int,
        chunk_bytes: int,
        policy: str,
        store_limit_bytes: int | None,
        attributes: dict[str, str],
    ) -> None:
        self._check_open()
        if name in self.content.volumes:
            raise FakeNativeError("exists", f"volume {name} exists already")
        if size_bytes > 1 << 40:
            raise FakeNativeError("no-space", "the pool has no room for it")
        self.content.volumes[name] = _Volume(
            str(uuid.uuid4()),
            name,
            size_bytes,
            block_bytes,
            chunk_bytes,
            policy,
            store_limit_bytes,
            dict(attributes),
        )

    def resize_volume(self, name: str, size_bytes: int) -> None:
        volume = self.the_volume(name)
        if size_bytes < volume.size_bytes:
            raise FakeNativeError("invalid-argument", f"volume {name} cannot shrink")
        if size_bytes > 1 << 40:
            raise FakeNativeError("no-space", "the pool has no room for it")
        volume.size_bytes = size_bytes

    def set_attributes(self, volume: str, attributes: dict[str, str]) -> None:
        merged = {**self.the_volume(volume).attributes, **attributes}
        self.the_volume(volume).attributes = {key: value for key, value in merged.items() if value}

    def set_store_rules(self, volume: str, policy: str, limit_bytes: int | None) -> None:
        found = self.the_volume(volume)
        found.policy, found.limit_bytes = policy, limit_bytes

    def erase_store(self, volume: str) -> None:
        if self.the_volume(volume).snapshots:
            raise FakeNativeError("busy", f"volume {volume} has snapshots")
        self.content.erased_stores.append(volume)

    def delete_volume(self, name: str) -> None:
        if self.the_volume(name).snapshots:
            raise FakeNativeError("busy", f"volume {name} has snapshots")
        del self.content.volumes[name]

    def delete_snapshot(self, volume: str, snapshot: str) -> None:
        origin = self.the_volume(volume)
        found = self.snapshot(volume, snapshot)
        index = origin.snapshots.index(found)
        if index:
            origin.snapshots[index - 1].changed |= found.changed
        origin.snapshots.remove(found)

    def diff(
        self,
        volume: str,
        since: str,
        until: str | None,
        first_byte: int = 0,
        limit: int | None = None,
    ) -> list[tuple[int, int]]:
        origin = self.the_volume(volume)
        first = origin.snapshots.index(self.snapshot(volume, since))
        end = origin.snapshots.index(self.snapshot(volume, until)) if until else None
        changed = set().union(*(one.changed for one in origin.snapshots[first:end]))
        extents: list[tuple[int, int]] = []
        for chunk in sorted(changed):
            end = min((chunk + 1) * origin.chunk_bytes, origin.size_bytes)
            offset = max(chunk * origin.chunk_bytes, first_byte)
            length = end - offset
            if length <= 0:
                continue
            if extents and sum(extents[-1]) == offset:
                extents[-1] = (extents[-1][0], extents[-1][1] + length)
            else:
                extents.append((offset, length))
        return extents[:limit]

    def device(self, volume: str, snapshot: str | None) -> FakeDevice:
        if snapshot is not None:
            self.snapshot(volume, snapshot)
        return FakeDevice(self, self.the_volume(volume).id, volume, snapshot)

    def check(self, volume: str) -> list[str]:
        self.the_volume(volume)
        return []

    def compare(self) -> tuple[int, list[tuple[int, int, list[str]]]]:
        return 0, []

    def probe(self) -> None: ...

    def events(self) -> list[Event]:
        self._check_open()
        events, self.content.events = self.content.events, []
        return events

    def drop_snapshot(self, volume: str, snapshot: str, reason: str) -> None:
        """As the policy `drop-snapshot` does when the store is full."""
        self.snapshot(volume, snapshot).invalid_reason = reason
        self.content.events.append(
            Event("snapshots-dropped", volume=volume, snapshots=(snapshot,), reason=reason)
        )

    def the_volume(self, name: str) -> _Volume:
        self._check_open()
        if name not in self.content.volumes:
            raise FakeNativeError("not-found", f"volume {name} does not exist")
        return self.content.volumes[name]

    def snapshot(self, volume: str, name: str) -> _Snapshot:
        for one in self.the_volume(volume).snapshots:
            if one.name == name:
                return one
        raise FakeNativeError("not-found", f"snapshot {name} does not exist")

    def take(self, volume: str, name: str, blocks: tuple[int, int] | None, group: str) -> None:
        origin = self.the_volume(volume)
        first, length = 0, origin.size_bytes
        if blocks is not None:
            first, length = (count * origin.block_bytes for count in blocks)
        origin.epochs += 1
        origin.snapshots.append(
            _Snapshot(
                str(uuid.uuid4()),
                name,
                origin.epochs,
                first,
                length,
                dict(origin.chunks),
                group=group,
                volume_bytes=origin.size_bytes,
            )
        )

    def _check_open(self) -> None:
        if not self.content.open:
            raise FakeNativeError("closed", "the pool is closed")


class FakeDevice:
    """As `_native.Device`; one whose volume or snapshot is gone is closed."""

    def __init__(self, pool: FakePool, volume_id: str, volume: str, snapshot: str | None) -> None:
        self._pool = pool
        self._volume_id = volume_id
        self._volume = volume
        self._snapshot = snapshot

    @property
    def size_bytes(self) -> int:
        origin = self._origin()
        if self._snapshot is not None:
            return self._pool.snapshot(self._volume, self._snapshot).volume_bytes
        return origin.size_bytes

    @property
    def block_bytes(self) -> int:
        return self._origin().block_bytes

    @property
    def read_only(self) -> bool:
        return self._snapshot is not None

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        origin = self._origin()
        chunks = origin.chunks
        if self._snapshot is not None:
            image = self._pool.snapshot(self._volume, self._snapshot)
            if image.invalid_reason:
                raise FakeNativeError("snapshot-invalid", "the snapshot is invalid")
            end = image.first_byte + image.length_bytes
            if offset_bytes < image.first_byte or offset_bytes + length_bytes > end:
                raise FakeNativeError("outside-snapshot", "outside the snapshot")
            chunks = image.chunks
        size = origin.chunk_bytes
        first, last = offset_bytes // size, (offset_bytes + length_bytes - 1) // size
        joined = b"".join(chunks.get(chunk, bytes(size)) for chunk in range(first, last + 1))
        start = offset_bytes - first * size
        return joined[start : start + length_bytes]

    def write(self, offset_bytes: int, data: bytes) -> None:
        if self.read_only:
            raise FakeNativeError("read-only", "the device is read-only")
        origin = self._origin()
        size = origin.chunk_bytes
        while data:
            chunk, start = divmod(offset_bytes, size)
            part, data = data[: size - start], data[size - start :]
            old = origin.chunks.get(chunk, bytes(size))
            origin.chunks[chunk] = old[:start] + part + old[start + len(part) :]
            for snapshot in origin.snapshots[-1:]:
                snapshot.changed.add(chunk)
            offset_bytes += len(part)

    def flush(self) -> None:
        self._origin()

    def copy_from(
        self, source: FakeDevice, source_offset_bytes: int, offset_bytes: int, length_bytes: int
    ) -> None:
        self.write(offset_bytes, source.read(source_offset_bytes, length_bytes))

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        self.write_zeroes(offset_bytes, length_bytes)

    def write_zeroes(self, offset_bytes: int, length_bytes: int) -> None:
        self.write(offset_bytes, bytes(length_bytes))

    def wait_for_writes(self) -> None:
        """Nothing is fast here."""

    def fast_path_counts(self) -> tuple[int, int, int, int, int, int]:
        return 0, 0, 0, 0, 0, 0

    @property
    def unmap_granularity_bytes(self) -> int:
        return 4096

    @property
    def atomic_bytes_max(self) -> int:
        return 0 if self.read_only else 1 << 20

    def lba_status(self, offset_bytes: int, length_bytes: int) -> list[tuple[int, bool]]:
        """Nothing is ever given back here."""
        return [(length_bytes, True)] if length_bytes else []

    def compare_and_write(self, offset_bytes: int, expected: bytes, data: bytes) -> int | None:
        found = self.read(offset_bytes, len(expected))
        if found == expected:
            self.write(offset_bytes, data)
            return None
        return next(index for index, byte in enumerate(found) if byte != expected[index])

    def or_write(self, offset_bytes: int, data: bytes) -> None:
        found = self.read(offset_bytes, len(data))
        self.write(offset_bytes, bytes(a | b for a, b in zip(found, data, strict=True)))

    def write_atomic(self, offset_bytes: int, data: bytes) -> None:
        self.write(offset_bytes, data)

    def _origin(self) -> _Volume:
        found = self._pool.content.volumes.get(self._volume)
        if not self._pool.content.open or found is None or found.id != self._volume_id:
            raise FakeNativeError("closed", "the device is closed")
        return found


class FakeDataPath:
    """A `DataPath` over `disks`."""

    error: type[Exception] = FakeNativeError
    driver = "memory"
    threads = 1

    def __init__(self, disks: Disks) -> None:
        self._disks = disks
        self.stopped = False
        self._raised = 0
        self._raising = threading.Condition()
        self.rings: list[FakeNativeRing] = []

    def create_pool(
        self,
        name: str,
        level: str,
        strip_bytes: int,
        members: list[tuple[str, int | None]],
        force: bool = False,
    ) -> FakePool:
        for path, size_bytes in members:
            if size_bytes is None and path not in self._disks.files:
                raise FakeNativeError("member-refused", f"member {path} is refused: no such file")
            if path in self._disks.files and self.mark(path).kind == "member" and not force:
                raise FakeNativeError("member-refused", f"member {path} is refused: it has a label")
        self._disks.free -= {path for path, _ in members}
        for path, size_bytes in members:
            self._disks.files.setdefault(path, size_bytes or 0)
        paths = [path for path, _ in members]
        content = _PoolContent(str(uuid.uuid4()), name, level, strip_bytes, paths)
        self._disks.pools.append(content)
        return FakePool(content, self._disks)

    def mark(self, path: str) -> FakeMark:
        if path not in self._disks.files or path in self._disks.missing:
            raise FakeNativeError("member-refused", f"member {path} is refused: no such file")
        for content in self._disks.pools:
            if path in content.members:
                if content.open and path not in content.away:
                    raise FakeNativeError("member-refused", f"member {path} is in use already")
                return FakeMark("member", content.id, path, content.labels[path][0])
        return FakeMark("free" if path in self._disks.free else "none")

    def delete_free(self, path: str) -> bool:
        if path not in self._disks.free:
            return False
        self._disks.free.remove(path)
        del self._disks.files[path]
        return True

    def open_pool(self, members: list[str], at_least_event: int = 0) -> FakePool:
        for path in members:
            if path not in self._disks.files or path in self._disks.missing:
                raise FakeNativeError("pool-unavailable", f"member {path} is missing")
        return self._opened(members, at_least_event)

    def open_available(
        self, members: list[str], at_least_event: int = 0
    ) -> tuple[FakePool, list[str]]:
        gone = [path for path in members if path in self._disks.missing]
        here = [path for path in members if path not in gone]
        if not here:
            raise FakeNativeError("pool-unavailable", f"member {gone[0]} is missing")
        return self._opened(here, at_least_event), [f"member {path} is missing" for path in gone]

    def _opened(self, members: list[str], at_least_event: int) -> FakePool:
        """One member may be away, as with raid5; the newest label says which have failed."""
        for content in self._disks.pools:
            if not set(members) <= set(content.members):
                continue
            if content.open:
                raise FakeNativeError("busy", f"member {members[0]} is in use")
            away = set(content.members) - set(members)
            event, failed = max(content.labels[path] for path in members)
            if len(away | failed) > 1:
                raise FakeNativeError("pool-unavailable", f"member {min(away)} is missing")
            if event < at_least_event:
                raise FakeNativeError("pool-unavailable", "the pool is older than it was")
            content.away, content.failed = away, away | failed
            return FakePool(content, self._disks)
        raise FakeNativeError("member-refused", f"member {members[0]} is refused: no label")

    def settle_groups(self, pools: list[NativePool]) -> int:
        return 0

    def create_snapshots(self, points: list[Point]) -> None:
        group = str(uuid.uuid4())
        for pool, volume, _, _ in points:
            assert isinstance(pool, FakePool)
            pool.the_volume(volume)
        for pool, volume, name, blocks in points:
            assert isinstance(pool, FakePool)
            pool.take(volume, name, blocks, group)

    def make_target(self, command_set: Target) -> NativeTarget:
        return FakeNativeTarget()

    def adopt(
        self,
        target: NativeTarget,
        descriptor: int,
        nexus: int,
        parameters: SessionParameters,
        text: NormalSessionText,
        received: bytes,
    ) -> NativeSession:
        assert isinstance(target, FakeNativeTarget)
        session = FakeNativeSession(descriptor)
        target.sessions.append(session)
        return session

    def attach_ring(
        self,
        target: NativeTarget,
        nexus: int,
        lun: int,
        region: int,
        region_bytes: int,
        doorbell: int,
        records: str,
        once: dict[int, bool],
    ) -> NativeRing:
        assert isinstance(target, FakeNativeTarget)
        assert lun in target.luns, "the unit is not mapped there"
        ring = FakeNativeRing(target, nexus, os.fstat(region).st_ino, records)
        self.rings.append(ring)
        return ring

    def displaced_members(self, paths: Iterable[str]) -> dict[str, str]:
        return {path: "it was deleted" for path in paths if path in self._disks.displaced}

    def wait_for_events(self, seen: int, timeout_s: float) -> int:
        with self._raising:
            self._raising.wait_for(lambda: self._raised > seen, timeout_s)
            return self._raised

    def wake_event_waiter(self) -> None:
        with self._raising:
            self._raised += 1
            self._raising.notify_all()

    def stop(self) -> None:
        self.stopped = True


class FakeNativeRing:
    """Serves nothing; `device` is the inode of what it was attached to."""

    def __init__(self, target: FakeNativeTarget, nexus: int, device: int, records: str) -> None:
        self.target, self.nexus, self.device, self.records = target, nexus, device, records
        self._reason: str | None = None

    def stop(self) -> None:
        self._reason = self._reason or "stopped"

    def break_off(self, reason: str) -> None:
        """As where the ring is corrupt."""
        self._reason = reason

    def closed(self) -> bool:
        return self._reason is not None

    def end_reason(self) -> str | None:
        return self._reason

    def settled(self) -> bool:
        return True

    def counters(self) -> str:
        return json.dumps({"commands": 0})


class FakeNativeTarget:
    def __init__(self) -> None:
        self.luns: dict[int, object] = {}
        self.units: dict[int, tuple[int, bool]] = {}
        """By LUN: number of the unit, and whether it is read-only there."""
        self.sessions: list[FakeNativeSession] = []

    def map(self, lun: int, device: object, unit: int, read_only: bool) -> None:
        assert lun not in self.luns
        self.luns[lun] = device
        self.units[lun] = unit, read_only

    def unmap(self, lun: int) -> None:
        del self.luns[lun], self.units[lun]

    def set_pending(self, lun: int, nexus: int | None, pending: bool) -> None:
        """Nothing is fast here."""

    def decline_writes(self, lun: int, declined: bool) -> None:
        """Nothing is fast here."""


class FakeNativeSession:
    """Owns the connection, but speaks nothing on it."""

    def __init__(self, descriptor: int) -> None:
        self._socket: socket.socket | None = socket.socket(fileno=descriptor)
        self.asked_to_log_out = False
        self.events: list[tuple[int, bytes]] = []
        """LUN and sense data of the Async Messages."""

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def closed(self) -> bool:
        return self._socket is None

    def wait_closed(self, timeout_s: float) -> bool:
        if self.asked_to_log_out:
            self.close()
        return self.closed()

    def end_reason(self) -> str | None:
        return "closed" if self.closed() else None

    def logout_request(self) -> None:
        self.asked_to_log_out = True

    def report_event(self, lun: int, sense: bytes) -> None:
        self.events.append((lun, sense))

    def counters(self) -> str:
        return json.dumps({"commands": 3, "read_bytes": 4096, "written_bytes": 0})


def _view(volume: _Volume) -> VolumeView:
    used = sum(len(one.changed) for one in volume.snapshots) * volume.chunk_bytes
    return VolumeView(
        id=volume.id,
        name=volume.name,
        created_at_ms=_MADE_AT_MS,
        size_bytes=volume.size_bytes,
        block_bytes=volume.block_bytes,
        chunk_bytes=volume.chunk_bytes,
        policy=volume.policy,
        store=StoreView(used, 2 * used, volume.limit_bytes),
        snapshots=tuple(
            SnapshotView(
                id=one.id,
                name=one.name,
                created_at_ms=_MADE_AT_MS + one.epoch,
                first_byte=one.first_byte,
                length_bytes=one.length_bytes,
                state="invalid" if one.invalid_reason else "live",
                invalid_reason=one.invalid_reason,
                group=one.group,
                volume_bytes=one.volume_bytes,
                epoch=one.epoch,
            )
            for one in volume.snapshots
        ),
        attributes=dict(volume.attributes),
    )
