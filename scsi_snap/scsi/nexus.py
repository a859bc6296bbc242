"""Where a command comes from: target port, I_T_L nexus, and the gate that the fast path looks
at.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from scsi_snap.scsi.request import NexusId


@dataclass(frozen=True, slots=True)
class TargetPort:
    """An iSCSI target port: the target's name and its portal group (RFC 7143, 4.4)."""

    target_name: str
    portal_group_tag: int = 1
    relative_identifier: int = field(default=1, compare=False)
    """RELATIVE TARGET PORT IDENTIFIER (SPC-4): a number, not the identity, of the port."""


@dataclass(frozen=True, slots=True)
class InitiatorPort:
    """An iSCSI initiator port: the initiator's name and the session's ISID (RFC 7143, 4.4.1.2)."""

    name: str
    isid: bytes
    """Six bytes."""


class Gate(Protocol):
    """Tells the fast path which commands it must decline.

    It declines a nexus while something is pending for that nexus or for every nexus; the two are
    kept apart, so taking the one back leaves the other. A unit that was just mapped there declines
    everything until, mapped here, it is said what holds for `None`. What changes the gate is called
    under the unit's lock, so it returns at once and does not call back.
    """

    def set_pending(self, lun: int, nexus: int | None, pending: bool) -> None:
        """`lun` is the eight-byte LUN as an integer; None means every nexus."""

    def decline_writes(self, lun: int, declined: bool) -> None:
        """Has it decline every WRITE there, or only what it must. A place begins without. Called
        as `set_pending` is.
        """

    def abort_tasks(self, lun: int, nexuses: Collection[int]) -> None:
        """Ends every task of these nexuses at the unit, without status, and returns when they have
        ended. Unlike the other it may wait, and is called without the unit's lock.
        """


class OpenGate:
    """The gate of a target that has no fast path."""

    def set_pending(self, lun: int, nexus: int | None, pending: bool) -> None:
        """Nobody to tell."""

    def decline_writes(self, lun: int, declined: bool) -> None:
        """Nobody to tell."""

    def abort_tasks(self, lun: int, nexuses: Collection[int]) -> None:
        """Its commands have ended when the next one begins."""


@dataclass(frozen=True, eq=False, slots=True)
class Mapping:
    """A logical unit's place in one target. Two places of the same unit are different I_T_L
    nexuses.
    """

    lun: int
    """The eight-byte LUN as an integer."""
    port: TargetPort
    gate: Gate
    read_only: bool = False
    """Write protected here, whatever the unit is elsewhere."""


class ItlNexus(NamedTuple):
    """An I_T_L nexus."""

    mapping: Mapping
    nexus: NexusId
    initiator: InitiatorPort
