"""Targets of the kernel as they should be: what is on record, and what is mapped, in its terms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from scsi_snap.errors import Unsupported
from scsi_snap.inventory import lio_names
from scsi_snap.inventory.exporter import PortalView, Unit
from scsi_snap.inventory.records import ChapRecord, TargetRecord
from scsi_snap.lio.kernel_target import Acl, Backstore, Chap, Group


@dataclass(frozen=True)
class Shown:
    """What is at a LUN. `unit` None: its pool is away, and the kernel has kept it."""

    storage_object: str
    unit: Unit | None
    read_only: bool


@dataclass(frozen=True)
class Wish:
    """A target as it should be. `own`: by initiator."""

    record: TargetRecord
    everybody: Mapping[int, Shown] = field(default_factory=dict)
    own: Mapping[str, Mapping[int, Shown]] = field(default_factory=dict)

    def shown(self) -> list[Shown]:
        maps = (self.everybody, *self.own.values())
        return [one for places in maps for one in places.values()]

    def audiences(self) -> list[frozenset[str]]:
        """The storage objects that initiators see together."""
        everybody = frozenset(_names(self.everybody).values())
        if not self.record.initiators:
            return [everybody]
        own = (self.own.get(one.name, {}) for one in self.record.initiators)
        return [everybody.union(_names(places).values()) for places in own]

    def with_lun(self, lun: int, shown: Shown, initiators: Iterable[str]) -> Wish:
        own = dict(self.own)
        for name in initiators:
            own[name] = {**own.get(name, {}), lun: shown}
        if initiators:
            return replace(self, own=own)
        return replace(self, everybody={**self.everybody, lun: shown})

    def without_lun(self, lun: int, initiators: Iterable[str]) -> Wish:
        """No initiators: nobody's."""
        own = {
            name: {n: one for n, one in places.items() if n != lun}
            if not initiators or name in initiators
            else places
            for name, places in self.own.items()
        }
        everybody = {n: one for n, one in self.everybody.items() if n != lun or tuple(initiators)}
        return replace(self, everybody=everybody, own={k: v for k, v in own.items() if v})

    def of(self, record: TargetRecord) -> Wish:
        """What belongs to initiators that are not listed any more goes."""
        own = {name: one for name, one in self.own.items() if record.admits(name)}
        return replace(self, record=record, own=own)

    def groups(self, portals: Iterable[PortalView]) -> dict[int, Group]:
        """As the kernel is to have them."""
        record, listening = self.record, [one for one in portals if not one.reason]
        is_open = not record.initiators
        everybody = _names(self.everybody)
        acls = {
            one.name: Acl(
                chap_of(record.chap_of(one.name)),
                {**everybody, **_names(self.own.get(one.name, {}))},
            )
            for one in record.initiators
        }
        return {
            port.tag: Group(
                open=is_open,
                chap=chap_of(record.chap) if is_open else None,
                portals=frozenset(
                    one.address for one in listening if one.portal_group_tag == port.tag
                ),
                luns=everybody,
                acls=acls,
            )
            for port in record.ports
        }


def neighbours(wishes: Iterable[Wish]) -> dict[str, frozenset[str]]:
    """By storage object, the others that everybody sees who sees it."""
    found: dict[str, frozenset[str]] = {}
    for seen in (one for wish in wishes for one in wish.audiences()):
        for name in seen:
            found[name] = found.get(name, seen) & seen
    return {name: seen - {name} for name, seen in found.items()}


def kept(wish: Wish, there: frozenset[str]) -> Wish:
    """With the LUNs on record whose pools are away, where the kernel has them."""
    for record in wish.record.luns:
        try:
            name = lio_names.storage_object(record.backing, read_only=record.read_only)
        except Unsupported:
            continue
        maps = [wish.own.get(one, {}) for one in record.initiators] or [wish.everybody]
        if name in there and all(record.lun not in places for places in maps):
            shown = Shown(name, None, record.read_only)
            wish = wish.with_lun(record.lun, shown, record.initiators)
    return wish


def backstore(shown: Shown, unit: Unit) -> Backstore:
    """Its serial number is the unit's UUID, whatever initiators are told: LIO names a file by it.
    Two storage objects are two to LIO, so the read-only one has another."""
    return Backstore(
        shown.storage_object,
        lio_names.dev_config(unit.backing, read_only=shown.read_only),
        unit.device.size_bytes,
        unit.device.block_bytes,
        f"{unit.uuid}-ro" if shown.read_only else str(unit.uuid),
    )


def _names(places: Mapping[int, Shown]) -> dict[int, str]:
    return {lun: one.storage_object for lun, one in places.items()}


def chap_of(record: ChapRecord | None) -> Chap | None:
    if record is None:
        return None
    return Chap(record.user, record.secret, record.mutual_user, record.mutual_secret)
