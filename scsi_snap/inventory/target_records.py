"""The records of targets: their ports, who may log in, and which LUNs they show to whom.

A LUN names its backing by UUID: a volume that was deleted and made again under the same name is
another volume, and must not appear to initiators that knew the old one. The name beside it is
what was typed, shown while the pool is away.

A number of a LUN is everybody's (one record, `initiators` empty) or belongs to initiators (records
whose `initiators` share no name). So what an initiator sees at a number never becomes another
volume because somebody else's LUN was mapped or unmapped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, Literal

from scsi_snap.inventory.record_fields import Fields, Json

FIRST_GROUP = 1
"""The portal group of `daemon --listen`, and of a target for which none was named."""

Via = Literal["portal", "lio"]
"""What carries a target or portal to its initiators: the embedded portal, or the kernel's target
(LIO)."""
PORTAL: Final[Via] = "portal"
LIO: Final[Via] = "lio"
VIAS: Final[tuple[Via, ...]] = (PORTAL, LIO)


def via_of(entry: Fields, where: str) -> Via:
    """The field `via` of an object. Raises `ValueError`."""
    text = entry.text("via")
    for via in VIAS:
        if text == via:
            return via
    raise ValueError(f"{where}.via is {text!r}")


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
        entry = Fields(value, where)
        return cls(*(entry.text(key) for key in ("user", "secret", "mutual_user", "mutual_secret")))

    @classmethod
    def optional(cls, value: object, where: str) -> ChapRecord | None:
        return None if value is None else cls.from_json(value, where)


@dataclass(frozen=True)
class InitiatorRecord:
    """One that a target lists. `chap` takes the place of the target's."""

    name: str
    chap: ChapRecord | None = None

    def to_json(self) -> Json:
        return {"name": self.name, "chap": self.chap.to_json() if self.chap else None}

    @classmethod
    def from_json(cls, value: object, where: str) -> InitiatorRecord:
        entry = Fields(value, where)
        chap = ChapRecord.optional(entry.value("chap"), f"{where}.chap")
        return cls(entry.text("name"), chap)


@dataclass(frozen=True)
class PortRecord:
    """A target port: the target in one portal group. `relative_identifier` is the port's own in the
    whole controller, and stays."""

    tag: int
    relative_identifier: int

    def to_json(self) -> Json:
        return {"tag": self.tag, "relative_identifier": self.relative_identifier}

    @classmethod
    def from_json(cls, value: object, where: str) -> PortRecord:
        entry = Fields(value, where)
        return cls(entry.number("tag"), entry.number("relative_identifier"))


@dataclass(frozen=True)
class RedirectRecord:
    """Where a login is sent on to; `permanent`: initiators may remember it."""

    host: str
    port: int
    permanent: bool = False

    def to_json(self) -> Json:
        return {"host": self.host, "port": self.port, "permanent": self.permanent}

    @classmethod
    def from_json(cls, value: object, where: str) -> RedirectRecord:
        entry = Fields(value, where)
        return cls(entry.text("host"), entry.number("port"), entry.flag("permanent"))


@dataclass(frozen=True)
class LunRecord:
    """`initiators` empty: for everybody. `read_only`: whatever the backing is."""

    lun: int
    backing: str
    pool_id: str
    volume_id: str
    snapshot_id: str = ""
    initiators: tuple[str, ...] = ()
    read_only: bool = False

    def shows_the_same(self, other: LunRecord) -> bool:
        """The same backing, in the same way."""
        return (self.volume_id, self.snapshot_id, self.read_only) == (
            other.volume_id,
            other.snapshot_id,
            other.read_only,
        )

    def for_initiators(self, initiators: Iterable[str]) -> LunRecord:
        return replace(self, initiators=tuple(sorted(set(initiators))))

    def to_json(self) -> Json:
        return {
            "lun": self.lun,
            "backing": self.backing,
            "pool_id": self.pool_id,
            "volume_id": self.volume_id,
            "snapshot_id": self.snapshot_id,
            "initiators": list(self.initiators),
            "read_only": self.read_only,
        }

    @classmethod
    def from_json(cls, value: object, where: str) -> LunRecord:
        entry = Fields(value, where)
        return cls(
            lun=entry.number("lun"),
            backing=entry.text("backing"),
            pool_id=entry.text("pool_id"),
            volume_id=entry.text("volume_id"),
            snapshot_id=entry.text("snapshot_id"),
            initiators=tuple(entry.texts("initiators")),
            read_only=entry.flag("read_only"),
        )


