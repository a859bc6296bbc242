"""What one initiator sees of a target through one portal group: a view.

A view is a target port of the command set with its fast path, and the LUNs of one initiator in it.
It is made when the initiator logs in there and dropped when its last session has ended, so what is
idle costs nothing. Every view has its own map, which changes under running sessions; the logical
units themselves are shared (`units.Units`), so that the paths of a multipath host lead to one unit.

Locks: the owner's. Nothing here is called on a command's path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from scsi_snap.inventory.native import DataPath, NativeSession, NativeTarget
from scsi_snap.inventory.units import SharedUnit
from scsi_snap.scsi import lun_address
from scsi_snap.scsi.nexus import TargetPort
from scsi_snap.scsi.sense import Sense, SenseCode
from scsi_snap.scsi.target import Target


@dataclass(frozen=True)
class Place:
    """What is at a LUN."""

    shared: SharedUnit
    read_only: bool


class View:
    """One target port as one initiator sees it."""

    def __init__(
        self,
        data_path: DataPath,
        port: TargetPort,
        places: Mapping[int, Place],
        *,
        tells_resets: bool = False,
    ) -> None:
        self.port = port
        self.command_set = Target(port, tells_resets=tells_resets)
        self.native: NativeTarget = data_path.make_target(self.command_set)
        self.command_set.set_gate(self.native)
        self.sessions: dict[int, NativeSession] = {}
        self._places: dict[int, Place] = {}
        for lun, place in places.items():
            self._add(lun, place)

    def show(self, places: Mapping[int, Place]) -> None:
        """Makes `places` its map. Where that is a change, its sessions are told: by unit attention
        on every unit they knew, and by an Async Message. No other session is."""
        before = dict(self._places)
        for lun, place in before.items():
            if places.get(lun) != place:
                self._remove(lun)
        for lun, place in places.items():
            if before.get(lun) != place:
                self._add(lun, place)
        if before != self._places:
            self.report(SenseCode.REPORTED_LUNS_DATA_HAS_CHANGED, min(self._places, default=0))

    def luns_of(self, uuid: UUID) -> list[int]:
        """Where the unit is in this view."""
        return [lun for lun, place in self._places.items() if place.shared.unit.uuid == uuid]

    def report(self, condition: SenseCode, lun: int) -> None:
        """An Async Message to every session of the view (RFC 7143, 11.9.1, event 0)."""
        sense = Sense(condition).encode(descriptor_format=False)
        for session in self.sessions.values():
            session.report_event(lun_address.encode(lun), sense)

    def drop_ended(self) -> bool:
        """Forgets the sessions that have ended; whether any is left."""
        for number, session in list(self.sessions.items()):
            if session.closed():
                del self.sessions[number]
                # The transport says it too, perhaps only after the view has gone.
                self.command_set.nexus_lost(number)
        return bool(self.sessions)

    def close(self) -> None:
        """Takes its units down; sessions that are left see none."""
        for session in self.sessions.values():
            session.close()
        for lun in list(self._places):
            self._remove(lun)

    def withdraw(self) -> None:
        """The same where no session is left: initiators that come back find their units again, and
        are told of the nexus loss."""
        assert not self.sessions
        self.command_set.withdraw()
        for lun in self._places:
            self.native.unmap(lun_address.encode(lun))

    def _add(self, lun: int, place: Place) -> None:
        encoded, shared = lun_address.encode(lun), place.shared
        # The fast path declines to the command set until that one says otherwise.
        self.native.map(encoded, shared.unit.device, shared.number, place.read_only)
        self.command_set.add_unit(lun, shared.logical_unit, read_only=place.read_only)
        self._places[lun] = place

    def _remove(self, lun: int) -> None:
        del self._places[lun]
        self.command_set.remove_unit(lun)
        self.native.unmap(lun_address.encode(lun))


@dataclass
class Export:
    """One target: its ports, what is mapped to whom, and its views."""

    ports: dict[int, TargetPort] = field(default_factory=dict)
    everybody: dict[int, Place] = field(default_factory=dict)
    own: dict[str, dict[int, Place]] = field(default_factory=dict)
    """By initiator."""
    views: dict[tuple[int, str], View] = field(default_factory=dict)
    """By portal group tag and initiator."""

    def set_ports(self, ports: dict[int, TargetPort]) -> None:
        """By portal group tag. The views of a port that has gone, go."""
        self.ports = ports
        for key, view in list(self.views.items()):
            if ports.get(view.port.portal_group_tag) != view.port:
                view.close()
                del self.views[key]

    def places(self, initiator: str) -> dict[int, Place]:
        """What this initiator sees. No number is both everybody's and its own."""
        return {**self.everybody, **self.own.get(initiator, {})}

    def all_places(self) -> list[Place]:
        """Of every map."""
        maps = (self.everybody, *self.own.values())
        return [place for one in maps for place in one.values()]

    def show_changes(self) -> None:
        for (_, initiator), view in self.views.items():
            view.show(self.places(initiator))

    def drop_unused(self) -> None:
        for key, view in list(self.views.items()):
            if not view.drop_ended():
                view.withdraw()
                del self.views[key]
