"""`Exporter` by the embedded portals: targets of the command set, each with its native fast path.

The logical units are shared with every other way to initiators (`units`). What differs between
initiators is the map from LUN to unit, and that is a view's (`target_views`).

Control verbs come from any thread and hold `_lock`, which nothing on a command's path takes; inside
it are taken that of `Units` and then the units' own. Nothing waits for an initiator under it. The
portals live in the event loop; taking a session over from it is done in a thread.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from uuid import UUID

from scsi_snap import limits
from scsi_snap.errors import Closed
from scsi_snap.inventory.access import AccessRules
from scsi_snap.inventory.exporter import FindUnit, PortalView, SessionView, Unit
from scsi_snap.inventory.native import DataPath, NativeSession
from scsi_snap.inventory.notes import Note
from scsi_snap.inventory.portals import Portals
from scsi_snap.inventory.records import ChapRecord, PortalRecord, TargetRecord
from scsi_snap.inventory.target_views import Export, Place, View
from scsi_snap.inventory.units import Units
from scsi_snap.iscsi.chap import Challenges
from scsi_snap.iscsi.directory import PortalAddress, of_socket, spelled
from scsi_snap.iscsi.full_feature_text import NormalSessionText
from scsi_snap.iscsi.names import target_name_or_none
from scsi_snap.iscsi.portal import Adoption, Portal
from scsi_snap.iscsi.refusals import RefusedLogin
from scsi_snap.iscsi.sessions import SessionTable
from scsi_snap.scsi.caretaker import Space
from scsi_snap.scsi.identity import Personality
from scsi_snap.scsi.nexus import InitiatorPort, TargetPort
from scsi_snap.scsi.sense import SenseCode


@dataclass(frozen=True)
class _Session:
    """An `AdoptedSession` of the portals' table."""

    view: SessionView
    native: NativeSession

    def closed(self) -> bool:
        return self.native.closed()

    async def end(self) -> None:
        self.native.close()
        # Ends: commands end, and then the session.
        while not await asyncio.to_thread(self.native.wait_closed, 60.0):
            pass


