"""What is not well, and what to do: a function of what there is to see, and of nothing else.

*degraded*: initiators are served, and something is short of what it should be. *failing*: data or
access that should be there is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from scsi_snap.control.views import (
    Finding,
    Health,
    HealthState,
    Lun,
    Member,
    Pool,
    Portal,
    Snapshot,
    Target,
    Volume,
)

STORE_NEARLY_FULL_PERCENT = 90


@dataclass(frozen=True)
class Seen:
    """`displaced`: by path, what is wrong with where a member's path leads. `lio_obstacle`: why
    the kernel's target cannot be used, or empty. `events_problem`: why events are not durable."""

    pools: Sequence[Pool] = ()
    volumes: Sequence[Volume] = ()
    snapshots: Sequence[Snapshot] = ()
    targets: Sequence[Target] = ()
    portals: Sequence[Portal] = ()
    displaced: Mapping[str, str] = field(default_factory=dict)
    lio_obstacle: str = ""
    events_problem: str = ""


def health(seen: Seen) -> Health:
    """The gravest first."""
    found = [*_findings(seen)]
    errors = [one for one in found if one.severity == "error"]
    state: HealthState = "failing" if errors else "degraded" if found else "well"
    return Health(state, (*errors, *(one for one in found if one.severity != "error")))


def _findings(seen: Seen) -> Iterator[Finding]:
    for pool in seen.pools:
        yield from _of_pool(pool, seen.displaced)
    with_free_space = {one.name: one.free_bytes for one in seen.pools}
    for volume in seen.volumes:
        yield from _of_volume(volume, with_free_space.get(volume.name.partition("/")[0], 0))
    for snapshot in seen.snapshots:
        yield from _of_snapshot(snapshot)
    if seen.lio_obstacle and _uses_lio(seen):
        yield Finding(
            "error",
            "",
            f"the kernel's target cannot be used: {seen.lio_obstacle}",
            "put that right and start the daemon again",
        )
    for target in seen.targets:
        yield from _of_luns(target.luns)
    yield from _of_portals(seen.portals, seen.lio_obstacle)
    if seen.events_problem:
        yield Finding(
            "warning",
            "",
            f"events are not durable: {seen.events_problem}",
            "see that the state directory is writable and has room",
        )


def _uses_lio(seen: Seen) -> bool:
    ways = {*(one.via for one in seen.targets), *(one.via for one in seen.portals)}
    return "lio" in ways


def _of_pool(pool: Pool, displaced: Mapping[str, str]) -> Iterator[Finding]:
    show = f"`scsi-snap pool show {pool.name}` shows its members"
    if pool.state == "unavailable":
        retry = f"bring its members back and `scsi-snap pool import --name {pool.name}`"
        yield Finding("error", pool.name, f"the pool is unavailable: {pool.reason}", retry)
        return
    if pool.state == "failed":
        text = "the pool has failed: every read and write of its volumes fails"
        yield Finding("error", pool.name, text, show)
    elif pool.state != "optimal":
        lost = ", ".join(f"{one.name} is {one.state}" for one in pool.members if _is_lost(one))
        text = f"the pool is {pool.state}: {lost}" if lost else f"the pool is {pool.state}"
        yield Finding("warning", pool.name, text, show)
    for member in pool.members:
        if _is_lost(member):
            continue
        if member.name in displaced:
            yield Finding(
                "error",
                pool.name,
                f"member {member.name}: {displaced[member.name]}; after a restart it is lost",
                "copy what is on the volumes now; the daemon still has the member open",
            )
        if member.errors:
            yield Finding(
                "warning",
                pool.name,
                f"member {member.name} has failed {member.errors} reads or writes since the start",
                "look at the device, and at `scsi-snap events`",
            )
        if member.repairs:
            yield Finding(
                "warning",
                pool.name,
                f"member {member.name} held wrong data, and was repaired, {member.repairs} times"
                " since the start",
                f"look at the device; `scsi-snap check {pool.name}` reads everything",
            )


def _is_lost(member: Member) -> bool:
    return member.state in ("failed", "missing", "unknown")


def _of_volume(volume: Volume, pool_free_bytes: int) -> Iterator[Finding]:
    if not volume.snapshots:
        return
    room = pool_free_bytes
    if volume.store_limit_bytes is not None:
        room = min(room, max(volume.store_limit_bytes - volume.store_capacity_bytes, 0))
    most = volume.store_capacity_bytes + room
    percent = 100 * volume.store_used_bytes // most if most else 100
    if percent >= STORE_NEARLY_FULL_PERCENT:
        then = {
            "drop-snapshot": "the oldest snapshots are dropped when it is full",
            "fail-write": "writes fail when it is full",
        }.get(volume.policy, volume.policy)
        yield Finding(
            "warning",
            volume.name,
            f"its exception store is at {percent}% of what it may take; {then}",
            f"delete snapshots; `scsi-snap snapshot list {volume.name}` shows them",
        )


def _of_snapshot(snapshot: Snapshot) -> Iterator[Finding]:
    if snapshot.state == "invalid":
        why = f": {snapshot.invalid_reason}" if snapshot.invalid_reason else ""
        yield Finding(
            "error",
            snapshot.name,
            f"the snapshot is invalid{why}",
            f"`scsi-snap snapshot delete {snapshot.name}` removes it",
        )


_LUN_STATES = {
    "missing": "its volume or snapshot does not exist",
    "invalid": "its snapshot is invalid, and its reads fail",
}
"""Those that are not told with a pool or with the kernel's target."""


def _of_luns(luns: Iterable[Lun]) -> Iterator[Finding]:
    for lun in luns:
        text = _LUN_STATES.get(lun.state)
        if text is not None:
            yield Finding(
                "error",
                lun.target,
                f"LUN {lun.lun} ({lun.backing}): {text}",
                f"`scsi-snap lun unmap {lun.target} {lun.lun}`",
            )


def _of_portals(portals: Iterable[Portal], lio_obstacle: str) -> Iterator[Finding]:
    for portal in portals:
        if portal.state == "listening" or (portal.via == "lio" and lio_obstacle):
            continue
        yield Finding(
            "error",
            portal.address,
            f"the portal does not listen: {portal.reason}",
            f"see that the address is there; it is tried again. `scsi-snap portal delete"
            f" {portal.address}` gives it up",
        )
