"""The kernel's target where it cannot be used: an `Exporter` that shows nothing to anybody.

What is on record for it waits for a daemon that can use it, and may be taken away. What is new is
refused before it comes here (`Exporters.obstacle`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

from scsi_snap.errors import Busy, Unsupported
from scsi_snap.inventory.exporter import FindUnit, PortalView, SessionView, Unit
from scsi_snap.inventory.records import ChapRecord, PortalRecord, TargetRecord
from scsi_snap.inventory.target_records import FIRST_GROUP
from scsi_snap.scsi.caretaker import Space
from scsi_snap.scsi.identity import Personality


class AbsentExporter:
    """`reason`: why it cannot be used, in a few words. `listen`: where it was asked to listen for
    this start, and `records` for every one: shown with the reason."""

    def __init__(
        self, reason: str, listen: Iterable[str] = (), records: Iterable[PortalRecord] = ()
    ) -> None:
        self.reason = reason
        kept = {record.address: record for record in records}
        self._portals = {
            address: PortalView(address, tag, on_record=address in kept, reason=reason)
            for address, tag in [
                *((address, FIRST_GROUP) for address in listen if address not in kept),
                *((record.address, record.tag) for record in kept.values()),
            ]
        }

    def portals(self) -> list[PortalView]:
        return [self._portals[address] for address in sorted(self._portals)]

    def add_portal(self, record: PortalRecord) -> None:
        raise Unsupported(f"the kernel's target cannot be used: {self.reason}")

    def remove_portal(self, address: str) -> None:
        if address in self._portals and not self._portals[address].on_record:
            raise Busy(
                f"the portal {address} is there by `daemon --lio-listen`",
                "start the daemon without it",
            )
        self._portals.pop(address, None)

    def take_over(self, find: FindUnit) -> None: ...
    def close(self) -> None: ...
    def check(self, record: TargetRecord) -> None: ...
    def set_target(self, record: TargetRecord) -> None: ...
    def remove_target(self, name: str) -> None: ...
    def set_discovery_chap(self, chap: ChapRecord | None) -> None: ...
    def map(
        self,
        target: str,
        lun: int,
        unit: Unit,
        initiators: tuple[str, ...] = (),
        read_only: bool = False,
    ) -> None: ...
    def unmap(self, target: str, lun: int, initiators: tuple[str, ...] = ()) -> None: ...
    def capacity_changed(self, uuid: UUID) -> None: ...
    def personality_changed(self, uuid: UUID, personality: Personality) -> None: ...
    def backing_deleted(self, uuid: UUID) -> None: ...
    def watch_space(self, spaces: Mapping[UUID, Space]) -> None: ...
    def in_use(self, uuid: UUID) -> str | None:
        return None

    def sessions(self) -> list[SessionView]:
        return []

    def close_session(self, session_id: int) -> bool:
        return False

    def addresses(self) -> list[str]:
        return []

    def housekeep(self) -> list[PortalView]:
        return []
