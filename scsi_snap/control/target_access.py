"""Verbs on who may log in to a target, and what they must prove."""

from __future__ import annotations

from dataclasses import replace

from scsi_snap import limits
from scsi_snap.control import views, ways
from scsi_snap.control.outcomes import Changed, Unchanged
from scsi_snap.control.target_book import TargetBook, check_chap
from scsi_snap.errors import Busy, LimitReached, NotFound, ScsiSnapError
from scsi_snap.inventory import names
from scsi_snap.inventory.records import ChapRecord, InitiatorRecord, TargetRecord
from scsi_snap.inventory.target_records import LIO

TargetOutcome = Changed[views.Target] | Unchanged[views.Target]


class AccessVerbs(TargetBook):
    def set_chap(
        self, name: str, chap: ChapRecord | None, initiator: str | None = None
    ) -> TargetOutcome:
        """Asked at the next login; sessions that run go on. Of one initiator that is listed, or of
        all that have none of their own. None: no authentication; for an initiator, the target's."""
        check_chap(chap)
        listed = names.initiator_name(initiator) if initiator is not None else None

        def change(record: TargetRecord) -> TargetRecord:
            ways.check_chap(record.via, chap)
            if listed is None:
                return replace(record, chap=chap)
            _check_listed(record, listed)
            return record.with_initiator(InitiatorRecord(listed, chap))

        return self._change(name, change)

    def allow(self, name: str, initiator: str, chap: ChapRecord | None = None) -> TargetOutcome:
        """From the first one on, only initiators that are listed may log in. `chap`: with a secret
        of its own; without, a secret that it has stays."""
        initiator = names.initiator_name(initiator)
        check_chap(chap)

        def change(record: TargetRecord) -> TargetRecord:
            ways.check_name(record.via, initiator)
            ways.check_chap(record.via, chap)
            there = record.initiator(initiator)
            if there is None and len(record.initiators) >= limits.INITIATORS_PER_TARGET_MAX:
                raise LimitReached(
                    f"a target lists at most {limits.INITIATORS_PER_TARGET_MAX} initiators",
                    f"`scsi-snap target deny {record.name} INITIATOR` takes one off",
                )
            own = chap if chap is not None or there is None else there.chap
            return record.with_initiator(InitiatorRecord(initiator, own))

        return self._change(name, change)

    def deny(self, name: str, initiator: str) -> Changed[views.Target]:
        """Takes an initiator off the list, with its secret and the LUNs that are its own, and
        closes its sessions. The last one cannot be taken off: an empty list would let everybody
        in."""
        initiator = names.initiator_name(initiator)
        with self._lock:
            record = self._find(name)
            _check_listed(record, initiator)
            if record.initiator_names == (initiator,):
                raise Busy(
                    f"{initiator} is the last initiator that {record.name} lists",
                    "with none listed any initiator may log in: `scsi-snap target allow"
                    f" {record.name} --any` says so, or allow another one first",
                )
            outcome = self._change(name, lambda one: one.without_initiator(initiator))
            for lun in record.luns:
                if initiator in lun.initiators:
                    self._exporter.unmap(record.name, lun.lun, (initiator,))
        return Changed(outcome.view)

    def allow_any(self, name: str) -> TargetOutcome:
        """Empties the list. Secrets of initiators go with it; LUNs of their own stay theirs."""
        return self._change(name, lambda record: replace(record, initiators=()))

    def discovery(self) -> views.Discovery:
        chap = self._catalog.state.discovery_chap
        return views.Discovery(
            chap_user=chap.user if chap else None,
            chap_mutual_user=(chap.mutual_user or None) if chap else None,
        )

    def set_discovery_chap(
        self, chap: ChapRecord | None
    ) -> Changed[views.Discovery] | Unchanged[views.Discovery]:
        """What a discovery session must prove from the next one on. None: nothing."""
        check_chap(chap)
        if self._exporter.obstacle(LIO) is None:
            ways.check_chap(LIO, chap)

        with self._lock:
            before = self._catalog.state.discovery_chap
            if before == chap:
                return Unchanged(self.discovery())
            self._catalog.update(lambda state: replace(state, discovery_chap=chap))
            try:
                self._exporter.set_discovery_chap(chap)
            except ScsiSnapError:
                self._catalog.update(lambda state: replace(state, discovery_chap=before))
                raise
        return Changed(self.discovery())


def _check_listed(record: TargetRecord, initiator: str) -> None:
    if record.initiator(initiator) is None:
        raise NotFound.named(
            f"initiator listed by {record.name}",
            initiator,
            record.initiator_names,
            f"scsi-snap target show {record.name}",
        )
