"""Verbs on pools. The order of writes is told in `inventory.assembly`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from scsi_snap import limits, units
from scsi_snap.control import mappings, views
from scsi_snap.control.event_log import EventLog
from scsi_snap.control.outcomes import Changed, Created, Deleted, Unchanged
from scsi_snap.errors import (
    Busy,
    Exists,
    InvalidArgument,
    LimitReached,
    NotFound,
    ScsiSnapError,
)
from scsi_snap.inventory import names
from scsi_snap.inventory.assembly import Assembly, backings_of
from scsi_snap.inventory.native import translated
from scsi_snap.inventory.notes import Note
from scsi_snap.inventory.pools import PoolHandle
from scsi_snap.inventory.records import PoolPhase, PoolRecord, State

LEVELS = ("raid0", "raid1", "raid10", "raid5")
STRIP_BYTES_MIN, STRIP_BYTES_MAX, STRIP_BYTES_DEFAULT = 4 << 10, 1 << 20, 64 << 10

MemberToMake = tuple[str, int | None]
"""A member's path, and the size to make it with (None: it exists)."""


class PoolVerbs:
    def __init__(self, assembly: Assembly, events: EventLog) -> None:
        self._assembly = assembly
        self._catalog = assembly.catalog
        self._pools = assembly.pools
        self._events = events

    def all(self) -> list[views.Pool]:
        return [self.show(name) for name in self._pools.names()]

    def show(self, name: str) -> views.Pool:
        reason = self._pools.unavailable().get(name)
        if reason is not None:
            record = self._catalog.state.pools.get(name)
            members = record.members if record else ()
            return views.Pool(
                name=name,
                id=record.id if record else "",
                state="unavailable",
                reason=reason,
                members=tuple(views.Member(one, "", None, "unknown", 0) for one in members),
            )
        return _view(self._pools.get(name))

    def create(
        self, name: str, level: str, strip_bytes: int, members: Sequence[MemberToMake]
    ) -> Created[views.Pool] | Unchanged[views.Pool]:
        names.part("pool", name)
        _check_geometry(level, strip_bytes)
        paths = _checked_members([path for path, _ in members])
        for path, size_bytes in members:
            names.member_size(path, size_bytes)
        if self._is_the_same(name, level, strip_bytes, paths):
            return Unchanged(self.show(name))
        record = PoolRecord(name, paths, phase="creating")
        self._catalog.update(_adding(record))
        try:
            with translated(self._assembly.data_path):
                native = self._assembly.data_path.create_pool(
                    name, level, strip_bytes, list(members)
                )
        except BaseException:
            self._catalog.update(lambda state: state.without_pool(name))
            raise
        handle = PoolHandle(self._assembly.data_path, native)
        self._record_opened(handle, record)
        return Created(_view(handle))

    def import_(
        self, members: Sequence[str], name: str | None = None
    ) -> Created[views.Pool] | Unchanged[views.Pool]:
        """Takes over the pool that `members` hold. Without members it tries the recorded pool
        `name` again, as a start does: members that are away are left out if the level allows."""
        paths = _checked_members(members) if members else self._recorded(name).members
        for record in self._catalog.state.pools.values():
            if set(record.members) & set(paths) and record.name not in self._pools.unavailable():
                if set(record.members) == set(paths) and name in (None, record.name):
                    return Unchanged(self.show(record.name))
                raise Busy(
                    f"pool {record.name!r} uses some of these members",
                    f"`scsi-snap pool show {record.name}` tells which",
                )
        notes: list[Note] = []
        if members:
            handle = self._assembly.open_pool(paths)
        else:
            handle, notes = self._assembly.open_recorded(self._recorded(name))
        try:
            self._check_import(handle, name)
            self._record_opened(handle, PoolRecord(handle.name, paths))
        except ScsiSnapError:
            handle.close()
            raise
        for note in [*notes, *self._assembly.attach(handle)]:
            self._events.tell(note)
        return Created(_view(handle))

    def export(self, name: str) -> Deleted:
        """Closes the pool and forgets it; its members keep everything."""
        if name in self._pools.unavailable():
            self._catalog.update(_removing(name))
            self._pools.remove(name)
            return Deleted(name)
        with self._pools.locked([name]) as handles:
            for volume in handles[name].volumes():
                for found in backings_of(volume):
                    label = f"{name}/{found.label}"
                    mappings.refuse_shown(self._assembly.exporter, label, found.id)
            self._catalog.update(_removing(name))
            self._pools.remove(name)
            handles[name].close()
        return Deleted(name)

    def destroy(self, name: str, *, dry_run: bool = False) -> Deleted:
        """Erases the labels of a pool that holds no volume. `dry_run`: says which, and does
        nothing."""
        with self._pools.locked([name]) as handles:
            handle = handles[name]
            volumes = handle.volumes()
            if volumes:
                raise Busy(
                    f"pool {name!r} holds {len(volumes)} volume(s), such as {volumes[0].name!r}",
                    f"`scsi-snap volume delete {name}/{volumes[0].name}` first",
                )
            goes = tuple(f"the label of {one.name}" for one in handle.status().members)
            if dry_run:
                return Deleted(name, goes, planned=True)
            self._catalog.update(_marking(name, "destroying"))
            try:
                handle.destroy()
            except ScsiSnapError:
                self._catalog.update(_marking(name, "present"))
                raise
            self._pools.remove(name)
            self._catalog.update(lambda state: state.without_pool(name))
        return Deleted(name, goes)

    def fail_member(self, name: str, member: str) -> Changed[views.Pool] | Unchanged[views.Pool]:
        """Takes a member out of the stripe set by hand."""
        with self._pools.locked([name]) as handles:
            handle = handles[name]
            by_name = {one.name: one for one in handle.status().members}
            found = by_name.get(member)
            if found is None:
                raise NotFound.named(
                    f"member of pool {name!r}", member, by_name, f"scsi-snap pool show {name}"
                )
            if found.state == "failed":
                return Unchanged(_view(handle))
            handle.fail_member(member)
            return Changed(_view(handle))

    def _record_opened(self, handle: PoolHandle, record: PoolRecord) -> None:
        present = replace(record, id=handle.id, phase="present")
        self._catalog.update(lambda state: state.with_pool(present))
        self._pools.add(handle)

    def _is_the_same(self, name: str, level: str, strip_bytes: int, paths: tuple[str, ...]) -> bool:
        record = self._catalog.state.pools.get(name)
        if record is None or record.members != paths or name in self._pools.unavailable():
            return False
        view = self.show(name)
        return view.level == level and view.strip_bytes == strip_bytes

    def _recorded(self, name: str | None) -> PoolRecord:
        pools = self._catalog.state.pools
        if name is None:
            raise InvalidArgument("no members were given", "name the members of the pool")
        if name not in pools:
            raise NotFound.named("pool on record", name, pools, "scsi-snap pool list")
        return pools[name]

    def _check_import(self, handle: PoolHandle, name: str | None) -> None:
        if name is not None and handle.name != name:
            raise InvalidArgument(
                f"these members hold pool {handle.name!r}, not {name!r}",
                f"`scsi-snap pool import --name {handle.name} ...` imports that one",
            )
        recorded = self._catalog.state.pools.get(handle.name)
        if recorded is not None and recorded.id and recorded.id != handle.id:
            raise Exists(
                f"another pool named {handle.name!r} is on record ({recorded.id})",
                f"`scsi-snap pool export {handle.name}` forgets that one",
            )


