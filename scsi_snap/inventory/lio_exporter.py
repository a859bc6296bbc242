"""`Exporter` by the kernel's target (LIO): it speaks iSCSI, our rings carry its commands out.

What is wished is kept here by target; a change makes the kernel so (`lio.reconcile`). What the
kernel has that is so already is not touched, and what others have configured beside it is left
alone: their targets, their storage objects, their LUNs of other plugins in our targets. Before
`start`, wishes are only noted: then each target is looked at once, and after a restart of the
daemon nothing of it changes, so initiators do not notice. `close` leaves the kernel as it is for
the next daemon.

Where a pool is away, LUNs that the kernel has keep their place: commands wait until it is back.

A unit is shown by one storage object, and where LUNs are mapped read-only by a second one. It is
made with the first LUN and removed with the last one. One whose removal the kernel refuses, because
somebody exports it elsewhere too, stays, and is theirs (`in_use`).

Locks: `_lock`, inside a pool's and outside that of `Rings`.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from uuid import UUID

from scsi_snap.errors import Busy, Exists, InvalidArgument, IoFailed, ScsiSnapError, Unsupported
from scsi_snap.inventory import addresses, lio_names
from scsi_snap.inventory.exporter import FindUnit, PortalView, SessionView, Unit
from scsi_snap.inventory.lio_wishes import Shown, Wish, backstore, chap_of, kept, neighbours
from scsi_snap.inventory.notes import Note, Tell, unheard
from scsi_snap.inventory.records import ChapRecord, PortalRecord, TargetRecord
from scsi_snap.inventory.rings import Rings
from scsi_snap.inventory.target_records import FIRST_GROUP
from scsi_snap.lio.kernel_target import (
    KernelRefused,
    KernelSession,
    KernelTarget,
)
from scsi_snap.lio.reconcile import reconcile
from scsi_snap.scsi.caretaker import Space
from scsi_snap.scsi.identity import Personality


class LioExporter:
    """`take_over` first, then the wishes, then `start`; `close` before pools are closed.

    `connect`: makes what speaks to the kernel, or raises `KernelRefused`; first called by `start`,
    as it takes a while. `new_number`: of a session, one that no other session of this daemon's life
    has.
    """

    def __init__(
        self,
        connect: Callable[[], KernelTarget],
        rings: Rings,
        new_number: Callable[[], int],
        tell: Tell = unheard,
    ) -> None:
        self._connect = connect
        self._connected: KernelTarget | None = None
        self._rings = rings
        self._new_number = new_number
        self._lock = threading.RLock()
        self._started = False
        self._wishes: dict[str, Wish] = {}
        self._behind: set[str] = set()
        """Targets that the kernel does not have as wished."""
        self._discovery: ChapRecord | None = None
        self._portals: dict[str, PortalView] = {}
        self._sessions: dict[tuple[str, int, str, int], int] = {}
        self._tell = tell

    def take_over(self, find: FindUnit) -> None:
        self._rings.take_over(find)

    def start(self, listen: Iterable[str], records: Iterable[PortalRecord] = ()) -> None:
        """Makes the kernel as wished. `listen`: ADDRESS:PORT of portal group 1. What cannot be
        done is told, or shown with the portal, and tried again."""
        with self._lock:
            for record in records:
                self._portals[record.address] = _probed(
                    PortalView(record.address, record.tag, on_record=True), self._listens
                )
            for address in map(addresses.canonical, listen):
                if address not in self._portals:
                    view = PortalView(address, FIRST_GROUP, on_record=False)
                    self._portals[address] = _probed(view, self._listens)
            self._started = True
            there = self._backstores()
            self._wishes = {name: kept(wish, there) for name, wish in self._wishes.items()}
            for name in self._wishes:
                self._try(name)
            # Discovery is the whole kernel's: what others have set stays where we wish nothing.
            if self._discovery is not None:
                try:
                    self._tell_discovery()
                except IoFailed as error:
                    self._tell(Note("lio-refused", "", f"discovery: {error.message}"))

    def close(self) -> None:
        with self._lock:
            self._started = False
        self._rings.close()

    def check(self, record: TargetRecord) -> None:
        with self._lock, _translated(record.name):
            new = self._started and record.name not in self._wishes
            if new and self._kernel.groups(record.name):
                raise Exists(
                    f"the kernel has a target {record.name} that somebody else has made",
                    "choose another name, or delete that one by targetcli",
                )
        if not record.initiators and any(lun.initiators for lun in record.luns):
            raise Unsupported(
                f"the kernel's target shows every LUN of {record.name} to every initiator, as it"
                " lists none",
                f"`scsi-snap target allow {record.name} INITIATOR` lists who may log in",
            )
        for lun in record.luns:
            lio_names.storage_object(lun.backing, read_only=lun.read_only)
            lio_names.dev_config(lun.backing, read_only=lun.read_only)

    def set_target(self, record: TargetRecord) -> None:
        with self._lock:
            wish = self._wishes.get(record.name, Wish(record))
            self._change(record.name, wish.of(record))

    def remove_target(self, name: str) -> None:
        with self._lock:
            self._change(name, None)

    def set_discovery_chap(self, chap: ChapRecord | None) -> None:
        with self._lock:
            before, self._discovery = self._discovery, chap
            if self._started:
                try:
                    self._tell_discovery()
                except IoFailed:
                    self._discovery = before
                    raise

    def map(
        self,
        target: str,
        lun: int,
        unit: Unit,
        initiators: tuple[str, ...] = (),
        read_only: bool = False,
    ) -> None:
        name = lio_names.storage_object(unit.backing, read_only=read_only)
        with self._lock:
            shown = Shown(name, unit, read_only)
            self._change(target, self._wishes[target].with_lun(lun, shown, initiators))

    def unmap(self, target: str, lun: int, initiators: tuple[str, ...] = ()) -> None:
        with self._lock:
            self._change(target, self._wishes[target].without_lun(lun, initiators))

    def capacity_changed(self, uuid: UUID) -> None:
        self._rings.resized(uuid)

    def personality_changed(self, uuid: UUID, personality: Personality) -> None:
        """The units are shared, and the kernel asks them."""

    def backing_deleted(self, uuid: UUID) -> None:
        """The kernel's own reservations have gone with its storage object."""

    def watch_space(self, spaces: Mapping[UUID, Space]) -> None:
        """The units are shared."""

    def in_use(self, uuid: UUID) -> str | None:
        with self._lock:
            ours = self._storage_objects()
            beside = [one for one in self._rings.showing(uuid) if one.name not in ours]
        if not beside:
            return None
        return f"the kernel's storage object {beside[0].label}"

    def sessions(self) -> list[SessionView]:
        with self._lock:
            if not self._started:
                return []
            found = [one for name in self._wishes for one in self._sessions_of(name)]
            # The kernel has one entry for each listed initiator; several that are alike are one.
            keyed = {(one.target, one.tag, one.initiator, one.id): one for one in found}
            self._sessions = {
                key: self._sessions.get(key) or self._new_number() for key in sorted(keyed)
            }
            return [self._session(number, keyed[key]) for key, number in self._sessions.items()]

    def close_session(self, session_id: int) -> bool:
        with self._lock:
            if session_id not in self._sessions.values():
                return False
        raise Unsupported("the kernel's target cannot close one session")

    def addresses(self) -> list[str]:
        return [one.address for one in self.portals() if not one.reason]

    def portals(self) -> list[PortalView]:
        with self._lock:
            return [self._portals[address] for address in sorted(self._portals)]

    def add_portal(self, record: PortalRecord) -> None:
        with self._lock:
            if record.address in self._portals:
                raise Exists(
                    f"there is a portal at {record.address} already",
                    "`scsi-snap portal list` shows what there is",
                )
            view = _probed(PortalView(record.address, record.tag, on_record=True), self._listens)
            if view.reason:
                raise IoFailed(
                    f"cannot listen on {record.address}: {view.reason}",
                    "choose an address of this machine that nobody uses",
                )
            self._change_portals({**self._portals, record.address: view}, record.tag)

    def remove_portal(self, address: str) -> None:
        with self._lock:
            view = self._portals.get(address)
            if view is None:
                return
            if not view.on_record:
                raise Busy(
                    f"the portal {address} is there by `daemon --lio-listen`",
                    "start the daemon without it",
                )
            left = {key: one for key, one in self._portals.items() if key != address}
            self._change_portals(left, view.portal_group_tag)

    def housekeep(self) -> list[PortalView]:
        self._rings.retry()
        with self._lock:
            if not self._started:
                return []
            came = []
            for view in self.portals():
                probed = _probed(replace(view, reason=""), self._listens) if view.reason else view
                if probed != view and not probed.reason:
                    self._portals[view.address] = probed
                    came.append(probed)
                    self._behind |= self._in_group(probed.portal_group_tag)
            for name in sorted(self._behind):
                self._try(name)
            return came

    @property
    def _kernel(self) -> KernelTarget:
        """Raises `KernelRefused`."""
        if self._connected is None:
            self._connected = self._connect()
        return self._connected

    def _listens(self, address: str) -> bool:
        return self._kernel.listens(address)

    def _change(self, name: str, wish: Wish | None) -> None:
        """Makes the target so, or raises `IoFailed`, and it is as before."""
        before = self._wishes.get(name)
        self._put(name, wish)
        if not self._started:
            return
        try:
            self._make(name, before)
        except ScsiSnapError:
            self._put(name, before)
            self._try(name, wish)
            raise

    def _put(self, name: str, wish: Wish | None) -> None:
        if wish is None:
            self._wishes.pop(name, None)
        else:
            self._wishes[name] = wish

    def _change_portals(self, portals: dict[str, PortalView], tag: int) -> None:
        before, self._portals = self._portals, portals
        if not self._started:
            return
        try:
            for name in sorted(self._in_group(tag)):
                self._make(name)
        except ScsiSnapError:
            self._portals = before
            for name in sorted(self._in_group(tag)):
                self._try(name)
            raise

    def _in_group(self, tag: int) -> set[str]:
        return {name for name, wish in self._wishes.items() if tag in wish.record.tags}

    def _try(self, name: str, before: Wish | None = None) -> None:
        """What fails is told once, and tried again by `housekeep`."""
        try:
            self._make(name, before)
        except ScsiSnapError as error:
            if name not in self._behind:
                self._tell(Note("lio-refused", name, error.message))
            self._behind.add(name)

    def _make(self, name: str, before: Wish | None = None) -> None:
        """`before`: what the kernel may have of it now, and need not keep."""
        wish = self._wishes.get(name)
        with _translated(name):
            if wish is not None:
                self._make_backstores(wish)
            # Copies reach less before initiators see less, and more after they see more.
            self._rings.set_neighbours(self._neighbours_while(before, wish))
            reconcile(self._kernel, name, wish.groups(self.portals()) if wish else {})
            self._behind.discard(name)
            self._rings.set_neighbours(neighbours(self._wishes.values()))
            if before is not None:
                self._remove_backstores({one.storage_object for one in before.shown()})

    def _neighbours_while(self, *changing: Wish | None) -> dict[str, frozenset[str]]:
        """While a target changes from one wish to another."""
        return neighbours([*self._wishes.values(), *(one for one in changing if one is not None)])

    def _make_backstores(self, wish: Wish) -> None:
        there = self._kernel.backstores()
        for shown in {one.storage_object: one for one in wish.shown()}.values():
            unit = shown.unit
            if unit is None:
                continue
            made = shown.storage_object not in there
            if made:
                self._kernel.create_backstore(backstore(shown, unit))
            try:
                self._rings.serve(shown.storage_object, unit, read_only=shown.read_only)
            except ScsiSnapError:
                if made:
                    self._kernel.remove_backstore(shown.storage_object)
                raise

    def _remove_backstores(self, names: set[str]) -> None:
        """Those of them that no target of ours shows any more."""
        for name in sorted(names - self._storage_objects()):
            if self._kernel.remove_backstore(name):
                self._rings.forget(name)

    def _storage_objects(self) -> set[str]:
        return {one.storage_object for wish in self._wishes.values() for one in wish.shown()}

    def _backstores(self) -> frozenset[str]:
        try:
            return frozenset(self._kernel.backstores())
        except KernelRefused as error:
            self._tell(Note("lio-refused", "", str(error)))
            return frozenset()

    def _tell_discovery(self) -> None:
        with _translated("discovery"):
            self._kernel.set_discovery(chap_of(self._discovery))

    def _sessions_of(self, target: str) -> list[KernelSession]:
        try:
            return self._kernel.sessions(target)
        except KernelRefused:
            # It is being changed by somebody else just now.
            return []

    def _session(self, number: int, session: KernelSession) -> SessionView:
        portals = [one.address for one in self.portals() if one.portal_group_tag == session.tag]
        return SessionView(
            number,
            session.target,
            session.initiator,
            session.address,
            portals[0] if len(portals) == 1 else "",
            session.tag,
            dict(session.counters),
        )


def _probed(view: PortalView, listens: Callable[[str], bool]) -> PortalView:
    """With the reason why the kernel could not listen there. It does so only while there is a
    target in that group; what it has already is not tried."""
    try:
        if listens(view.address):
            return view
        host, port = addresses.parse_fixed(view.address)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen(1)
    except KernelRefused as error:
        return replace(view, reason=str(error))
    except InvalidArgument as error:
        return replace(view, reason=error.message)
    except OSError as error:
        return replace(view, reason=error.strerror or str(error))
    return view


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except KernelRefused as error:
        raise IoFailed(
            f"the kernel's target did not do it ({what}): {error}",
            "`targetcli ls` shows what it has; what was tried is taken back",
        ) from error
