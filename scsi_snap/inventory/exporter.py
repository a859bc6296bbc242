"""What exports logical units to initiators, as the control plane needs it.

`portal_exporter` is the embedded iSCSI portal, `lio_exporter` the kernel's target, and `exporters`
both of them, each target by its `via`; tests have one in memory. Calls are cheap, come from any
thread, and never wait for an initiator. What is logged in stays so when LUNs change.

What is of a unit and not of a way to it (mode pages, unit attentions, thresholds, what is kept of
its reservations) the embedded portal's does for all, as the units are shared (`units`): the
kernel's does beside it what its devices need. Only what works with the kernel or with a socket
fails: then it raises `ScsiSnapError`, and nothing has changed for initiators.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from scsi_snap.inventory.names import BackingName
from scsi_snap.inventory.native import NativeDevice
from scsi_snap.inventory.records import ChapRecord, PortalRecord, TargetRecord, Via
from scsi_snap.inventory.target_records import PORTAL
from scsi_snap.scsi.caretaker import Caretaker, Nobody, Space
from scsi_snap.scsi.device import MediumEraser
from scsi_snap.scsi.identity import Personality


@dataclass(frozen=True)
class Unit:
    """A logical unit to be. `uuid` is that of its volume or snapshot, and all that initiators know
    it by derives from it or is kept in the pool: the same in every controller that imports the
    pool, after every restart; and a snapshot never appears as its origin (multipath would join the
    two)."""

    backing: str
    device: NativeDevice
    uuid: UUID
    personality: Personality
    caretaker: Caretaker = field(default_factory=Nobody)
    eraser: MediumEraser | None = None
    """For SANITIZE, which a snapshot does not have."""


@dataclass(frozen=True)
class SessionView:
    """A normal session in full-feature phase. `id` is of this daemon's life; `address` is the
    initiator's end, `portal` ours."""

    id: int
    target: str
    initiator: str
    address: str
    portal: str = ""
    portal_group_tag: int = 1
    counters: dict[str, int] = field(default_factory=dict)
    via: Via = PORTAL


@dataclass(frozen=True)
class PortalView:
    """`reason`: why it does not listen; empty where it does."""

    address: str
    portal_group_tag: int
    on_record: bool
    reason: str = ""
    via: Via = PORTAL


FindUnit = Callable[[BackingName, Callable[[Unit], None]], None]
"""Has something done with the unit of a volume or snapshot, which stays there meanwhile. Raises
`ScsiSnapError` where it is not there, such as because its pool is away."""


class Exporter(Protocol):
    def take_over(self, find: FindUnit) -> None:
        """Pools are open, and nothing is exported yet: goes on with what initiators have waited
        for since the last daemon ended."""

    def close(self) -> None:
        """No unit is reached through it any more when it returns; what waits for the next daemon,
        waits."""

    def check(self, record: TargetRecord) -> None:
        """Raises `InvalidArgument` or `Unsupported` where the target cannot be as `record` has it,
        LUNs and all: asked before it is written down."""

    def set_target(self, record: TargetRecord) -> None:
        """Adds the target, or changes who may log in and where; LUNs of the record are not looked
        at. Sessions that are no longer allowed are closed, the others go on."""

    def remove_target(self, name: str) -> None:
        """Closes its sessions and takes its units down."""

    def set_discovery_chap(self, chap: ChapRecord | None) -> None:
        """What the next discovery session must prove."""

    def map(
        self,
        target: str,
        lun: int,
        unit: Unit,
        initiators: tuple[str, ...] = (),
        read_only: bool = False,
    ) -> None:
        """Shows the unit to these initiators, or (none named) to every one. Sessions that see
        another list of LUNs now are told."""

    def unmap(self, target: str, lun: int, initiators: tuple[str, ...] = ()) -> None:
        """Takes that number away from these initiators, or (none named) from everybody."""

    def capacity_changed(self, uuid: UUID) -> None:
        """The device of this volume or snapshot has another size now; initiators are told."""

    def personality_changed(self, uuid: UUID, personality: Personality) -> None:
        """Wherever the unit of this volume or snapshot is mapped, it is so now, and initiators are
        told. Nothing where it is not mapped."""

    def backing_deleted(self, uuid: UUID) -> None:
        """This volume or snapshot, mapped nowhere, is deleted for good: nothing is kept of its
        reservations. Where that fails, what stays means nothing."""

    def in_use(self, uuid: UUID) -> str | None:
        """What shows this volume or snapshot beside the LUNs that were mapped by `map`, in words
        (a device that somebody made by targetcli); None where nothing does."""

    def watch_space(self, spaces: Mapping[UUID, Space]) -> None:
        """To be called now and then with what these volumes have: tells initiators that set a
        threshold, or left one set, when it is crossed."""

    def sessions(self) -> list[SessionView]: ...
    def close_session(self, session_id: int) -> bool:
        """False where there is no such session."""

    def addresses(self) -> list[str]:
        """Where it listens: `ADDRESS:PORT`."""

    def portals(self) -> list[PortalView]: ...
    def add_portal(self, record: PortalRecord) -> None:
        """Listens there. Raises `Exists`, or `IoFailed` where it cannot."""

    def remove_portal(self, address: str) -> None:
        """Logins under way there end; sessions go on. Raises `Busy` for one of `--listen`."""

    def housekeep(self) -> list[PortalView]:
        """To be called now and then: drops what no session uses. Portals that listen since."""
