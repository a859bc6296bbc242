"""The state that the catalog keeps, and its one JSON form (docs/formats/catalog.md).

Volumes and snapshots are not here: pools describe themselves. A record that exists is valid;
`from_json` is the door and raises `ValueError` with what is wrong and where.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, cast

from scsi_snap.inventory.record_fields import Fields, Json
from scsi_snap.inventory.target_records import (
    PORTAL,
    ChapRecord,
    InitiatorRecord,
    LunRecord,
    PortRecord,
    RedirectRecord,
    TargetRecord,
    Via,
    via_of,
)

__all__ = [
    "ChapRecord",
    "InitiatorRecord",
    "Json",
    "LunRecord",
    "PoolRecord",
    "PortRecord",
    "PortalRecord",
    "RedirectRecord",
    "State",
    "TargetRecord",
    "Via",
]

PoolPhase = Literal["creating", "present", "destroying"]
_PHASES = ("creating", "present", "destroying")


@dataclass(frozen=True)
class PoolRecord:
    """An imported pool. `phase` is an intention while a verb runs; the next start ends it.

    `members`: paths by role; empty where the path of a role is not known.
    `event`: the event count that the pool's labels have reached. Members that are all older lack
    what was written since, which they cannot know themselves."""

    name: str
    members: tuple[str, ...]
    id: str = ""
    phase: PoolPhase = "present"
    event: int = 0

    @property
    def paths(self) -> tuple[str, ...]:
        """Those that are known."""
        return tuple(filter(None, self.members))

    def to_json(self) -> Json:
        return {
            "name": self.name,
            "id": self.id,
            "members": list(self.members),
            "phase": self.phase,
            "event": self.event,
        }

    @classmethod
    def from_json(cls, value: object, where: str) -> PoolRecord:
        entry = Fields(value, where)
        phase = entry.text("phase")
        if phase not in _PHASES:
            raise ValueError(f"{where}.phase is {phase!r}")
        return cls(
            name=entry.text("name"),
            id=entry.text("id"),
            members=tuple(entry.texts("members")),
            phase=cast("PoolPhase", phase),
            event=entry.number("event"),
        )


@dataclass(frozen=True)
class PortalRecord:
    """A network portal: `address` is ADDRESS:PORT in its usual spelling."""

    address: str
    tag: int
    via: Via = PORTAL

    def to_json(self) -> Json:
        return {"address": self.address, "tag": self.tag, "via": self.via}

    @classmethod
    def from_json(cls, value: object, where: str) -> PortalRecord:
        entry = Fields(value, where)
        return cls(entry.text("address"), entry.number("tag"), via_of(entry, where))


@dataclass(frozen=True)
class State:
    """Everything the controller remembers by itself; replaced as a whole, never changed.

    `discovery_chap`: what a discovery session must prove; None asks nothing."""

    pools: Mapping[str, PoolRecord] = field(default_factory=dict)
    targets: Mapping[str, TargetRecord] = field(default_factory=dict)
    portals: Mapping[str, PortalRecord] = field(default_factory=dict)
    discovery_chap: ChapRecord | None = None

    def with_pool(self, record: PoolRecord) -> State:
        return replace(self, pools={**self.pools, record.name: record})

    def without_pool(self, name: str) -> State:
        return replace(self, pools={k: v for k, v in self.pools.items() if k != name})

    def with_target(self, record: TargetRecord) -> State:
        return replace(self, targets={**self.targets, record.name: record})

    def without_target(self, name: str) -> State:
        return replace(self, targets={k: v for k, v in self.targets.items() if k != name})

    def with_portal(self, record: PortalRecord) -> State:
        return replace(self, portals={**self.portals, record.address: record})

    def without_portal(self, address: str) -> State:
        return replace(self, portals={k: v for k, v in self.portals.items() if k != address})

    def free_port_identifier(self) -> int:
        """The lowest relative target port identifier that no port has; they begin at 1 (SPC-5)."""
        used = {port.relative_identifier for one in self.targets.values() for port in one.ports}
        return next(number for number in range(1, len(used) + 2) if number not in used)

    def to_json(self) -> Json:
        return {
            "pools": [self.pools[name].to_json() for name in sorted(self.pools)],
            "targets": [self.targets[name].to_json() for name in sorted(self.targets)],
            "portals": [self.portals[address].to_json() for address in sorted(self.portals)],
            "discovery_chap": self.discovery_chap.to_json() if self.discovery_chap else None,
        }

    @classmethod
    def from_json(cls, value: object) -> State:
        entry = Fields(value, "state")
        pools = [
            PoolRecord.from_json(pool, f"pools[{index}]")
            for index, pool in enumerate(entry.items("pools"))
        ]
        targets = [
            TargetRecord.from_json(target, f"targets[{index}]")
            for index, target in enumerate(entry.items("targets"))
        ]
        portals = [
            PortalRecord.from_json(portal, f"portals[{index}]")
            for index, portal in enumerate(entry.items("portals"))
        ]
        state = cls(
            {pool.name: pool for pool in pools},
            {target.name: target for target in targets},
            {portal.address: portal for portal in portals},
            ChapRecord.optional(entry.value("discovery_chap"), "state.discovery_chap"),
        )
        if (len(state.pools), len(state.targets), len(state.portals)) != (
            len(pools),
            len(targets),
            len(portals),
        ):
            raise ValueError("two records have the same name")
        return state
