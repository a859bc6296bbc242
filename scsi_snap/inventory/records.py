"""The records of the state catalog, and their one JSON form (docs/formats/catalog.md).

Volumes and snapshots are not here: pools describe themselves. A record that exists is valid;
`from_json` is the door and raises `ValueError` with what is wrong and where.

A LUN names its backing by UUID: a volume that was deleted and made again under the same name is
another volume, and must not appear to initiators that knew the old one. The name beside it is
what was typed, shown while the pool is away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, cast

Json = dict[str, object]
PoolPhase = Literal["creating", "present", "destroying"]
_PHASES = ("creating", "present", "destroying")


@dataclass(frozen=True)
class PoolRecord:
    """An imported pool. `phase` is an intention while a verb runs; the next start ends it."""

    name: str
    members: tuple[str, ...]
    id: str = ""
    phase: PoolPhase = "present"

    def to_json(self) -> Json:
        return {
            "name": self.name,
            "id": self.id,
            "members": list(self.members),
            "phase": self.phase,
        }

    @classmethod
    def from_json(cls, value: object, where: str) -> PoolRecord:
        entry = _Fields(value, where)
        phase = entry.text("phase")
        if phase not in _PHASES:
            raise ValueError(f"{where}.phase is {phase!r}")
        return cls(
            name=entry.text("name"),
            id=entry.text("id"),
            members=tuple(entry.texts("members")),
            phase=cast(PoolPhase, phase),
        )


@dataclass(frozen=True)
class ChapRecord:
    """What initiators log in with; with the mutual pair the target proves itself too."""

    user: str
    secret: str = field(repr=False)
    mutual_user: str = ""
    mutual_secret: str = field(default="", repr=False)

    def to_json(self) -> Json:
        return {
            "user": self.user,
            "secret": self.secret,
            "mutual_user": self.mutual_user,
            "mutual_secret": self.mutual_secret,
        }

    @classmethod
    def from_json(cls, value: object, where: str) -> ChapRecord:
        entry = _Fields(value, where)
        return cls(*(entry.text(key) for key in ("user", "secret", "mutual_user", "mutual_secret")))


@dataclass(frozen=True)
class LunRecord:
    lun: int
    backing: str
    pool_id: str
    volume_id: str
    snapshot_id: str = ""

    def to_json(self) -> Json:
        return {
            "lun": self.lun,
            "backing": self.backing,
            "pool_id": self.pool_id,
            "volume_id": self.volume_id,
            "snapshot_id": self.snapshot_id,
        }

    @classmethod
    def from_json(cls, value: object, where: str) -> LunRecord:
        entry = _Fields(value, where)
        return cls(
            lun=entry.number("lun"),
            backing=entry.text("backing"),
            pool_id=entry.text("pool_id"),
            volume_id=entry.text("volume_id"),
            snapshot_id=entry.text("snapshot_id"),
        )


@dataclass(frozen=True)
class TargetRecord:
    """`initiators` empty: any initiator may log in. `id` makes the target port's designators."""

    name: str
    id: str
    portal_group_tag: int = 1
    chap: ChapRecord | None = None
    initiators: tuple[str, ...] = ()
    luns: tuple[LunRecord, ...] = ()

    def lun(self, number: int) -> LunRecord | None:
        return next((record for record in self.luns if record.lun == number), None)

    def with_lun(self, record: LunRecord) -> TargetRecord:
        others = [other for other in self.luns if other.lun != record.lun]
        return replace(self, luns=tuple(sorted([*others, record], key=lambda one: one.lun)))

    def without_lun(self, number: int) -> TargetRecord:
        return replace(self, luns=tuple(one for one in self.luns if one.lun != number))

    def to_json(self) -> Json:
        return {
            "name": self.name,
            "id": self.id,
            "portal_group_tag": self.portal_group_tag,
            "chap": self.chap.to_json() if self.chap else None,
            "initiators": list(self.initiators),
            "luns": [record.to_json() for record in self.luns],
        }

    @classmethod
    def from_json(cls, value: object, where: str) -> TargetRecord:
        entry = _Fields(value, where)
        chap = entry.value("chap")
        return cls(
            name=entry.text("name"),
            id=entry.text("id"),
            portal_group_tag=entry.number("portal_group_tag"),
            chap=None if chap is None else ChapRecord.from_json(chap, f"{where}.chap"),
            initiators=tuple(entry.texts("initiators")),
            luns=tuple(
                LunRecord.from_json(lun, f"{where}.luns[{index}]")
                for index, lun in enumerate(entry.items("luns"))
            ),
        )


@dataclass(frozen=True)
class State:
    """Everything the controller remembers by itself; replaced as a whole, never changed."""

    pools: Mapping[str, PoolRecord] = field(default_factory=dict)
    targets: Mapping[str, TargetRecord] = field(default_factory=dict)

    def with_pool(self, record: PoolRecord) -> State:
        return replace(self, pools={**self.pools, record.name: record})

    def without_pool(self, name: str) -> State:
        return replace(self, pools={k: v for k, v in self.pools.items() if k != name})

    def with_target(self, record: TargetRecord) -> State:
        return replace(self, targets={**self.targets, record.name: record})

    def without_target(self, name: str) -> State:
        return replace(self, targets={k: v for k, v in self.targets.items() if k != name})

    def to_json(self) -> Json:
        return {
            "pools": [self.pools[name].to_json() for name in sorted(self.pools)],
            "targets": [self.targets[name].to_json() for name in sorted(self.targets)],
        }

    @classmethod
    def from_json(cls, value: object) -> State:
        entry = _Fields(value, "state")
        pools = [
            PoolRecord.from_json(pool, f"pools[{index}]")
            for index, pool in enumerate(entry.items("pools"))
        ]
        targets = [
            TargetRecord.from_json(target, f"targets[{index}]")
            for index, target in enumerate(entry.items("targets"))
        ]
        state = cls({pool.name: pool for pool in pools}, {t.name: t for t in targets})
        if len(state.pools) != len(pools) or len(state.targets) != len(targets):
            raise ValueError("two records have the same name")
        return state


class _Fields:
    """The fields of one JSON object, each taken with its type."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise ValueError(f"{where} is not an object")
        self._value = cast(Json, value)
        self._where = where

    def value(self, key: str) -> object:
        if key not in self._value:
            raise ValueError(f"{self._where}.{key} is missing")
        return self._value[key]

    def text(self, key: str) -> str:
        value = self.value(key)
        if not isinstance(value, str):
            raise ValueError(f"{self._where}.{key} is not a string")
        return value

    def number(self, key: str) -> int:
        value = self.value(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise ValueError(f"{self._where}.{key} is not a count")
        return value

    def items(self, key: str) -> list[object]:
        value = self.value(key)
        if not isinstance(value, list):
            raise ValueError(f"{self._where}.{key} is not a list")
        return value

    def texts(self, key: str) -> list[str]:
        values = self.items(key)
        if not all(isinstance(value, str) for value in values):
            raise ValueError(f"{self._where}.{key} is not a list of strings")
        return cast("list[str]", values)
