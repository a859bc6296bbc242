"""The pools of this controller: open ones by their handle, the others with the reason.

A pool is its UUID: no two handles have the same, nor the same name. Who makes, opens or closes a
pool holds a `claimed` turn on its name, UUID and members from the first look to the end.

Locks: a handle's `lock` is held by every verb that changes what is in its pool, and by `lun map`
while it looks at the volume and writes the map, so that nothing is deleted between the two.
Several handles are locked in the order of their names (`locked`); the catalog's own lock is taken
inside and held only for one replacement of the file. Reading takes no lock. A turn is taken before
any lock; one verb takes names and paths first and UUIDs last, so that none waits for another's.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from scsi_snap import limits
from scsi_snap.errors import Busy, NotFound, PoolUnavailable
from scsi_snap.inventory.native import DataPath, NativeDevice, NativePool, translated
from scsi_snap.inventory.pool_views import (
    MemberView,
    PoolEvent,
    PoolStatus,
    SnapshotView,
    VolumeView,
    disagreements,
    pool_events,
)


class PoolHandle:
    """One open pool; the native object's calls, with our types and errors."""

    def __init__(
        self, data_path: DataPath, native: NativePool, paths: tuple[str, ...] = ()
    ) -> None:
        """`paths`: of the members on record, by role; those of members that are missing."""
        self._data_path = data_path
        self.native = native
        self._paths = paths
        self.lock = threading.RLock()
        status = self.status()
        self.name, self.id = status.name, status.id

    def status(self) -> PoolStatus:
        with translated(self._data_path):
            return self.native.status()

    def name_of(self, member: MemberView) -> str:
        """The path of a member, also of one that is missing, where that is known."""
        role = member.role
        if member.state != "missing" or role is None or role >= len(self._paths):
            return member.name
        return self._paths[role] or member.name

    def member_paths(self) -> tuple[str, ...]:
        """By role; empty where the path of a role is not known, or is another member's by now."""
        members = self.status().members
        present = {one.name for one in members if one.state != "missing"}
        known = (*self._paths, *[""] * len(members))
        return tuple(
            one.name if one.state != "missing" else "" if known[role] in present else known[role]
            for role, one in enumerate(members)
        )

    def volumes(self) -> Sequence[VolumeView]:
        """All, by name. Where one is wanted, or their number, ask for that."""
        with translated(self._data_path):
            return self.native.volumes()

    def volume_names(self) -> list[str]:
        with translated(self._data_path):
            return self.native.volume_names()

    def volume_count(self) -> int:
        with translated(self._data_path):
            return self.native.volume_count()

    def volume(self, name: str) -> VolumeView:
        """Raises `NotFound` with what is nearest."""
        found = self.find_volume(name)
        if found is not None:
            return found
        raise NotFound.named(
            f"volume in pool {self.name!r}",
            name,
            self.volume_names(),
            f"scsi-snap volume list {self.name}",
        )

    def find_volume(self, name: str) -> VolumeView | None:
        with translated(self._data_path):
            return self.native.volume(name)

    def volume_of(self, volume_id: str) -> VolumeView:
        """By its UUID, whatever it is called. Raises `NotFound`."""
        found = self.find_volume_of(volume_id)
        if found is None:
            raise NotFound(f"volume {volume_id} is not in pool {self.name!r} any more")
        return found

    def volumes_with(self, attribute: str, value: str) -> Sequence[VolumeView]:
        """Those whose attribute has that value."""
        with translated(self._data_path):
            return self.native.volumes_with(attribute, value)

    def find_volume_of(self, volume_id: str) -> VolumeView | None:
        with translated(self._data_path):
            return self.native.volume_of(volume_id)

    def snapshot(self, volume: VolumeView, name: str) -> SnapshotView:
        """Of a volume of this pool. Raises `NotFound` with what is nearest."""
        found = volume.snapshot(name)
        if found is None:
            raise NotFound.named(
                f"snapshot of {self.name}/{volume.name}",
                name,
                (one.name for one in volume.snapshots),
                f"scsi-snap snapshot list {self.name}/{volume.name}",
            )
        return found

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
        with translated(self._data_path):
            self.native.create_volume(
                name, size_bytes, block_bytes, chunk_bytes, policy, store_limit_bytes, attributes
            )

    def set_attributes(self, volume: str, attributes: dict[str, str]) -> None:
        """Replaces the named ones, removes those that are empty; durable when it returns."""
        with translated(self._data_path):
            self.native.set_attributes(volume, attributes)

    def set_store_rules(self, volume: str, policy: str, limit_bytes: int | None) -> None:
        with translated(self._data_path):
            self.native.set_store_rules(volume, policy, limit_bytes)

    def resize_volume(self, name: str, size_bytes: int) -> None:
        with translated(self._data_path):
            self.native.resize_volume(name, size_bytes)

    def delete_volume(self, name: str) -> None:
        with translated(self._data_path):
            self.native.delete_volume(name)

    def delete_snapshot(self, volume: str, snapshot: str) -> None:
        with translated(self._data_path):
            self.native.delete_snapshot(volume, snapshot)

    def diff(
        self,
        volume: str,
        since: str,
        until: str | None,
        first_byte: int = 0,
        limit: int | None = None,
    ) -> list[tuple[int, int]]:
        """(first byte, length) of what changed, from `first_byte` on, at most `limit` extents."""
        with translated(self._data_path):
            return self.native.diff(volume, since, until, first_byte, limit)

    def device(self, volume: str, snapshot: str | None) -> NativeDevice:
        with translated(self._data_path):
            return self.native.device(volume, snapshot)

    def check(self, volume: str) -> list[str]:
        with translated(self._data_path):
            return self.native.check(volume)

    def compare(self) -> list[str]:
        """Where members disagree, in sentences; reads all that is written of the pool."""
        with translated(self._data_path):
            return disagreements(*self.native.compare())

    def probe(self) -> None:
        """Takes out members that are known not to be what was opened."""
        with translated(self._data_path):
            self.native.probe()

    def events(self) -> list[PoolEvent]:
        with translated(self._data_path):
            happened = self.native.events()
        return [event for one in happened for event in pool_events(one)]

    def fail_member(self, name: str) -> None:
        with translated(self._data_path):
            self.native.fail_member(name)

    def close(self) -> None:
        with translated(self._data_path):
            self.native.close()

    def destroy(self) -> None:
        with translated(self._data_path):
            self.native.destroy()


