"""What exports logical units to initiators, as the control plane needs it.

`portal_exporter` is the embedded iSCSI portal; tests have one in memory. Calls are cheap, come
from any thread, and never wait for an initiator. What is logged in stays so when LUNs change.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from scsi_snap.inventory.native import NativeDevice
from scsi_snap.inventory.records import TargetRecord


@dataclass(frozen=True)
class Unit:
    """A logical unit to be. `uuid` is that of its volume or snapshot, and all that initiators know
    it by derives from it: the same in every controller that imports the pool, after every restart;
    and a snapshot never appears as its origin (multipath would join the two)."""

    backing: str
    device: NativeDevice
    uuid: UUID


@dataclass(frozen=True)
class SessionView:
    """A normal session in full-feature phase. `id` is of this daemon's life."""

    id: int
    target: str
    initiator: str
    address: str
    counters: dict[str, int] = field(default_factory=dict)


class Exporter(Protocol):
    def set_target(self, record: TargetRecord) -> None:
        """Adds the target, or changes who may log in; LUNs of the record are not looked at."""

    def remove_target(self, name: str) -> None:
        """Closes its sessions and takes its units down."""

    def map(self, target: str, lun: int, unit: Unit) -> None: ...
    def unmap(self, target: str, lun: int) -> None: ...
    def capacity_changed(self, uuid: UUID) -> None:
        """The unit has another size: every initiator that sees it is told. None need see it."""

    def sessions(self) -> list[SessionView]: ...
    def close_session(self, session_id: int) -> bool:
        """False where there is no such session."""

    def addresses(self) -> list[str]:
        """Where it listens: `ADDRESS:PORT`."""
