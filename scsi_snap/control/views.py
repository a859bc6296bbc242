"""What faces render: plain frozen records. Sizes are in bytes, times in ms since 1970 (UTC).

No secret is ever in one of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scsi_snap.control.event_kinds import Severity
from scsi_snap.inventory.exporter import PortalView as ListedPortal
from scsi_snap.inventory.exporter import SessionView as Session
from scsi_snap.inventory.pool_views import MemberView

HealthState = Literal["well", "degraded", "failing"]

__all__ = [
    "CheckResult",
    "Daemon",
    "Diff",
    "Discovery",
    "Event",
    "Extent",
    "Finding",
    "Health",
    "HealthState",
    "Initiator",
    "ListedPortal",
    "Lun",
    "LunReference",
    "MapCell",
    "Member",
    "Pool",
    "Portal",
    "Session",
    "Snapshot",
    "SnapshotMap",
    "Target",
    "TargetPort",
    "Volume",
]


@dataclass(frozen=True)
class Member:
    """`role`: its place in the set, from 0. Since the pool was opened, `errors`: calls that it
    failed; `repairs`: ranges that held wrong data and were rewritten. `state`: in-sync, failed or
    missing; unknown, and without a role, while the pool is not available."""

    name: str
    id: str
    role: int | None
    state: str
    errors: int
    repairs: int = 0


def member(member: MemberView) -> Member:
    return Member(member.name, member.id, member.role, member.state, member.errors, member.repairs)


@dataclass(frozen=True)
class Pool:
    """`state`: optimal, degraded or failed as the stripe set says, or unavailable with `reason`."""

    name: str
    id: str
    state: str
    reason: str = ""
    level: str = ""
    strip_bytes: int = 0
    size_bytes: int = 0
    free_bytes: int = 0
    members: tuple[Member, ...] = ()


@dataclass(frozen=True)
class LunReference:
    """One LUN of one target."""

    target: str
    lun: int


@dataclass(frozen=True)
class Volume:
    """`name` is POOL/VOLUME. The store is where preserved chunks live. From `provisioning` on: what
    its logical unit says it is; `naa` in hexadecimal."""

    name: str
    id: str
    created_at_ms: int
    size_bytes: int
    block_bytes: int
    chunk_bytes: int
    policy: str
    store_used_bytes: int
    store_capacity_bytes: int
    store_limit_bytes: int | None
    snapshots: int
    mapped: tuple[LunReference, ...]
    provisioning: str
    deallocation: str
    physical_block_bytes: int
    read_only: bool
    removable: bool
    vendor: str
    product: str
    serial: str
    naa: str


@dataclass(frozen=True)
class Snapshot:
    """`name` is POOL/VOLUME@SNAPSHOT; the range is in blocks of the volume. `serial` and `naa` name
    its own logical unit."""

    name: str
    id: str
    created_at_ms: int
    state: str
    invalid_reason: str | None
    group: str | None
    block_bytes: int
    first_lba: int
    blocks: int
    whole_volume: bool
    mapped: tuple[LunReference, ...]
    serial: str
    naa: str


@dataclass(frozen=True)
class Extent:
    first_lba: int
    blocks: int
    bytes: int


@dataclass(frozen=True)
class Diff:
    """Changed extents, ascending. `next_lba`: where to ask on; None where this is all."""

    since: str
    until: str | None
    block_bytes: int
    extents: tuple[Extent, ...]
    next_lba: int | None


@dataclass(frozen=True)
class Extents:
    """What is allocated of a snapshot, ascending: all else of its range reads as zeros. `next_lba`:
    where to ask on; None where this is all."""

    name: str
    block_bytes: int
    extents: tuple[Extent, ...]
    next_lba: int | None


@dataclass(frozen=True)
class MapCell:
    """One cell of the picture: how much of it the snapshot covers, and has preserved."""

    covered_bytes: int
    preserved_bytes: int


@dataclass(frozen=True)
class SnapshotMap:
    """The volume from its first byte to its last in cells of equal size (the last may be short)."""

    name: str
    volume_bytes: int
    chunk_bytes: int
    cell_bytes: int
    covered_bytes: int
    preserved_bytes: int
    cells: tuple[MapCell, ...]


@dataclass(frozen=True)
class Lun:
    """`state`: mapped, unavailable (its pool is, or what its target is via), missing (its backing
    is) or invalid (its snapshot is: its reads fail). `initiators` empty: shown to everybody who
    may log in."""

    target: str
    lun: int
    backing: str
    read_only: bool
    state: str
    initiators: tuple[str, ...] = ()


@dataclass(frozen=True)
class TargetPort:
    """A target in one portal group; `portals` are the group's."""

    portal_group_tag: int
    relative_identifier: int
    portals: tuple[str, ...]


@dataclass(frozen=True)
class Initiator:
    """One that a target lists. No `chap_user` of its own: the target's secret is asked for."""

    name: str
    chap_user: str | None
    chap_mutual_user: str | None


@dataclass(frozen=True)
class Target:
    """`via`: portal (the embedded one) or lio (the kernel's target). `reason`: why nobody can log
    in, or empty. `initiators` empty: any may. `redirect`: where logins are sent on to."""

    name: str
    via: str
    reason: str
    ports: tuple[TargetPort, ...]
    chap_user: str | None
    chap_mutual_user: str | None
    initiators: tuple[Initiator, ...]
    redirect: str | None
    redirect_permanent: bool
    luns: tuple[Lun, ...]
    sessions: int


@dataclass(frozen=True)
class Portal:
    """An address at which initiators log in, `via` the embedded portal or the kernel's target; not
    `on_record`: there by `daemon --listen` or `--lio-listen`. `state`: listening, or unavailable
    for the `reason`. `warning`: what an operator may not want, such as that every host may log in;
    else empty."""

    address: str
    portal_group_tag: int
    via: str
    on_record: bool
    state: str
    reason: str
    warning: str = ""


@dataclass(frozen=True)
class Discovery:
    """What a discovery session must prove; no `chap_user`: nothing."""

    chap_user: str | None
    chap_mutual_user: str | None


@dataclass(frozen=True)
class CheckResult:
    """What the checks found in one volume, or in a pool's copies and parity; no problems is a clean
    bill. `volume` is POOL/VOLUME, or POOL where it is about the pool or that could not be looked
    into."""

    volume: str
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Event:
    """`number` counts up for ever, over restarts too; some may be missing. `kind` is one of
    `event_kinds`, `severity` info, warning or error. `subject` is what it is about, by the name
    that users type; empty: the controller itself. `count`: how often it was since the last one of
    the same kind and subject."""

    number: int
    at_ms: int
    severity: Severity
    kind: str
    subject: str
    message: str
    count: int = 1


@dataclass(frozen=True)
class Finding:
    """Something that is not well. `severity`: warning where it still does what it should, error
    where data or access is not there or is about to be lost. `subject` as an event's; `hint`: what
    to do."""

    severity: Severity
    subject: str
    message: str
    hint: str


@dataclass(frozen=True)
class Health:
    """`state`: well, degraded (warnings alone) or failing. Findings: the gravest first."""

    state: HealthState
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Daemon:
    """`addresses`: where the embedded portal listens; `lio_addresses`: where the kernel's target
    does for us. `lio_obstacle`: why that one cannot be used, or empty. `pool_states`: how many
    pools are optimal, degraded, failed or unavailable."""

    version: str
    addresses: tuple[str, ...]
    lio_addresses: tuple[str, ...]
    lio_obstacle: str
    driver: str
    threads: int
    state_directory: str
    pools: int
    unavailable_pools: int
    pool_states: dict[str, int]
    targets: int
    sessions: int