class Pools:
    """By name: what is open, and why the rest is not. Replaced as a whole, read without a lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._turn = threading.Condition()
        self._claims: dict[str, str] = {}
        """Names, UUIDs and paths, to what is being done with them."""
        self._coming: frozenset[str] = frozenset()
        """Names of pools that are being made."""
        self._open: dict[str, PoolHandle] = {}
        self._unavailable: dict[str, str] = {}

    def opened(self) -> list[PoolHandle]:
        return [self._open[name] for name in sorted(self._open)]

    def unavailable(self) -> dict[str, str]:
        """Pool's name to the reason."""
        return dict(self._unavailable)

    def names(self) -> list[str]:
        return sorted({*self._open, *self._unavailable})

    def get(self, name: str) -> PoolHandle:
        """Raises `NotFound` with what is nearest, or `PoolUnavailable` with the reason."""
        handle = self._open.get(name)
        if handle is not None:
            return handle
        reason = self._unavailable.get(name)
        if reason is not None:
            raise PoolUnavailable(
                f"pool {name!r} is not available: {reason}",
                f"bring its members back and `scsi-snap pool import --name {name}`",
            )
        if name in self._coming:
            raise Busy(f"pool {name!r} is being made", "try again when that has ended")
        raise NotFound.named("pool", name, self.names(), "scsi-snap pool list")

    def by_id(self, pool_id: str) -> PoolHandle | None:
        return next((one for one in self._open.values() if one.id == pool_id), None)

    def add(self, handle: PoolHandle) -> None:
        with self._lock:
            others = [one for one in self._open.values() if one is not handle]
            taken = [one for one in others if handle.name == one.name or handle.id == one.id]
            assert not taken, "a pool is open once: its opener has looked, and holds the turn"
            self._open = {**self._open, handle.name: handle}
            self._unavailable = {k: v for k, v in self._unavailable.items() if k != handle.name}

    def set_unavailable(self, name: str, reason: str) -> None:
        with self._lock:
            self._open = {k: v for k, v in self._open.items() if k != name}
            self._unavailable = {**self._unavailable, name: reason}

    def remove(self, name: str) -> None:
        with self._lock:
            self._open = {k: v for k, v in self._open.items() if k != name}
            self._unavailable = {k: v for k, v in self._unavailable.items() if k != name}

    @contextmanager
    def claimed(self, doing: str, *keys: str, coming: str = "") -> Iterator[None]:
        """The only turn to make, open or close what has any of these names, UUIDs and paths. Waits
        for whoever has it, and raises `Busy` when that takes long. `coming`: the name of a pool
        that is being made."""
        wanted = set(filter(None, keys))
        with self._turn:
            if not self._turn.wait_for(
                lambda: not wanted & self._claims.keys(), limits.POOL_TURN_WAIT_S
            ):
                other = next(self._claims[key] for key in wanted if key in self._claims)
                raise Busy(f"{other} is under way", "try again when it has ended")
            self._claims = {**self._claims, **dict.fromkeys(wanted, doing)}
            self._coming |= {coming} - {""}
        try:
            yield
        finally:
            with self._turn:
                self._claims = {k: v for k, v in self._claims.items() if k not in wanted}
                self._coming -= {coming}
                self._turn.notify_all()

    @contextmanager
    def locked(self, names: Iterable[str]) -> Iterator[dict[str, PoolHandle]]:
        """The named pools, held against changes by others, in the order of their names."""
        with ExitStack() as held:
            handles = {}
            for name in sorted(set(names)):
                handle = self.get(name)
                held.enter_context(handle.lock)
                handles[name] = handle
            for name, handle in handles.items():
                if self.get(name) is not handle:
                    raise PoolUnavailable(f"pool {name!r} was closed meanwhile", "try again")
            yield handles
