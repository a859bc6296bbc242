"""`Exporter` by the embedded portal: targets of the command set, each with its native fast path.

One volume or snapshot is one logical unit, however many targets show it: its mode pages, unit
attentions and device are shared, as the standard has it.

Control verbs come from any thread and hold `_lock`, which nothing on a command's path takes. The
portal lives in the event loop; taking a session over from it is done in a thread.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from scsi_snap import limits
from scsi_snap.errors import Closed, InvalidArgument, IoFailed
from scsi_snap.inventory.access import AccessRules
from scsi_snap.inventory.exporter import SessionView, Unit
from scsi_snap.inventory.native import DataPath, NativeSession, NativeTarget
from scsi_snap.inventory.records import TargetRecord
from scsi_snap.iscsi.portal import Adoption, Portal
from scsi_snap.iscsi.sessions import SessionTable
from scsi_snap.scsi import lun_address
from scsi_snap.scsi.identity import Identity, Personality
from scsi_snap.scsi.logical_unit import LogicalUnit
from scsi_snap.scsi.nexus import InitiatorPort, TargetPort
from scsi_snap.scsi.target import Target

ANY_ADDRESS = "0.0.0.0"


@dataclass
class _Export:
    """One target: command set, fast path, and which unit is at which LUN."""

    command_set: Target
    native: NativeTarget
    units: dict[int, UUID] = field(default_factory=dict)


@dataclass(frozen=True)
class _Session:
    """An `AdoptedSession` of the portal's table."""

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

    def __init__(self, data_path: DataPath) -> None:
        self._data_path = data_path
        self._lock = threading.Lock()
        self._access = AccessRules()
        self._exports: dict[str, _Export] = {}
        self._shared: dict[UUID, tuple[LogicalUnit, Unit]] = {}
        self._sessions: dict[int, _Session] = {}
        self._numbers = itertools.count(1)
        self._portal: Portal | None = None
        self._ending = False

    def set_target(self, record: TargetRecord) -> None:
        with self._lock:
            if record.name not in self._exports:
                command_set = Target(TargetPort(record.name, record.portal_group_tag))
                native = self._data_path.make_target(command_set)
                command_set.set_gate(native)
                self._exports[record.name] = _Export(command_set, native)
            self._access.set(record)

    def remove_target(self, name: str) -> None:
        self._access.remove(name)
        with self._lock:
            export = self._exports.get(name)
            if export is None:
                return
            for session in self._open_sessions():
                if session.view.target == name:
                    session.native.close()
            for lun in list(export.units):
                self._take_down(export, lun)
            del self._exports[name]

    def map(self, target: str, lun: int, unit: Unit) -> None:
        with self._lock:
            export = self._exports[target]
            if lun in export.units:
                self._take_down(export, lun)
            if unit.uuid not in self._shared:
                logical_unit = LogicalUnit(unit.device, Personality(Identity(unit.uuid)))
                self._shared[unit.uuid] = (logical_unit, unit)
            logical_unit, shared = self._shared[unit.uuid]
            # The fast path declines to the command set until that one says otherwise.
            export.native.map(lun_address.encode(lun), shared.device)
            export.command_set.add_unit(lun, logical_unit)
            export.units[lun] = unit.uuid

    def unmap(self, target: str, lun: int) -> None:
        with self._lock:
            export = self._exports[target]
            if lun in export.units:
                self._take_down(export, lun)

    def capacity_changed(self, uuid: UUID) -> None:
        with self._lock:
            if uuid in self._shared:
                self._shared[uuid][0].capacity_changed()

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
        if self._portal is None:
            return []
        address = self._portal.address
        return [_spelled((address.host, address.port))]

    async def start(self, listen: str) -> None:
        """`listen`: ADDRESS:PORT; port 0 takes a free one."""
        host, port = parse_listen(listen)
        portal = Portal(
            host,
            port,
            directory=self._access,
            sessions=SessionTable(),
            adopt=self._adopt,
        )
        try:
            await portal.start()
        except OSError as error:
            raise IoFailed(
                f"cannot listen on {listen}: {error.strerror or error}",
                "choose another address by --listen ADDRESS:PORT",
            ) from error
        self._portal = portal

    async def stop_listening(self) -> None:
        if self._portal is not None:
            portal, self._portal = self._portal, None
            await portal.close()

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

    async def _adopt(self, adoption: Adoption) -> _Session:
        return await asyncio.to_thread(self._take_over, adoption)

    def _take_over(self, adoption: Adoption) -> _Session:
        """Runs to its end even where the portal is closed meanwhile; then it is refused here."""
        parameters = adoption.parameters
        peer = _spelled(adoption.connection.getpeername())
        portal_address = _spelled(adoption.connection.getsockname())
        with self._lock:
            if self._ending or parameters.target_name not in self._exports:
                raise Closed(f"target {parameters.target_name} has gone since the login began")
            export = self._exports[parameters.target_name]
            number = next(self._numbers)
            initiator = InitiatorPort(parameters.initiator_name, parameters.isid)
            export.command_set.nexus_begins(number, initiator)
            try:
                native = self._data_path.adopt(
                    export.native,
                    adoption.connection.detach(),
                    number,
                    parameters,
                    portal_address,
                    adoption.received,
                )
            except BaseException:
                export.command_set.nexus_lost(number)
                raise
            view = SessionView(
                id=number,
                target=parameters.target_name,
                initiator=parameters.initiator_name,
                address=peer,
            )
            session = _Session(view, native)
            self._open_sessions()
            self._sessions[number] = session
        return session

    def _open_sessions(self) -> list[_Session]:
        """Forgets those that have ended; `_lock` is held."""
        self._sessions = {k: v for k, v in self._sessions.items() if not v.closed()}
        return list(self._sessions.values())

    def _take_down(self, export: _Export, lun: int) -> None:
        """`_lock` is held. `export` is in `_exports`: two of its LUNs may share a unit."""
        uuid = export.units.pop(lun)
        export.command_set.remove_unit(lun)
        export.native.unmap(lun_address.encode(lun))
        if not any(uuid in other.units.values() for other in self._exports.values()):
            del self._shared[uuid]


def parse_listen(text: str) -> tuple[str, int]:
    """`127.0.0.1:3260`, `[::1]:3260` or `:3260` (every address)."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 0xFFFF:
        raise InvalidArgument(f"{text!r} is not an address", "write ADDRESS:PORT")
    return host or ANY_ADDRESS, int(port)


def _counted(session: _Session) -> SessionView:
    counters = json.loads(session.native.counters())
    view = session.view
    return SessionView(view.id, view.target, view.initiator, view.address, counters)


def _spelled(address: tuple[Any, ...]) -> str:
    """ADDRESS:PORT of a socket's address, IPv6 in brackets."""
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"{host}:{address[1]}"
