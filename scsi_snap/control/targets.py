"""Verbs on targets: their ports, where logins are sent on to, and sessions.

Who may log in is in `target_access`, which LUNs they see in `target_luns`.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace

from scsi_snap import limits
from scsi_snap.control import views, ways
from scsi_snap.control.outcomes import Changed, Created, Deleted, Unchanged
from scsi_snap.control.portals import check_tag
from scsi_snap.control.target_access import AccessVerbs, TargetOutcome
from scsi_snap.control.target_luns import LunVerbs
from scsi_snap.errors import Busy, Exists, LimitReached, NotFound, ScsiSnapError
from scsi_snap.inventory import addresses, names
from scsi_snap.inventory.records import PortRecord, RedirectRecord, State, TargetRecord, Via
from scsi_snap.inventory.target_records import FIRST_GROUP


class TargetVerbs(AccessVerbs, LunVerbs):
    def all(self) -> list[views.Target]:
        return self._views([target for _, target in sorted(self._catalog.state.targets.items())])

    def show(self, name: str) -> views.Target:
        return self._view(self._find(name))

    def create(
        self, name: str, groups: Sequence[int] = (), via: Via | None = None
    ) -> Created[views.Target] | Unchanged[views.Target]:
        """In these portal groups, or in the first. `via` None: the kernel's target where it can be
        used, else the embedded portal."""
        tags = sorted(set(groups)) or [FIRST_GROUP]
        for tag in tags:
            check_tag(tag)
        if via is not None:
            ways.refuse_unusable(self._exporter, via)
        way = via or self._exporter.default_via()
        record = TargetRecord(names.target_name(name), str(uuid.uuid4()), ports=(), via=way)

        def change(state: State) -> State:
            if len(state.targets) >= limits.TARGETS_MAX:
                raise LimitReached(
                    f"a controller has at most {limits.TARGETS_MAX} targets",
                    "delete one, or map more LUNs to one that is there",
                )
            for tag in tags:
                state = _with_port(state, state.targets.get(record.name, record), tag)
            return state

        with self._lock:
            there = self._catalog.state.targets.get(record.name)
            if there is not None:
                if via not in (None, there.via):
                    raise Exists(
                        f"{there.name} is there already, via {there.via}",
                        "a target keeps its way: choose another name, or delete it first",
                    )
                if groups and there.tags != tuple(tags):
                    raise Exists(
                        f"{there.name} is there already, in portal group"
                        f" {', '.join(map(str, there.tags))}",
                        f"`scsi-snap target add-group {there.name} TAG` puts it in another one",
                    )
                return Unchanged(self.show(record.name))
            ways.check_name(way, record.name)
            self._exporter.check(change(self._catalog.state).targets[record.name])
            made = self._catalog.update(change).targets[record.name]
            try:
                self._exporter.set_target(made)
            except ScsiSnapError:
                self._catalog.update(lambda state: state.without_target(made.name))
                raise
        return Created(self._view(made))

    def delete(self, name: str, *, close_sessions: bool = False, dry_run: bool = False) -> Deleted:
        """Its LUN map goes with it; volumes and snapshots stay. `dry_run`: says what would go, and
        does nothing."""
        with self._lock:
            record = self._find(name)
            sessions = [one for one in self._exporter.sessions() if one.target == record.name]
            if sessions and not close_sessions:
                raise Busy(
                    f"{sessions[0].initiator} is logged in to {record.name}",
                    f"log out there, or `scsi-snap target delete --close-sessions {record.name}`",
                )
            goes = (
                *(f"LUN {lun.lun} ({lun.backing})" for lun in record.luns),
                *(f"the session of {one.initiator}" for one in sessions),
            )
            if dry_run:
                return Deleted(record.name, goes, planned=True)
            self._catalog.update(lambda state: state.without_target(record.name))
            self._tell(record, lambda: self._exporter.remove_target(record.name))
        return Deleted(record.name, goes)

    def add_group(self, name: str, tag: int) -> TargetOutcome:
        """Makes a target port: the target is reached through the group's portals as well."""
        check_tag(tag)
        with self._lock:
            record = self._find(name)
            if tag in record.tags:
                return Unchanged(self._view(record))
            changed = _with_port(self._catalog.state, record, tag).targets[record.name]
            self._exporter.check(changed)
            self._catalog.update(lambda state: state.with_target(changed))
            self._tell(record, lambda: self._exporter.set_target(changed))
        return Changed(self._view(changed))

    def remove_group(
        self, name: str, tag: int, *, close_sessions: bool = False
    ) -> Changed[views.Target]:
        """The portals stay; the target is not reached through them any more."""
        with self._lock:
            record = self._find(name)
            if tag not in record.tags:
                raise NotFound(
                    f"{record.name} is not in portal group {tag}",
                    f"`scsi-snap target show {record.name}` shows where it is",
                )
            if record.tags == (tag,):
                raise Busy(
                    f"{record.name} is in no other portal group than {tag}",
                    f"`scsi-snap target add-group {record.name} TAG` first, or delete the target",
                )
            using = [
                one
                for one in self._exporter.sessions()
                if (one.target, one.portal_group_tag) == (record.name, tag)
            ]
            if using and not close_sessions:
                raise Busy(
                    f"{using[0].initiator} is logged in to {record.name} by portal group {tag}",
                    "log out there, or"
                    f" `scsi-snap target remove-group --close-sessions {record.name} {tag}`",
                )
            left = tuple(port for port in record.ports if port.tag != tag)
            return Changed(self._change(name, lambda one: replace(one, ports=left)).view)

    def set_redirect(
        self, name: str, address: str | None, *, permanent: bool = False
    ) -> TargetOutcome:
        """Sends every login on to `address`, but those that come there; None: no longer. Sessions
        that run go on."""
        redirect = None
        if address is not None:
            ways.refuse_redirect(self._find(name))
            redirect = RedirectRecord(*addresses.parse_fixed(address), permanent)
        return self._change(name, lambda record: replace(record, redirect=redirect))

    def sessions(self, target: str | None = None) -> list[views.Session]:
        name = self._find(target).name if target else None
        return [one for one in self._exporter.sessions() if name in (None, one.target)]

    def close_session(self, session_id: int) -> Deleted:
        found = next((one for one in self._exporter.sessions() if one.id == session_id), None)
        if found is not None:
            ways.refuse_close(found)
        if not self._exporter.close_session(session_id):
            raise NotFound(
                f"there is no session {session_id}", "`scsi-snap session list` shows what there is"
            )
        return Deleted(f"session {session_id}")


def _with_port(state: State, record: TargetRecord, tag: int) -> State:
    """Raises `LimitReached`."""
    if len(record.ports) >= limits.GROUPS_PER_TARGET_MAX:
        raise LimitReached(
            f"a target is in at most {limits.GROUPS_PER_TARGET_MAX} portal groups",
            "put more portals into a group that it is in",
        )
    port = PortRecord(tag, state.free_port_identifier())
    ports = tuple(sorted((*record.ports, port), key=lambda one: one.tag))
    return state.with_target(replace(record, ports=ports))