def _view(handle: PoolHandle) -> views.Pool:
    status = handle.status()
    return views.Pool(
        name=status.name,
        id=status.id,
        state=status.state,
        level=status.level,
        strip_bytes=status.strip_bytes,
        size_bytes=status.size_bytes,
        free_bytes=status.free_bytes,
        members=tuple(map(views.member, status.members)),
    )


def _check_geometry(level: str, strip_bytes: int) -> None:
    if level not in LEVELS:
        raise InvalidArgument(f"{level!r} is not a RAID level", f"one of {', '.join(LEVELS)}")
    power_of_two = strip_bytes > 0 and strip_bytes & (strip_bytes - 1) == 0
    if not power_of_two or not STRIP_BYTES_MIN <= strip_bytes <= STRIP_BYTES_MAX:
        smallest, largest = map(units.format_size, (STRIP_BYTES_MIN, STRIP_BYTES_MAX))
        raise InvalidArgument(
            f"a strip of {units.exact_size(strip_bytes)} cannot be used",
            f"a power of two from {smallest} to {largest}",
        )


def _checked_members(paths: Sequence[str]) -> tuple[str, ...]:
    if not paths:
        raise InvalidArgument("a pool needs members", "name files or block devices")
    if len(paths) > limits.MEMBERS_PER_POOL_MAX:
        raise LimitReached(
            f"a pool has at most {limits.MEMBERS_PER_POOL_MAX} members, {len(paths)} were named",
            "name fewer, or make two pools",
        )
    for path in paths:
        names.member_path(path)
    if len(set(paths)) != len(paths):
        twice = next(path for path in paths if list(paths).count(path) > 1)
        raise InvalidArgument(f"the member {twice!r} is named twice", "name each member once")
    return tuple(paths)


def _adding(record: PoolRecord) -> Callable[[State], State]:
    def change(state: State) -> State:
        other = state.pools.get(record.name)
        if other is not None and other.phase == "creating":
            raise Busy(f"pool {record.name!r} is being made", "wait for it, or restart the daemon")
        if other is not None:
            raise Exists(
                f"a pool named {record.name!r} is there already",
                f"`scsi-snap pool show {record.name}` tells what it is",
            )
        for pool in state.pools.values():
            common = sorted(set(pool.members) & set(record.members))
            if common:
                raise Busy(
                    f"the member {common[0]!r} belongs to pool {pool.name!r}",
                    f"name another one, or `scsi-snap pool destroy {pool.name}` first",
                )
        if len(state.pools) >= limits.POOLS_MAX:
            raise LimitReached(
                f"a controller has at most {limits.POOLS_MAX} pools",
                "`scsi-snap pool list` shows them; destroy or export one first",
            )
        return state.with_pool(record)

    return change


def _marking(name: str, phase: PoolPhase) -> Callable[[State], State]:
    return lambda state: state.with_pool(replace(state.pools[name], phase=phase))


def _removing(name: str) -> Callable[[State], State]:
    def change(state: State) -> State:
        record = state.pools.get(name)
        if record is None:
            return state
        mappings.refuse_in_use(
            [
                (target, lun)
                for target in state.targets.values()
                for lun in target.luns
                if lun.pool_id == record.id
            ]
        )
        return state.without_pool(name)

    return change
