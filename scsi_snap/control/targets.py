"""Verbs on targets, who may log in to them, and their LUNs.

The record is written first, then the exporter is told: what is acknowledged survives a crash, and
what initiators see never runs ahead of the record.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace

from scsi_snap import limits
from scsi_snap.control import views
from scsi_snap.control.outcomes import Changed, Created, Deleted, Unchanged
from scsi_snap.errors import Busy, Exists, InvalidArgument, LimitReached, NotFound
from scsi_snap.inventory import names
from scsi_snap.inventory.access import credentials_of
from scsi_snap.inventory.assembly import Assembly, Backings, backings_in
from scsi_snap.inventory.names import BackingName, SnapshotName
from scsi_snap.inventory.pools import PoolHandle
from scsi_snap.inventory.records import ChapRecord, LunRecord, State, TargetRecord
from scsi_snap.iscsi.errors import InvalidCredentials


class TargetVerbs:
    def __init__(self, assembly: Assembly) -> None:
        self._assembly = assembly
        self._catalog = assembly.catalog
        self._exporter = assembly.exporter
        self._lock = assembly.exports_lock

    def all(self) -> list[views.Target]:
        targets = [target for _, target in sorted(self._catalog.state.targets.items())]
        there, sessions = self._backings(), self._exporter.sessions()
        return [_view(target, there, sessions) for target in targets]

    def show(self, name: str) -> views.Target:
        return self._view(self._find(name))

    def create(self, name: str) -> Created[views.Target] | Unchanged[views.Target]:
        record = TargetRecord(names.iscsi_name(name), str(uuid.uuid4()))

        def change(state: State) -> State:
            if len(state.targets) >= limits.TARGETS_MAX:
                raise LimitReached(
                    f"a controller has at most {limits.TARGETS_MAX} targets",
                    "delete one, or map more LUNs to one that is there",
                )
            return state.with_target(record)

        with self._lock:
            if record.name in self._catalog.state.targets:
                return Unchanged(self.show(record.name))
            self._catalog.update(change)
            self._exporter.set_target(record)
        return Created(self._view(record))

    def delete(self, name: str, *, close_sessions: bool = False) -> Deleted:
        """Its LUN map goes with it; volumes and snapshots stay."""
        with self._lock:
            record = self._find(name)
            sessions = [one for one in self._exporter.sessions() if one.target == record.name]
            if sessions and not close_sessions:
                raise Busy(
                    f"{sessions[0].initiator} is logged in to {record.name}",
                    f"log out there, or `scsi-snap target delete --close-sessions {record.name}`",
                )
            self._catalog.update(lambda state: state.without_target(record.name))
            self._exporter.remove_target(record.name)
        return Deleted(record.name)

    def set_chap(
        self, name: str, chap: ChapRecord | None
    ) -> Changed[views.Target] | Unchanged[views.Target]:
        """Asked at the next login; sessions that run go on. None: no authentication."""
        if chap is not None:
            _check_chap(chap)
        return self._change(name, lambda record: replace(record, chap=chap))

    def allow(self, name: str, initiator: str) -> Changed[views.Target] | Unchanged[views.Target]:
        """From the first one on, only initiators that are listed may log in."""
        initiator = names.iscsi_name(initiator)

        def change(record: TargetRecord) -> TargetRecord:
            listed = {*record.initiators, initiator}
            if len(listed) > limits.INITIATORS_PER_TARGET_MAX:
                raise LimitReached(
                    f"a target lists at most {limits.INITIATORS_PER_TARGET_MAX} initiators",
                    f"`scsi-snap target deny {record.name} INITIATOR` takes one off",
                )
            return replace(record, initiators=tuple(sorted(listed)))

        return self._change(name, change)

    def deny(self, name: str, initiator: str) -> Changed[views.Target]:
        """Takes an initiator off the list and closes its sessions. The last one cannot be taken
        off: an empty list would let everybody in."""
        initiator = names.iscsi_name(initiator)

        def change(record: TargetRecord) -> TargetRecord:
            left = tuple(one for one in record.initiators if one != initiator)
            if len(left) == len(record.initiators):
                raise NotFound.named(
                    f"initiator listed by {record.name}",
                    initiator,
                    record.initiators,
                    f"scsi-snap target show {record.name}",
                )
            if not left:
                raise Busy(
                    f"{initiator} is the last initiator that {record.name} lists",
                    "with none listed any initiator may log in: `scsi-snap target allow"
                    f" {record.name} --any` says so, or allow another one first",
                )
            return replace(record, initiators=left)

        return Changed(self._change(name, change).view)

    def allow_any(self, name: str) -> Changed[views.Target] | Unchanged[views.Target]:
        return self._change(name, lambda record: replace(record, initiators=()))

    def luns(self, target: str | None = None) -> list[views.Lun]:
        found = [self._find(target)] if target else self._catalog.state.targets.values()
        targets = sorted(found, key=lambda one: one.name)
        there = self._backings()
        return [_lun_view(one, lun, there) for one in targets for lun in one.luns]

    def map(
        self, name: str, lun: int, backing: BackingName
    ) -> Created[views.Lun] | Unchanged[views.Lun]:
        """Shows a volume (read-write) or a snapshot (read-only) as a logical unit."""
        if not 0 <= lun <= limits.LUN_MAX:
            raise InvalidArgument(f"LUN {lun} cannot be used", f"0 to {limits.LUN_MAX}")
        with self._assembly.pools.locked([backing.pool]) as handles, self._lock:
            handle = handles[backing.pool]
            record = _lun_record(handle, lun, backing)
            target = self._find(name)
            there = target.lun(lun)
            if there is not None:
                if (there.volume_id, there.snapshot_id) == (record.volume_id, record.snapshot_id):
                    return Unchanged(_lun_view(target, there, self._backings()))
                raise Exists(
                    f"LUN {lun} of {target.name} is {there.backing}",
                    f"take another number, or `scsi-snap lun unmap {target.name} {lun}` first",
                )
            if len(target.luns) >= limits.LUNS_PER_TARGET_MAX:
                raise LimitReached(
                    f"a target has at most {limits.LUNS_PER_TARGET_MAX} LUNs",
                    "make another target for more",
                )
            unit = self._assembly.unit(handle, backings_in(handle), record)
            assert unit is not None, "the pool's lock is held since the backing was looked up"
            changed = target.with_lun(record)
            self._catalog.update(lambda state: state.with_target(changed))
            self._exporter.map(target.name, lun, unit)
            return Created(_lun_view(changed, record, self._backings()))

    def unmap(self, name: str, lun: int) -> Deleted:
        with self._lock:
            target = self._find(name)
            if target.lun(lun) is None:
                raise NotFound(
                    f"{target.name} has no LUN {lun}",
                    f"`scsi-snap lun list {target.name}` shows what there is",
                )
            changed = target.without_lun(lun)
            self._catalog.update(lambda state: state.with_target(changed))
            self._exporter.unmap(target.name, lun)
        return Deleted(f"{target.name} LUN {lun}")

    def sessions(self, target: str | None = None) -> list[views.Session]:
        name = self._find(target).name if target else None
        return [one for one in self._exporter.sessions() if name in (None, one.target)]

    def close_session(self, session_id: int) -> Deleted:
        if not self._exporter.close_session(session_id):
            raise NotFound(
                f"there is no session {session_id}", "`scsi-snap session list` shows what there is"
            )
        return Deleted(f"session {session_id}")

    def _change(
        self, name: str, change: Callable[[TargetRecord], TargetRecord]
    ) -> Changed[views.Target] | Unchanged[views.Target]:
        with self._lock:
            before = self._find(name)
            after = change(before)
            if after == before:
                return Unchanged(self._view(before))
            self._catalog.update(lambda state: state.with_target(after))
            self._exporter.set_target(after)
            for session in self._exporter.sessions():
                listed = not after.initiators or session.initiator in after.initiators
                if session.target == after.name and not listed:
                    self._exporter.close_session(session.id)
        return Changed(self._view(after))

    def _find(self, name: str) -> TargetRecord:
        targets = self._catalog.state.targets
        found = targets.get(name.lower())
        if found is None:
            raise NotFound.named("target", name, targets, "scsi-snap target list")
        return found

    def _view(self, record: TargetRecord) -> views.Target:
        return _view(record, self._backings(), self._exporter.sessions())

    def _backings(self) -> dict[str, Backings]:
        """Of every open pool, by its id."""
        return {handle.id: backings_in(handle) for handle in self._assembly.pools.opened()}


def _view(
    record: TargetRecord, there: dict[str, Backings], sessions: list[views.Session]
) -> views.Target:
    chap = record.chap
    return views.Target(
        name=record.name,
        portal_group_tag=record.portal_group_tag,
        chap_user=chap.user if chap else None,
        chap_mutual_user=(chap.mutual_user or None) if chap else None,
        initiators=record.initiators,
        luns=tuple(_lun_view(record, lun, there) for lun in record.luns),
        sessions=sum(one.target == record.name for one in sessions),
    )


def _lun_view(target: TargetRecord, lun: LunRecord, there: dict[str, Backings]) -> views.Lun:
    found = there.get(lun.pool_id, {}).get((lun.volume_id, lun.snapshot_id))
    if found is not None:
        read_only, state = found.personality.read_only, "mapped"
    else:
        read_only = bool(lun.snapshot_id)
        state = "missing" if lun.pool_id in there else "unavailable"
    return views.Lun(target.name, lun.lun, lun.backing, read_only, state)


def _lun_record(handle: PoolHandle, lun: int, backing: BackingName) -> LunRecord:
    volume = handle.volume(backing.volume)
    snapshot_id = ""
    if isinstance(backing, SnapshotName):
        snapshot_id = volume.snapshot_named(backing.pool, backing.snapshot).id
    return LunRecord(lun, str(backing), handle.id, volume.id, snapshot_id)


def _check_chap(chap: ChapRecord) -> None:
    try:
        credentials_of(chap)
    except InvalidCredentials as error:
        raise InvalidArgument(
            str(error), "`scsi-snap target chap --help` says what is asked"
        ) from error
