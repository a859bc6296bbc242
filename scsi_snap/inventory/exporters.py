"""`Exporter` over every way to initiators: each target and portal has one, by its `via`.

What concerns a target goes to its own exporter, what concerns a volume to all of them. A target's
way is known from `set_target` on. No lock here: the caller's keeps verbs on targets in order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from uuid import UUID

from scsi_snap.errors import Closed, Exists
from scsi_snap.inventory.absent_exporter import AbsentExporter
from scsi_snap.inventory.exporter import Exporter, FindUnit, PortalView, SessionView, Unit
from scsi_snap.inventory.records import ChapRecord, PortalRecord, TargetRecord
from scsi_snap.inventory.target_records import LIO, PORTAL, Via
from scsi_snap.scsi.caretaker import Space
from scsi_snap.scsi.identity import Personality


class Exporters:
    """`lio` is absent where the kernel's target cannot be used."""

    def __init__(self, portal: Exporter, lio: Exporter | AbsentExporter) -> None:
        self._by_via: dict[Via, Exporter] = {PORTAL: portal, LIO: lio}
        self._obstacle = lio.reason if isinstance(lio, AbsentExporter) else None
        self._targets: dict[str, Via] = {}

    def default_via(self) -> Via:
        """Of a target for which none was named."""
        return PORTAL if self._obstacle is not None else LIO

    def obstacle(self, via: Via) -> str | None:
        """Why that way cannot be used, in a few words; None where it can."""
        return self._obstacle if via == LIO else None

    def take_over(self, find: FindUnit) -> None:
        for one in self._by_via.values():
            one.take_over(find)

    def close(self) -> None:
        for one in self._by_via.values():
            one.close()

    def check(self, record: TargetRecord) -> None:
        self._by_via[record.via].check(record)

    def set_target(self, record: TargetRecord) -> None:
        self._by_via[record.via].set_target(record)
        self._targets[record.name] = record.via

    def remove_target(self, name: str) -> None:
        via = self._targets.pop(name, None)
        if via is not None:
            self._by_via[via].remove_target(name)

    def set_discovery_chap(self, chap: ChapRecord | None) -> None:
        # The kernel may refuse; then nothing has changed.
        self._by_via[LIO].set_discovery_chap(chap)
        self._by_via[PORTAL].set_discovery_chap(chap)

    def map(
        self,
        target: str,
        lun: int,
        unit: Unit,
        initiators: tuple[str, ...] = (),
        read_only: bool = False,
    ) -> None:
        via = self._targets.get(target)
        if via is None:
            raise Closed(
                f"{target} could not be brought up when the daemon started",
                "`scsi-snap events` says why: start it again when that is put right",
            )
        self._by_via[via].map(target, lun, unit, initiators, read_only)

    def unmap(self, target: str, lun: int, initiators: tuple[str, ...] = ()) -> None:
        via = self._targets.get(target)
        if via is not None:
            self._by_via[via].unmap(target, lun, initiators)

    def capacity_changed(self, uuid: UUID) -> None:
        for one in self._by_via.values():
            one.capacity_changed(uuid)

    def personality_changed(self, uuid: UUID, personality: Personality) -> None:
        for one in self._by_via.values():
            one.personality_changed(uuid, personality)

    def backing_deleted(self, uuid: UUID) -> None:
        for one in self._by_via.values():
            one.backing_deleted(uuid)

    def in_use(self, uuid: UUID) -> str | None:
        found = (one.in_use(uuid) for one in self._by_via.values())
        return next((one for one in found if one is not None), None)

    def watch_space(self, spaces: Mapping[UUID, Space]) -> None:
        for one in self._by_via.values():
            one.watch_space(spaces)

    def sessions(self) -> list[SessionView]:
        return [
            replace(session, via=via)
            for via, one in self._by_via.items()
            for session in one.sessions()
        ]

    def close_session(self, session_id: int) -> bool:
        return any(one.close_session(session_id) for one in self._by_via.values())

    def addresses(self) -> list[str]:
        return [address for one in self._by_via.values() for address in one.addresses()]

    def addresses_via(self, via: Via) -> list[str]:
        """Where that one listens."""
        return self._by_via[via].addresses()

    def portals(self) -> list[PortalView]:
        return [
            replace(portal, via=via)
            for via, one in self._by_via.items()
            for portal in one.portals()
        ]

    def add_portal(self, record: PortalRecord) -> None:
        there = self._portal_at(record.address)
        if there is not None and there.via != record.via:
            raise Exists(
                f"there is a portal at {record.address} already, via {there.via}",
                "`scsi-snap portal list` shows what there is",
            )
        self._by_via[record.via].add_portal(record)

    def remove_portal(self, address: str) -> None:
        there = self._portal_at(address)
        if there is not None:
            self._by_via[there.via].remove_portal(address)

    def housekeep(self) -> list[PortalView]:
        return [
            replace(portal, via=via)
            for via, one in self._by_via.items()
            for portal in one.housekeep()
        ]

    def _portal_at(self, address: str) -> PortalView | None:
        return next((one for one in self.portals() if one.address == address), None)
