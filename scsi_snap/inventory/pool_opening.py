"""From members to an open pool: what may be opened, and why the rest may not.

A pool is its UUID: one that is open is not opened a second time from copies of its members. Members
that are all older than the controller's record are not taken for the pool as it was: their labels
alone cannot tell that the pool has gone on without them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeGuard

from scsi_snap.errors import Exists, PoolUnavailable, ScsiSnapError
from scsi_snap.inventory.native import DataPath, MemberMark, NativePool, translated
from scsi_snap.inventory.notes import Note
from scsi_snap.inventory.pools import PoolHandle, Pools
from scsi_snap.inventory.records import PoolRecord

Marks = Mapping[str, MemberMark | ScsiSnapError]
"""By path: what each member says it is, or why that cannot be read."""


class PoolOpener:
    """With `force` a pool may be older than its record says; the members that it is opened without
    are forgotten then, since they may have gone on by themselves."""

    def __init__(self, data_path: DataPath, pools: Pools) -> None:
        self._data_path = data_path
        self._pools = pools

    def marks(self, paths: Sequence[str]) -> Marks:
        found: dict[str, MemberMark | ScsiSnapError] = {}
        for path in paths:
            try:
                with translated(self._data_path):
                    found[path] = self._data_path.mark(path)
            except ScsiSnapError as error:
                found[path] = error
        return found

    def named(self, paths: Sequence[str], record: PoolRecord, force: bool = False) -> PoolHandle:
        """What a user imports: every member must fit. `record` is the pool's, or an empty one."""
        try:
            with translated(self._data_path):
                native = self._data_path.open_pool(list(paths), 0 if force else record.event)
        except PoolUnavailable as error:
            raise outdated(record, self.marks(paths)) or error from error
        return self._handle(native, () if force else record.members)

    def recorded(self, record: PoolRecord, force: bool = False) -> tuple[PoolHandle, list[Note]]:
        """As far as its level allows: members that do not fit are left out, and noted."""
        least = 0 if force else record.event
        try:
            with translated(self._data_path):
                native, refused = self._data_path.open_available(list(record.paths), least)
        except PoolUnavailable as error:
            raise outdated(record, self.marks(record.paths)) or error from error
        notes = [Note("member-refused", record.name, reason) for reason in refused]
        return self._handle(native, () if force else record.members), notes

    def refuse_open_twice(self, marks: Marks) -> None:
        """Raises `Exists` where any of these members is one of an open pool's."""
        for handle in self._pools.opened():
            copies = [
                path for path, one in marks.items() if is_member(one) and one.pool == handle.id
            ]
            if copies:
                raise _open_already(handle, copies)

    def _handle(self, native: NativePool, known_paths: tuple[str, ...]) -> PoolHandle:
        handle = PoolHandle(self._data_path, native, known_paths)
        other = self._pools.by_id(handle.id)
        if other is not None:
            handle.close()
            raise _open_already(other, present_paths(handle))
        return handle


def opened_record(handle: PoolHandle, record: PoolRecord) -> PoolRecord:
    """`record` as it is when the pool is open."""
    return replace(
        record,
        name=handle.name,
        id=handle.id,
        phase="present",
        members=handle.member_paths(),
        event=handle.status().event,
    )


def is_member(mark: MemberMark | ScsiSnapError) -> TypeGuard[MemberMark]:
    return not isinstance(mark, ScsiSnapError) and mark.kind == "member"


def present_paths(handle: PoolHandle) -> list[str]:
    return [one.name for one in handle.status().members if one.state != "missing"]


def outdated(record: PoolRecord, marks: Marks) -> PoolUnavailable | None:
    """Why these members are not the pool as it was last known, and which to bring; None where they
    are as new as it was."""
    events = {path: one.event for path, one in marks.items() if is_member(one)}
    newest = max(events.values(), default=None)
    if newest is None or newest >= record.event:
        return None
    older = " and ".join(f"{path} (event count {event})" for path, event in events.items())
    away = [path for path in record.paths if path not in events]
    bring = " and ".join(away) or "the members that it was used with"
    return PoolUnavailable(
        f"pool {record.name} went on to event count {record.event} without {older}: what was"
        f" written since is missing there; bring back {bring}",
        f"then `scsi-snap pool import --name {record.name}`; with `--force` the older state is"
        " taken, and what was written since is lost",
    )


def _open_already(handle: PoolHandle, copies: Sequence[str]) -> Exists:
    return Exists(
        f"{' and '.join(copies)}: a copy of pool {handle.name} ({handle.id}),"
        f" which is open with {' and '.join(present_paths(handle))}",
        f"a pool is open once: `scsi-snap pool export {handle.name}` first, or import its copies"
        " on another machine",
    )