@dataclass(frozen=True)
class TargetRecord:
    """`initiators` empty: any initiator may log in. `id` is a UUID. `via` stays for life: what is
    logged in cannot be carried over."""

    name: str
    id: str
    ports: tuple[PortRecord, ...] = (PortRecord(FIRST_GROUP, 1),)
    chap: ChapRecord | None = None
    initiators: tuple[InitiatorRecord, ...] = ()
    luns: tuple[LunRecord, ...] = ()
    redirect: RedirectRecord | None = None
    via: Via = PORTAL

    @property
    def tags(self) -> tuple[int, ...]:
        """The portal groups that it is in."""
        return tuple(port.tag for port in self.ports)

    @property
    def initiator_names(self) -> tuple[str, ...]:
        return tuple(one.name for one in self.initiators)

    @property
    def asks_no_secret(self) -> bool:
        """Whether somebody may log in without one."""
        without_own = not self.initiators or any(one.chap is None for one in self.initiators)
        return self.chap is None and without_own

    def initiator(self, name: str) -> InitiatorRecord | None:
        return next((one for one in self.initiators if one.name == name), None)

    def admits(self, initiator: str) -> bool:
        return not self.initiators or self.initiator(initiator) is not None

    def chap_of(self, initiator: str) -> ChapRecord | None:
        """What this initiator must prove: by its own secret, else by the target's."""
        listed = self.initiator(initiator)
        return listed.chap if listed is not None and listed.chap is not None else self.chap

    def with_initiator(self, record: InitiatorRecord) -> TargetRecord:
        others = [one for one in self.initiators if one.name != record.name]
        listed = sorted([*others, record], key=lambda one: one.name)
        return replace(self, initiators=tuple(listed))

    def without_initiator(self, name: str) -> TargetRecord:
        """Its secret and its own LUNs go with it."""
        left = tuple(one for one in self.initiators if one.name != name)
        gone = replace(self, initiators=left)
        for one in self.luns:
            if name in one.initiators:
                gone = gone.without_lun(one.lun, (name,))
        return gone

    @cached_property
    def _by_volume(self) -> Mapping[str, tuple[LunRecord, ...]]:
        found: dict[str, tuple[LunRecord, ...]] = {}
        for record in self.luns:
            found[record.volume_id] = (*found.get(record.volume_id, ()), record)
        return found

    def luns_of(self, volume_id: str) -> tuple[LunRecord, ...]:
        """Of the volume and of its snapshots."""
        return self._by_volume.get(volume_id, ())

    def luns_at(self, number: int) -> tuple[LunRecord, ...]:
        return tuple(record for record in self.luns if record.lun == number)

    def with_lun(self, record: LunRecord) -> TargetRecord:
        """With one that shows the same at that number it becomes one record."""
        same = [one for one in self.luns if one.lun == record.lun and one.shows_the_same(record)]
        others = [one for one in self.luns if one not in same]
        initiators = [name for one in (*same, record) for name in one.initiators]
        return self._with_luns([*others, record.for_initiators(initiators)])

    def without_lun(self, number: int, initiators: tuple[str, ...] = ()) -> TargetRecord:
        """Nothing at that number; or, where initiators are named, nothing of theirs."""
        kept = []
        for one in self.luns:
            if one.lun != number:
                kept.append(one)
            elif initiators:
                left = [name for name in one.initiators if name not in initiators]
                if left or not one.initiators:
                    kept.append(one.for_initiators(left))
        return self._with_luns(kept)

    def _with_luns(self, luns: Iterable[LunRecord]) -> TargetRecord:
        return replace(self, luns=tuple(sorted(luns, key=lambda one: (one.lun, one.initiators))))

    def to_json(self) -> Json:
        return {
            "name": self.name,
            "id": self.id,
            "ports": [port.to_json() for port in self.ports],
            "chap": self.chap.to_json() if self.chap else None,
            "initiators": [one.to_json() for one in self.initiators],
            "luns": [record.to_json() for record in self.luns],
            "redirect": self.redirect.to_json() if self.redirect else None,
            "via": self.via,
        }

    @classmethod
    def from_json(cls, value: object, where: str) -> TargetRecord:
        entry = Fields(value, where)
        redirect = entry.value("redirect")
        return cls(
            name=entry.text("name"),
            id=entry.text("id"),
            ports=tuple(
                PortRecord.from_json(port, f"{where}.ports[{index}]")
                for index, port in enumerate(entry.items("ports"))
            ),
            chap=ChapRecord.optional(entry.value("chap"), f"{where}.chap"),
            initiators=tuple(
                InitiatorRecord.from_json(one, f"{where}.initiators[{index}]")
                for index, one in enumerate(entry.items("initiators"))
            ),
            luns=tuple(
                LunRecord.from_json(lun, f"{where}.luns[{index}]")
                for index, lun in enumerate(entry.items("luns"))
            ),
            redirect=(
                None
                if redirect is None
                else RedirectRecord.from_json(redirect, f"{where}.redirect")
            ),
            via=via_of(entry, where),
        )