class PortalExporter:
    """`start` listens; `stop_listening`, then `end_sessions`, before pools are closed."""

    def __init__(self, data_path: DataPath, units: Units) -> None:
        self._data_path = data_path
        self._units = units
        self._lock = threading.Lock()
        self._portals = Portals(self._make_portal)
        self._access = AccessRules(self._portals.addresses)
        self._table = SessionTable()
        self._challenges = Challenges()
        self._exports: dict[str, Export] = {}
        self._sessions: dict[int, _Session] = {}
        self._ending = False

    def take_over(self, find: FindUnit) -> None:
        """Initiators log in again."""

    def close(self) -> None:
        with self._lock:
            names = list(self._exports)
        for name in names:
            self.remove_target(name)

    def check(self, record: TargetRecord) -> None:
        """It does all that a record can ask."""

    def set_target(self, record: TargetRecord) -> None:
        self._access.set(record)
        ports = {
            port.tag: TargetPort(record.name, port.tag, port.relative_identifier)
            for port in record.ports
        }
        with self._lock:
            export = self._exports.setdefault(record.name, Export())
            export.set_ports(ports)
            self._units.set_ports(record.name, ports.values())
            for session in self._open_sessions():
                view = session.view
                allowed = view.portal_group_tag in ports and record.admits(view.initiator)
                if view.target == record.name and not allowed:
                    session.native.close()

    def remove_target(self, name: str) -> None:
        self._access.remove(name)
        with self._lock:
            export = self._exports.pop(name, None)
            if export is None:
                return
            for view in export.views.values():
                view.close()
            self._release(name, export.all_places())
            self._units.set_ports(name, ())

    def set_discovery_chap(self, chap: ChapRecord | None) -> None:
        self._access.set_discovery_chap(chap)

    def map(
        self,
        target: str,
        lun: int,
        unit: Unit,
        initiators: tuple[str, ...] = (),
        read_only: bool = False,
    ) -> None:
        with self._lock:
            export = self._exports[target]
            own = [export.own.setdefault(name, {}) for name in initiators]
            maps = own or [export.everybody]
            # What was there goes first: a unit that nothing else shows has a new device now.
            self._clear(target, lun, maps)
            shared = self._units.take(unit, target, len(maps))
            for places in maps:
                places[lun] = Place(shared, read_only)
            export.show_changes()

    def unmap(self, target: str, lun: int, initiators: tuple[str, ...] = ()) -> None:
        with self._lock:
            export = self._exports[target]
            own = [export.own.get(name, {}) for name in initiators]
            maps = own or [export.everybody, *export.own.values()]
            self._clear(target, lun, maps)
            export.own = {name: places for name, places in export.own.items() if places}

    def capacity_changed(self, uuid: UUID) -> None:
        with self._lock:
            shared = self._units.find(uuid)
            if shared is None:
                return
            shared.logical_unit.capacity_changed()
            for export in self._exports.values():
                for view in export.views.values():
                    for lun in view.luns_of(uuid):
                        view.report(SenseCode.CAPACITY_DATA_HAS_CHANGED, lun)

    def personality_changed(self, uuid: UUID, personality: Personality) -> None:
        shared = self._units.find(uuid)
        if shared is not None:
            shared.logical_unit.inquiry_changed(personality)

    def backing_deleted(self, uuid: UUID) -> None:
        self._units.forget(uuid)

    def in_use(self, uuid: UUID) -> str | None:
        return None

    def watch_space(self, spaces: Mapping[UUID, Space]) -> None:
        for uuid, space in spaces.items():
            shared = self._units.find(uuid)
            if shared is not None:
                shared.logical_unit.watch_space(space)

    def sessions(self) -> list[SessionView]:
        with self._lock:
            found = self._open_sessions()
        return [_counted(session) for session in found]

    def close_session(self, session_id: int) -> bool:
        with self._lock:
            found = [one for one in self._open_sessions() if one.view.id == session_id]
        for session in found:
            session.native.close()
        return bool(found)

    def addresses(self) -> list[str]:
        return [address.endpoint for address in self._portals.addresses()]

    def portals(self) -> list[PortalView]:
        return self._portals.views()

    def add_portal(self, record: PortalRecord) -> None:
        self._portals.add(record)

    def remove_portal(self, address: str) -> None:
        self._portals.remove(address)

    def housekeep(self) -> list[PortalView]:
        with self._lock:
            for export in self._exports.values():
                export.drop_unused()
        return self._portals.retry()

    async def start(self, listen: Iterable[str], records: Iterable[PortalRecord] = ()) -> None:
        """`listen`: ADDRESS:PORT of portal group 1, port 0 takes a free one; these must listen.
        `records` that cannot are listed with the reason."""
        await self._portals.start(listen, records)

    async def stop_listening(self) -> None:
        await self._portals.close()

    async def end_sessions(self, logout_wait_s: float = limits.LOGOUT_WAIT_S) -> None:
        """Asks initiators to log out, waits for them a while, then closes what is left."""
        with self._lock:
            self._ending = True
            sessions = self._open_sessions()
        for session in sessions:
            session.native.logout_request()
        waiting = [asyncio.to_thread(one.native.wait_closed, logout_wait_s) for one in sessions]
        await asyncio.gather(*waiting)
        await asyncio.gather(*(session.end() for session in sessions))

    def _make_portal(self, host: str, port: int, tag: int) -> Portal:
        return Portal(
            host,
            port,
            directory=self._access,
            sessions=self._table,
            adopt=self._adopt,
            refused=self._tell_refused,
            portal_group_tag=tag,
            challenges=self._challenges,
        )

    def _tell_refused(self, refused: RefusedLogin) -> None:
        """About the target that it was for, where there is one of that name: other names are no
        more than a peer's words."""
        name = target_name_or_none(refused.target or "")
        subject = name if name is not None and self._access.find(name) is not None else ""
        self._units.tell(Note("login-refused", subject, str(refused)))

    async def _adopt(self, adoption: Adoption) -> _Session:
        return await asyncio.to_thread(self._take_over, adoption)

    def _take_over(self, adoption: Adoption) -> _Session:
        """Runs to its end even where the portal is closed meanwhile. What may have changed since
        the login asked is looked at again: from now on a change finds the session."""
        parameters = adoption.parameters
        name, initiator = parameters.target_name, parameters.initiator_name
        tag = parameters.target_portal_group_tag
        peer = spelled(*of_socket(adoption.connection.getpeername()))
        portal = PortalAddress(*of_socket(adoption.connection.getsockname()), tag)
        text = NormalSessionText(parameters, directory=self._access, connected_to=portal)
        with self._lock:
            export = self._exports.get(name)
            allowed = self._access.may_log_in(initiator, name)
            if self._ending or export is None or tag not in export.ports or not allowed:
                raise Closed(f"{name} is not {initiator}'s any more since the login began")
            view = self._view(export, tag, initiator)
            number = self._units.new_nexus()
            view.command_set.nexus_begins(number, InitiatorPort(initiator, parameters.isid))
            try:
                native = self._data_path.adopt(
                    view.native,
                    adoption.connection.detach(),
                    number,
                    parameters,
                    text,
                    adoption.received,
                )
            except BaseException:
                view.command_set.nexus_lost(number)
                raise
            view.sessions[number] = native
            listed = SessionView(number, name, initiator, peer, portal.endpoint, tag)
            session = _Session(listed, native)
            self._sessions[number] = session
        return session

    def _view(self, export: Export, tag: int, initiator: str) -> View:
        """`_lock` is held."""
        view = export.views.get((tag, initiator))
        if view is None:
            export.drop_unused()
            view = View(self._data_path, export.ports[tag], export.places(initiator))
            export.views[tag, initiator] = view
        return view

    def _open_sessions(self) -> list[_Session]:
        """Forgets those that have ended; `_lock` is held."""
        self._sessions = {k: v for k, v in self._sessions.items() if not v.closed()}
        return list(self._sessions.values())

    def _clear(self, target: str, lun: int, maps: Iterable[dict[int, Place]]) -> None:
        """Shows nothing at that LUN of these maps of the target. `_lock` is held."""
        gone = [places.pop(lun) for places in maps if lun in places]
        if gone:
            self._exports[target].show_changes()
            self._release(target, gone)

    def _release(self, target: str, places: Iterable[Place]) -> None:
        """These LUNs are gone from the target's maps. `_lock` is held."""
        for place in places:
            self._units.release(place.shared, target)


def _counted(session: _Session) -> SessionView:
    return replace(session.view, counters=json.loads(session.native.counters()))
