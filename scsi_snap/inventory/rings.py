"""The rings of the kernel's target that we serve: one for each TCMU device that shows one of our
volumes or snapshots, whoever made the device.

What is in /sys/class/uio is the truth; events of the kernel only say when to look. A ring is a view
of its own (`target_views`) with the unit at LUN 0, and one I_T nexus, as the kernel does not tell
the initiators behind it apart. Its unit is the one that every other way to initiators shows.

A device whose volume or snapshot is not there, as its pool is away, is not served: its commands
wait, the operator is told once, and it is tried again now and then. So is one that could not be
served for any other reason.

Locks: a pool's is taken before the one here, and the units' inside it. Commands take none of them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from uuid import UUID

from scsi_snap.errors import IoFailed, ScsiSnapError
from scsi_snap.inventory import lio_names
from scsi_snap.inventory.exporter import FindUnit, Unit
from scsi_snap.inventory.native import DataPath, NativeRing, translated
from scsi_snap.inventory.notes import Note
from scsi_snap.inventory.target_views import Place, View
from scsi_snap.inventory.units import SharedUnit, Units
from scsi_snap.lio.tcmu_events import Event
from scsi_snap.lio.uio import TcmuDevice, UioTree
from scsi_snap.scsi import lun_address
from scsi_snap.scsi.nexus import InitiatorPort, TargetPort

_LUN = 0
_INITIATOR = InitiatorPort("kernel target", bytes(6))
_PORT_IDENTIFIER = 0xFFFF
_RESTARTING = "a ring that is begun again"
"""Beyond those of target ports on record. LIO has numbers of its own, which it does not tell."""


class Listening(Protocol):
    def start(self) -> None: ...
    def close(self) -> None: ...


Listen = Callable[[Callable[[Event], None], Callable[[], None], Callable[[Event], bool]], Listening]
"""Of what to do with an event, with lost ones, and whether one is to be answered. Events are kept
from now on and told from `start` on."""


@dataclass(frozen=True)
class _Ring:
    device: TcmuDevice
    shared: SharedUnit
    read_only: bool
    view: View
    nexus: int
    native: NativeRing

    def serves(self, device: TcmuDevice, unit: Unit) -> bool:
        same = (self.device, self.shared.unit.uuid) == (device, unit.uuid)
        return same and not self.native.closed()


class Rings:
    """`take_over` first, before anything else may reach the units; `close` before pools are
    closed. `records`: the directory for what must not be carried out twice, of which operation
    codes are `once`."""

    def __init__(
        self,
        data_path: DataPath,
        units: Units,
        tree: UioTree,
        listen: Listen,
        records: Path,
        once: dict[int, bool],
    ) -> None:
        self._data_path = data_path
        self._units = units
        self._tree = tree
        self._listen = listen
        self._records = records
        self._once = once
        self._lock = threading.RLock()
        self._find: FindUnit | None = None
        self._listening: Listening | None = None
        self._rings: dict[str, _Ring] = {}
        self._neighbours: Mapping[str, frozenset[str]] = {}
        self._waiting: dict[str, str] = {}
        """By uio name, why a device is not served."""

    def take_over(self, find: FindUnit) -> None:
        """Serves every device that is there, and from now on those that come. What the last daemon
        left in a ring is carried out; initiators do not notice."""
        self._find = find
        self._tree.free_netlink()
        self._records.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._listening = self._listen(self.event, self.rescan, self.expects_answer)
        except OSError as error:
            told = f"the kernel tells nothing of its devices ({error}): they are looked for instead"
            self._units.tell(Note("lio-events", "", told))
        self._scan(quietly=True)
        self._forget_others_records()
        if self._listening is not None:
            self._listening.start()

    def close(self) -> None:
        """Answers what runs; what comes then waits in the rings for the next daemon."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        with self._lock:
            self._find = None
            rings = list(self._rings.values())
        for ring in rings:
            self._drop(ring)

    def serve(self, name: str, unit: Unit, *, read_only: bool) -> None:
        """The device of that storage object, which was made for this unit, if that is not done
        already. Raises `ScsiSnapError`."""
        with self._lock:
            for ring in self._rings.values():
                if ring.device.name == name and ring.serves(ring.device, unit):
                    return
        device = self._tree.named(name)
        if device is None:
            raise IoFailed(f"the kernel shows no device for its storage object user/{name}")
        self._serve(device, unit, read_only=read_only)

    def forget(self, name: str) -> None:
        """The storage object has been removed."""
        with self._lock:
            found = [one for one in self._rings.values() if one.device.name == name]
        for ring in found:
            self._end(ring)

    def resized(self, uuid: UUID) -> None:
        """The unit has another size: tools are shown it."""
        with self._lock:
            for ring in self._rings.values():
                if ring.shared.unit.uuid == uuid:
                    ring.device.set_size(ring.shared.unit.device.size_bytes)

    def set_neighbours(self, neighbours: Mapping[str, frozenset[str]]) -> None:
        """By storage object, the others that everybody sees who sees it: EXTENDED COPY reaches
        these, and no others. Asked for again when rings have come."""
        with self._lock:
            self._neighbours = neighbours
            self._tell_neighbours()

    def _tell_neighbours(self) -> None:
        """The lock is held."""
        by_name = {ring.device.name: ring for ring in self._rings.values()}
        for name, ring in by_name.items():
            seen = sorted(self._neighbours.get(name, frozenset()) & by_name.keys())
            ring.view.command_set.set_neighbours(
                place
                for each in seen
                for place in by_name[each].view.command_set.reached(by_name[each].nexus)
            )

    def showing(self, uuid: UUID) -> list[TcmuDevice]:
        """The devices that show this unit."""
        with self._lock:
            found = self._rings.values()
            return [ring.device for ring in found if ring.shared.unit.uuid == uuid]

    def retry(self) -> None:
        """To be called now and then."""
        with self._lock:
            broken = [ring for ring in self._rings.values() if ring.native.closed()]
        for ring in broken:
            self._restart(ring)
        self.rescan()

    def event(self, event: Event) -> None:
        if event.kind == "removed":
            with self._lock:
                self._waiting.pop(event.uio, None)
                ring = self._rings.get(event.uio)
            # It is told before the device goes out of /sys.
            if ring is not None and ring.device.full_name == event.name:
                self._end(ring)
        elif event.kind == "added":
            device = self._tree.device(event.uio)
            if device is not None:
                self._found(device, quietly=False)
        else:
            with self._lock:
                ring = self._rings.get(event.uio)
                if ring is not None:
                    ring.device.set_size(ring.shared.unit.device.size_bytes)

    def rescan(self) -> None:
        self._scan(quietly=False)

    def expects_answer(self, event: Event) -> bool:
        """Asked before the event is acted on. A device that is served is known, wherever the kernel
        is with it."""
        with self._lock:
            ring = self._rings.get(event.uio)
        device = ring.device if ring is not None else self._tree.device(event.uio)
        return device is not None and device.expects_answers()

    def _scan(self, *, quietly: bool) -> None:
        devices = self._tree.devices()
        with self._lock:
            there = {device.uio for device in devices}
            self._waiting = {uio: why for uio, why in self._waiting.items() if uio in there}
            rings = list(self._rings.values())
        for ring in rings:
            if self._gone(ring):
                self._end(ring)
        with self._lock:
            served = set(self._rings)
        for device in (one for one in devices if one.uio not in served):
            self._found(device, quietly=quietly)

    def _forget_others_records(self) -> None:
        """Of devices that have gone while nobody looked."""
        kept = {self._record_file(device) for device in self._tree.devices()}
        for file in set(self._records.iterdir()) - kept:
            file.unlink()

    def _gone(self, ring: _Ring) -> bool:
        """Its device, or another one has its name."""
        return self._tree.device(ring.device.uio) != ring.device

    def _found(self, device: TcmuDevice, *, quietly: bool) -> None:
        """Serves it where that can be; no lock is held."""
        find = self._find
        if find is None:
            return
        device.prepare()
        try:
            backing, read_only = lio_names.backing_of(device.config)
            find(
                backing,
                lambda unit: self._serve(device, unit, read_only=read_only, quietly=quietly),
            )
        except ScsiSnapError as error:
            if self._tree.device(device.uio) != device:
                # It has gone meanwhile.
                return
            with self._lock:
                if self._waiting.get(device.uio) != error.message:
                    self._waiting[device.uio] = error.message
                    self._trouble(
                        "ring-not-served",
                        device,
                        f"its commands wait, as {error.message}; it is tried again",
                    )

    def _serve(
        self, device: TcmuDevice, unit: Unit, *, read_only: bool, quietly: bool = False
    ) -> None:
        """The unit's pool is locked, so the unit stays."""
        with self._lock:
            there = self._rings.get(device.uio)
        if there is not None and not there.serves(device, unit):
            self._drop(there)
        with self._lock:
            if device.uio in self._rings:
                return
            self._rings[device.uio] = self._begin(device, unit, read_only, quietly)
            self._tell_neighbours()
            if self._waiting.pop(device.uio, None) is not None:
                self._trouble("ring-served", device, "its commands are carried out now")

    def _begin(self, device: TcmuDevice, unit: Unit, read_only: bool, quietly: bool) -> _Ring:
        shared = self._units.take(unit, device.uio)
        try:
            name = f"naa.{unit.personality.identity.naa.hex()}"
            port = TargetPort(name, relative_identifier=_PORT_IDENTIFIER)
            places = {_LUN: Place(shared, read_only)}
            view = View(self._data_path, port, places, tells_resets=True)
            nexus = self._units.new_nexus()
            view.command_set.nexus_begins(nexus, _INITIATOR, quietly=quietly)
            try:
                native = self._attach(device, view, nexus)
            except BaseException:
                view.command_set.nexus_lost(nexus)
                view.close()
                raise
        except BaseException:
            self._units.release(shared, device.uio)
            raise
        device.unblock()
        device.set_size(unit.device.size_bytes)
        return _Ring(device, shared, read_only, view, nexus, native)

    def _attach(self, device: TcmuDevice, view: View, nexus: int) -> NativeRing:
        if device.gives_up_after_s():
            # The ring may hold writes that their initiators have been told failed, and that must
            # not be carried out over newer data: all are sent again instead.
            device.block()
            device.reset_ring()
            self._trouble(
                "ring-gives-up",
                device,
                f"the kernel ends its commands after {device.gives_up_after_s()} s, so a restart"
                " of the daemon is not unnoticed: set its cmd_time_out to 0 before it is exported",
            )
        try:
            descriptor = os.open(device.node, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise IoFailed(f"{device.node} cannot be opened: {error.strerror}") from error
        try:
            with translated(self._data_path):
                return self._data_path.attach_ring(
                    view.native,
                    nexus,
                    lun_address.encode(_LUN),
                    descriptor,
                    device.region_bytes,
                    descriptor,
                    str(self._record_file(device)),
                    self._once,
                )
        finally:
            os.close(descriptor)

    def _restart(self, ring: _Ring) -> None:
        """It has ended by itself. Where its device is still there, what it held is sent again."""
        with self._lock:
            if self._rings.get(ring.device.uio) is not ring:
                return
            # Its initiators are told of nothing, so the unit stays what it is meanwhile.
            kept = self._units.take(ring.shared.unit, _RESTARTING)
        try:
            self._begin_again(ring)
        finally:
            self._units.release(kept, _RESTARTING)

    def _begin_again(self, ring: _Ring) -> None:
        reason, device = ring.native.end_reason() or "it ended", ring.device
        if not self._drop(ring) or self._gone(ring):
            return
        device.block()
        device.reset_ring()
        self._trouble("ring-restarted", device, f"{reason}; its commands are sent again")
        self._found(device, quietly=True)

    def _end(self, ring: _Ring) -> None:
        """Its device is no more."""
        if self._drop(ring):
            self._record_file(ring.device).unlink(missing_ok=True)

    def _drop(self, ring: _Ring) -> bool:
        """Whether it was still there. The lock is not held while its commands end: they may wait
        for a pool's, whose holder may wait for the one here."""
        with self._lock:
            if self._rings.get(ring.device.uio) is not ring:
                return False
            del self._rings[ring.device.uio]
            self._tell_neighbours()
        ring.native.stop()
        ring.view.command_set.nexus_lost(ring.nexus)
        ring.view.close()
        self._units.release(ring.shared, ring.device.uio)
        return True

    def _record_file(self, device: TcmuDevice) -> Path:
        return self._records / f"{device.hba}-{device.name}"

    def _trouble(self, kind: str, device: TcmuDevice, message: str) -> None:
        self._units.tell(Note(kind, device.label, f"device {device.uio}: {message}"))
