"""Verbs on pools. The order of writes is told in `inventory.assembly`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
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
from scsi_snap.inventory.member_files import MemberToMake, has_size, is_file
from scsi_snap.inventory.native import translated
from scsi_snap.inventory.notes import Note
from scsi_snap.inventory.pool_opening import is_member, opened_record, present_paths
from scsi_snap.inventory.pools import PoolHandle
from scsi_snap.inventory.records import PoolPhase, PoolRecord, State

LEVELS = ("raid0", "raid1", "raid10", "raid5")
STRIP_BYTES_MIN, STRIP_BYTES_MAX, STRIP_BYTES_DEFAULT = 4 << 10, 1 << 20, 64 << 10


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
            members = record.paths if record else ()
            return views.Pool(
                name=name,
                id=record.id if record else "",
                state="unavailable",
                reason=reason,
                members=tuple(views.Member(one, "", None, "unknown", 0) for one in members),
            )
        return _view(self._pools.get(name))

    def create(
        self,
        name: str,
        level: str,
        strip_bytes: int,
        members: Sequence[MemberToMake],
        force: bool = False,
    ) -> Created[views.Pool] | Unchanged[views.Pool]:
        """Members that hold something are refused; with `force` they are wiped first."""
        names.part("pool", name)
        _check_geometry(level, strip_bytes)
        paths = _checked_members([path for path, _ in members])
        for path, size_bytes in members:
            names.member_size(path, size_bytes)
        with self._pools.claimed(f"making pool {name!r}", name, *paths, coming=name):
            if self._is_the_same(name, level, strip_bytes, members):
                return Unchanged(self.show(name))
            record = PoolRecord(name, paths, phase="creating")
            self._catalog.update(_adding(record))
            try:
                handle = self._made(name, level, strip_bytes, members, force)
            except BaseException:
                self._catalog.update(lambda state: state.without_pool(name))
                raise
            try:
                self._record_opened(handle, record)
            except BaseException:
                # The record says that it is being made: the next attempt, or start, drops it.
                with suppress(ScsiSnapError):
                    handle.destroy()
                raise
            return Created(_view(handle))

    def _made(
        self,
        name: str,
        level: str,
        strip_bytes: int,
        members: Sequence[MemberToMake],
        force: bool,
    ) -> PoolHandle:
        data_path = self._assembly.data_path
        with translated(data_path):
            native = data_path.create_pool(name, level, strip_bytes, list(members), force)
        return PoolHandle(data_path, native)

    def import_(
        self, members: Sequence[str], name: str | None = None, force: bool = False
    ) -> Created[views.Pool] | Unchanged[views.Pool]:
        """Takes over the pool that `members` hold. Without members it tries the recorded pool
        `name` again, as a start does: members that are away are left out if the level allows. With
        `force` it may be older than the record says."""
        if not members:
            return self._import_recorded(self._recorded(name), force)
        paths = _checked_members(members)
        with self._pools.claimed("an import", name or "", *paths):
            open_here = self._opened_with(paths)
            if open_here is not None:
                if set(open_here.paths) == set(paths) and name in (None, open_here.name):
                    return Unchanged(self.show(open_here.name))
                raise Busy(
                    f"pool {open_here.name!r} uses some of these members",
                    f"`scsi-snap pool show {open_here.name}` tells which",
                )
            marks = self._assembly.opener.marks(paths)
            ids = {one.pool or "" for one in marks.values() if is_member(one)}
            with self._pools.claimed("an import", *ids):
                self._assembly.opener.refuse_open_twice(marks)
                record = self._record_of(ids, paths)
                handle = self._assembly.opener.named(paths, record, force)
                return self._imported(handle, name, record, [])

    def _import_recorded(
        self, known: PoolRecord, force: bool
    ) -> Created[views.Pool] | Unchanged[views.Pool]:
        name = known.name
        with self._pools.claimed("an import", name, known.id, *known.paths):
            record = self._recorded(name)
            if self._is_open(record):
                return Unchanged(self.show(name))
            handle, notes = self._assembly.opener.recorded(record, force)
            return self._imported(handle, name, record, notes)

    def _imported(
        self, handle: PoolHandle, name: str | None, record: PoolRecord, notes: list[Note]
    ) -> Created[views.Pool]:
        try:
            self._check_import(handle, name)
            self._record_opened(handle, record)
        except BaseException:
            with suppress(ScsiSnapError):
                handle.close()
            raise
        for note in [*notes, *self._assembly.attach(handle)]:
            self._events.tell(note)
        return Created(_view(handle))

    def _record_of(self, ids: set[str], paths: tuple[str, ...]) -> PoolRecord:
        """Of the pool that these members hold; an empty one where none is on record."""
        for record in self._catalog.state.pools.values():
            if record.id and record.id in ids:
                return record
        return PoolRecord("", paths)

    def _opened_with(self, paths: tuple[str, ...]) -> PoolRecord | None:
        """The record of an open pool that uses any of these members."""
        records = self._catalog.state.pools.values()
        used = (one for one in records if set(one.paths) & set(paths))
        return next(filter(self._is_open, used), None)

    def _is_open(self, record: PoolRecord) -> bool:
        return any(one.name == record.name for one in self._pools.opened())

    def export(self, name: str) -> Deleted:
        """Closes the pool and forgets it; its members keep everything."""
        with self._turn_to("exporting", name):
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

    def destroy(self, name: str, delete_files: bool = False, *, dry_run: bool = False) -> Deleted:
        """Marks the members of a pool that holds no volume as free; with `delete_files` those that
        are files are removed. `dry_run`: says which, and does nothing."""
        with self._turn_to("destroying", name), self._pools.locked([name]) as handles:
            handle = handles[name]
            volumes = handle.volumes()
            if volumes:
                raise Busy(
                    f"pool {name!r} holds {len(volumes)} volume(s), such as {volumes[0].name!r}",
                    f"`scsi-snap volume delete {name}/{volumes[0].name}` first",
                )
            members = present_paths(handle)
            files = [path for path in members if delete_files and is_file(path)]
            goes = tuple(
                f"the {'file' if path in files else 'label of'} {path}" for path in members
            )
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
            left = [path for path in members if not (delete_files and self._deleted(path))]
            return Deleted(name, goes, left=tuple(left))

    def _deleted(self, path: str) -> bool:
        """Whether the file of a destroyed pool is gone; one that is left is told of, and hinders
        nothing."""
        data_path = self._assembly.data_path
        try:
            with translated(data_path):
                return data_path.delete_free(path)
        except (ScsiSnapError, OSError):
            return False

    @contextmanager
    def _turn_to(self, doing: str, name: str) -> Iterator[None]:
        """The turn on everything that the recorded pool `name` is known by."""
        record = self._catalog.state.pools.get(name, PoolRecord(name, ()))
        with self._pools.claimed(f"{doing} pool {name!r}", name, record.id, *record.paths):
            yield

    def fail_member(self, name: str, member: str) -> Changed[views.Pool] | Unchanged[views.Pool]:
        """Takes a member out of the stripe set by hand."""
        with self._pools.locked([name]) as handles:
            handle = handles[name]
            by_name = {handle.name_of(one): one for one in handle.status().members}
            found = by_name.get(member)
            if found is None:
                raise NotFound.named(
                    f"member of pool {name!r}", member, by_name, f"scsi-snap pool show {name}"
                )
            if found.state in ("failed", "missing"):
                return Unchanged(_view(handle))
            handle.fail_member(member)
            self._assembly.record_events([handle])
            return Changed(_view(handle))

    def _record_opened(self, handle: PoolHandle, record: PoolRecord) -> None:
        present = opened_record(handle, record)
        self._catalog.update(lambda state: state.with_pool(present))
        self._pools.add(handle)

    def _is_the_same(
        self, name: str, level: str, strip_bytes: int, members: Sequence[MemberToMake]
    ) -> bool:
        record = self._catalog.state.pools.get(name)
        if record is None or not self._is_open(record):
            return False
        if record.members != tuple(path for path, _ in members):
            return False
        sized = [(path, size_bytes) for path, size_bytes in members if size_bytes is not None]
        if any(is_file(path) and not has_size(path, size_bytes) for path, size_bytes in sized):
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
        members=tuple(
            replace(views.member(one), name=handle.name_of(one)) for one in status.members
        ),
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
        # One that is being made, while this verb has the turn, is of an attempt that broke off.
        if other is not None and other.phase != "creating":
            raise Exists(
                f"a pool named {record.name!r} is there already",
                f"`scsi-snap pool show {record.name}` tells what it is",
            )
        for pool in state.pools.values():
            common = sorted(set(pool.paths) & set(record.paths))
            if common and pool is not other:
                raise Busy(
                    f"the member {common[0]!r} belongs to pool {pool.name!r}",
                    f"name another one; `scsi-snap pool show {pool.name}` tells what it is",
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
