"""Verbs on LUNs: which volume or snapshot a target shows under which number, and to whom."""

from __future__ import annotations

from collections.abc import Sequence

from scsi_snap import limits
from scsi_snap.control import views, ways
from scsi_snap.control.outcomes import Changed, Created, Deleted, Unchanged
from scsi_snap.control.target_book import TargetBook, lun_view
from scsi_snap.errors import Exists, InvalidArgument, LimitReached, NotFound
from scsi_snap.inventory import names
from scsi_snap.inventory.assembly import lun_record
from scsi_snap.inventory.names import BackingName
from scsi_snap.inventory.records import LunRecord, TargetRecord, Via

LunOutcome = Created[views.Lun] | Changed[views.Lun] | Unchanged[views.Lun]


class LunVerbs(TargetBook):
    def luns(self, target: str | None = None) -> list[views.Lun]:
        found = [self._find(target)] if target else self._catalog.state.targets.values()
        targets = sorted(found, key=lambda one: one.name)
        return [self._lun(one, lun) for one in targets for lun in one.luns]

    def map(
        self,
        name: str,
        lun: int,
        backing: BackingName,
        initiators: Sequence[str] = (),
        *,
        read_only: bool = False,
        via: Via | None = None,
        again: bool = False,
    ) -> LunOutcome:
        """Shows a volume, or a snapshot (always read-only), as a logical unit: to every initiator
        that may log in, or to those named alone. A number is either everybody's or belongs to
        initiators, where each may have another backing. `via`, where named, is the target's.
        `again`: also where somebody sees the same backing under another number of the target, and
        may take it for two disks."""
        if not 0 <= lun <= limits.LUN_MAX:
            raise InvalidArgument(f"LUN {lun} cannot be used", f"0 to {limits.LUN_MAX}")
        wanted = tuple(sorted({names.initiator_name(one) for one in initiators}))
        self._check_way(name, via)
        with self._assembly.pools.locked([backing.pool]) as handles, self._lock:
            handle = handles[backing.pool]
            target = self._find(name)
            for initiator in wanted:
                ways.check_name(target.via, initiator)
            record = lun_record(handle, lun, backing, wanted, read_only)
            same = _check_place(target, record)
            new = [one for one in wanted if same is None or one not in same.initiators]
            if same is not None and not new:
                return Unchanged(self._lun(target, same))
            if not again:
                _refuse_twice(target, record)
            _check_initiators(target, new)
            if same is None and len(target.luns) >= limits.LUNS_PER_TARGET_MAX:
                raise LimitReached(
                    f"a target has at most {limits.LUNS_PER_TARGET_MAX} LUNs",
                    "make another target for more",
                )
            unit = self._assembly.unit(handle, record)
            assert unit is not None, "the pool's lock is held since the backing was looked up"
            changed = target.with_lun(record)
            self._exporter.check(changed)
            self._catalog.update(lambda state: state.with_target(changed))
            shown = (target.name, lun, unit, tuple(new), read_only)
            self._tell(target, lambda: self._exporter.map(*shown))
            there = next(one for one in changed.luns_at(lun) if one.shows_the_same(record))
            view = self._lun(changed, there)
            return Created(view) if same is None else Changed(view)

    def unmap(self, name: str, lun: int, initiators: Sequence[str] = ()) -> Deleted:
        """Takes the number away: from these initiators, whose own it is, or (none named) from
        everybody who sees anything there."""
        wanted = tuple(sorted({names.initiator_name(one) for one in initiators}))
        with self._lock:
            target = self._find(name)
            changed = target.without_lun(lun, wanted)
            if changed == target:
                of_theirs = f" of {', '.join(wanted)} alone" if wanted else ""
                raise NotFound(
                    f"{target.name} has no LUN {lun}{of_theirs}",
                    f"`scsi-snap lun list {target.name}` shows what there is",
                )
            self._catalog.update(lambda state: state.with_target(changed))
            self._tell(target, lambda: self._exporter.unmap(target.name, lun, wanted))
        return Deleted(f"{target.name} LUN {lun}")

    def _check_way(self, name: str, via: Via | None) -> None:
        """Of the target, which keeps it: looked at before the pool, as no lock is needed."""
        if via is not None:
            ways.refuse_unusable(self._exporter, via)
        try:
            target = self._find(name)
        except NotFound as error:
            if via is None:
                raise
            made = f"`scsi-snap target create --via {via} {name}` makes it"
            raise NotFound(error.message, f"{error.hint}; {made}") from error
        ways.refuse_other(target, via)
        ways.refuse_unusable(self._exporter, target.via)

    def _lun(self, target: TargetRecord, lun: LunRecord) -> views.Lun:
        shown = self._exporter.obstacle(target.via) is None
        return lun_view(target, lun, self._assembly.pools, shown=shown)


def _check_place(target: TargetRecord, wanted: LunRecord) -> LunRecord | None:
    """The record that shows the same at that number, if there is one. Raises `Exists` where
    somebody sees something else there, or would see something else from now on."""
    same = None
    for there in target.luns_at(wanted.lun):
        if bool(there.initiators) == bool(wanted.initiators) and there.shows_the_same(wanted):
            same = there
            continue
        shared = set(there.initiators) & set(wanted.initiators)
        if not there.initiators or not wanted.initiators or shared:
            whose = f" for {min(shared or there.initiators)}" if there.initiators else ""
            how = ", read-only" if there.read_only else ""
            options = f" --initiator {min(shared)}" if shared else ""
            raise Exists(
                f"LUN {wanted.lun} of {target.name} is {there.backing}{how}{whose}",
                "take another number, or"
                f" `scsi-snap lun unmap {target.name} {wanted.lun}{options}` first",
            )
    return same


def _refuse_twice(target: TargetRecord, wanted: LunRecord) -> None:
    backing = (wanted.volume_id, wanted.snapshot_id)
    for there in target.luns:
        if there.lun == wanted.lun or (there.volume_id, there.snapshot_id) != backing:
            continue
        seen_by_all = not there.initiators or not wanted.initiators
        if seen_by_all or set(there.initiators) & set(wanted.initiators):
            raise Exists(
                f"{wanted.backing} is LUN {there.lun} of {target.name} already",
                "`lun map --again` shows it under another number too: only for hosts that know"
                " that both are one disk (multipath)",
            )


def _check_initiators(target: TargetRecord, initiators: list[str]) -> None:
    for one in initiators:
        if not target.admits(one):
            raise NotFound(
                f"{one} may not log in to {target.name}",
                f"`scsi-snap target allow {target.name} {one}` first",
            )
    having = {name for lun in target.luns for name in lun.initiators}
    if len(having.union(initiators)) > limits.INITIATORS_PER_TARGET_MAX:
        raise LimitReached(
            f"at most {limits.INITIATORS_PER_TARGET_MAX} initiators have LUNs of their own"
            " in a target",
            "make another target for more",
        )
