"""A logical unit and its device server: checks in the order of SAM-5, then the opcode's handler.

State (mode pages, readiness, reservations, unit attentions) is shared by every nexus and guarded by
one small lock; device I/O happens outside it. So a command may be carried out on state that another
nexus is just changing: SAM-5 gives such commands no order either.

The gate is told under the lock, so what it says last is what was so last. A fast-path command that
was let through just before an attention or a reservation arises is one that came before it.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import inf
from typing import Final

from scsi_snap.scsi import opcodes
from scsi_snap.scsi.background import Background
from scsi_snap.scsi.caretaker import Care, Caretaker, Nobody, Space
from scsi_snap.scsi.cdb import Cdb
from scsi_snap.scsi.copy_results import CopyResults
from scsi_snap.scsi.device import BlockDevice, Medium, MediumEraser
from scsi_snap.scsi.gates import Gates
from scsi_snap.scsi.identity import Personality
from scsi_snap.scsi.invocation import Invocation, Router
from scsi_snap.scsi.limits import PREEMPT_AND_ABORTS_MAX
from scsi_snap.scsi.mode_pages import ModePages
from scsi_snap.scsi.nexus import InitiatorPort, ItlNexus, Mapping, TargetPort
from scsi_snap.scsi.operation import Access, Operation
from scsi_snap.scsi.readiness import Readiness
from scsi_snap.scsi.request import Completion, NexusId, Request, Status
from scsi_snap.scsi.reservation_record import NoStore, ReservationStore
from scsi_snap.scsi.reservations import (
    Change,
    ItNexus,
    PersistentReservations,
    ReservationConflict,
)
from scsi_snap.scsi.sanitize import Sanitizer
from scsi_snap.scsi.sense import CheckCondition, Sense, SenseCode, refuse
from scsi_snap.scsi.statistics import Statistics
from scsi_snap.scsi.thresholds import ThresholdWatch, in_sets
from scsi_snap.scsi.unit_attention import UnitAttentions
from scsi_snap.scsi.unit_reservations import UnitReservations, it_nexus

BLOCK_BYTES_SUPPORTED: Final = frozenset({512, 4096})

ALLOWED_WHILE_LOST: Final = frozenset(
    {
        "INQUIRY",
        "LOG SENSE",
        "REPORT LUNS",
        "REPORT TARGET PORT GROUPS",
        "REQUEST SENSE",
        "PERSISTENT RESERVE OUT / REPLACE LOST RESERVATION",
    }
)
"""What harms nobody while it is not known who is fenced (SPC-4, 5.13.5.2 and 5.13.5.3)."""

_aborting: Final = threading.BoundedSemaphore(PREEMPT_AND_ABORTS_MAX)

Rule = Callable[[PersistentReservations], Change]
"""A service action of PERSISTENT RESERVE OUT; it may refuse or conflict."""


class Busy(Exception):
    """The command being handled ends in BUSY; it never leaves the package."""


class LogicalUnit:
    """A direct-access block device over a volume or a snapshot image."""

    def __init__(
        self,
        device: BlockDevice,
        personality: Personality,
        *,
        store: ReservationStore | None = None,
        eraser: MediumEraser | None = None,
        caretaker: Caretaker | None = None,
        erase_bytes_per_s: float = inf,
    ) -> None:
        """`store` keeps what persists of reservations, `caretaker` other things; without them
        nothing does. Without an eraser the unit has no SANITIZE; with one it goes on with what is
        noted.
        """
        assert device.block_bytes in BLOCK_BYTES_SUPPORTED
        assert device.size_bytes >= device.block_bytes
        self.medium: Final = Medium(device, personality.physical_block_bytes)
        self.personality = personality
        self.care: Final = Care(caretaker or Nobody())
        self.statistics: Final = Statistics(device)
        # Whether it is known, and told, how much space is left for writes.
        self.has_thresholds: Final = self.unmaps and self.care.space() is not None
        # Until initiators choose: a twentieth of the unit's size.
        threshold = in_sets(device.size_bytes // 20) if self.has_thresholds else None
        # Nothing is written to a read-only device, so it has no write cache to switch off.
        self.mode_pages: Final = ModePages(write_cache=not device.read_only, threshold=threshold)
        self._thresholds: Final = ThresholdWatch()
        self._lock: Final = threading.Lock()
        self._attentions: Final = UnitAttentions()
        self._readiness: Final = Readiness()
        self._reservations: Final = UnitReservations(store or NoStore())
        self._gates: Final = Gates()
        self._target_ports: tuple[TargetPort, ...] = ()
        self.copy_results: Final = CopyResults()
        self.background: Final = Background(self._background_changed, erase_bytes_per_s)
        self.sanitizer: Final = Sanitizer.of(self.medium, eraser, self.background)
        self._commands: Final = opcodes.offered_by(self)

    def close(self) -> None:
        """The unit goes: a format or sanitize operation ends where it is."""
        self.background.close()

    @property
    def operations(self) -> Sequence[Operation]:
        """The commands that this unit has."""
        return self._commands.operations

    @property
    def unmaps(self) -> bool:
        """Whether blocks can be deallocated at all, which is what LBPME and LBPU say."""
        return self.personality.thin and not self.medium.read_only

    @property
    def write_protected(self) -> bool:
        """By its device, by its personality or by the Control mode page."""
        return (
            self.medium.read_only
            or self.personality.read_only
            or self.mode_pages.software_write_protect
        )

    def execute(self, request: Request, mapping: Mapping, router: Router) -> Completion:
        """Carries one command out. Device failures are sense data; anything else is a defect."""
        itl = ItlNexus(mapping, request.nexus, request.initiator)
        wanted_bytes = 0
        try:
            operation = self._admit(request.cdb, itl)
            cdb = Cdb(operation.layout, request.cdb)
            wanted_bytes = operation.data_out(cdb, self.medium.block_bytes)
            self._check_state(operation, cdb, mapping)
            outcome = operation.handler(
                Invocation(
                    unit=self,
                    router=router,
                    operations=self.operations,
                    itl=itl,
                    cdb=cdb,
                    data_out=request.data_out,
                    data_out_wanted_bytes=wanted_bytes,
                )
            )
        except ReservationConflict:
            return Completion(Status.RESERVATION_CONFLICT, data_out_wanted_bytes=wanted_bytes)
        except Busy:
            return Completion(Status.BUSY, data_out_wanted_bytes=wanted_bytes)
        except CheckCondition as check:
            reported = self._reported(check.sense, request.nexus, router)
            sense = reported.encode(descriptor_format=self.mode_pages.descriptor_sense)
            return Completion(
                Status.CHECK_CONDITION, sense=sense, data_out_wanted_bytes=wanted_bytes
            )
        if isinstance(outcome, Status):
            return Completion(outcome, data_out_wanted_bytes=wanted_bytes)
        if "allocation_length" in cdb:
            outcome = outcome[: cdb["allocation_length"]]
        return Completion(Status.GOOD, data_in=outcome, data_out_wanted_bytes=wanted_bytes)

    def _reported(self, sense: Sense, nexus: NexusId, router: Router) -> Sense:
        """Sense data that is on its way, with what belongs to it."""
        if sense.code is SenseCode.REPORTED_LUNS_DATA_HAS_CHANGED:
            # LUICLR: reported for one unit, it is settled for all of the nexus.
            router.luns_reported(nexus)
        if sense.code is SenseCode.THIN_PROVISIONING_SOFT_THRESHOLD_REACHED:
            return replace(sense, information=self._thresholds.last_offset)
        return sense

    def _admit(self, cdb: bytes, itl: ItlNexus) -> Operation:
        """The operation asked for, once nothing is pending that must be reported first.

        SAM-5, 5.3.3 and 5.14: on all commands but INQUIRY, REPORT LUNS and REQUEST SENSE, a unit
        attention comes before every other error. Between those that tell of a reset and the rest
        comes a reservation conflict.
        """
        operation = self._commands.find(cdb)
        with self._lock:
            if itl.mapping not in self._gates:
                refuse(SenseCode.LOGICAL_UNIT_NOT_SUPPORTED)
            self._meet([itl])
            if isinstance(operation, Sense):
                self._report(itl, self._attentions.take)
            elif not operation.despite_unit_attention:
                self._report(itl, self._attentions.take_reset)
                if not self._is_harmless(operation, cdb):
                    self._reservations.check(operation.access, itl)
                self._report(itl, self._attentions.take)
        if isinstance(operation, Sense):
            raise CheckCondition(operation)
        return operation

    def _report(self, itl: ItlNexus, take: Callable[[ItlNexus], SenseCode | None]) -> None:
        condition = take(itl)
        if condition is not None:
            self._tell([itl])
            refuse(condition)

    @staticmethod
    def _is_harmless(operation: Operation, cdb: bytes) -> bool:
        try:
            return operation.harmless(Cdb(operation.layout, cdb))
        except CheckCondition:
            return False

    def admit_copy(self, itl: ItlNexus, access: Access) -> None:
        """Whether a copy manager may read or write this unit now for this nexus: what a READ or a
        WRITE would be refused for. Nothing is reported as unit attention.
        """
        with self._lock:
            if itl.mapping not in self._gates:
                refuse(SenseCode.LOGICAL_UNIT_NOT_SUPPORTED)
            self._reservations.check(access, itl)
        if self._reservations.lost is not None:
            refuse(SenseCode.PERSISTENT_RESERVATION_INFORMATION_LOST)
        condition = self.background.condition()
        if condition is not None:
            raise CheckCondition(condition)
        self._check_ready()
        if access is Access.WRITE and (self.write_protected or itl.mapping.read_only):
            refuse(SenseCode.WRITE_PROTECTED)

    def _background_changed(self) -> None:
        with self._lock:
            self._tell(())

    def _check_state(self, operation: Operation, cdb: Cdb, mapping: Mapping) -> None:
        allowed = operation.name in ALLOWED_WHILE_LOST or operation.harmless(cdb)
        if self._reservations.lost is not None and not allowed:
            refuse(SenseCode.PERSISTENT_RESERVATION_INFORMATION_LOST)
        condition = None if operation.despite_background else self.background.condition()
        if condition is not None:
            raise CheckCondition(condition)
        if operation.needs_medium:
            self._check_ready()
        if operation.changes_medium and (self.write_protected or mapping.read_only):
            refuse(SenseCode.WRITE_PROTECTED)

    def _check_ready(self) -> None:
        obstacle = self._readiness.obstacle
        if obstacle is not None:
            refuse(obstacle)

    def request_sense(self, itl: ItlNexus) -> Sense:
        """What REQUEST SENSE reports: a unit attention, which it clears, or why it is not ready."""
        with self._lock:
            condition = self._attentions.take(itl) or self._readiness.obstacle
            if itl.mapping in self._gates:
                self._tell([itl])
        if condition is not None:
            return Sense(condition)
        return self.background.condition() or Sense(SenseCode.NO_ADDITIONAL_SENSE_INFORMATION)

    def set_started(self, started: bool, *, flush: bool = True) -> None:
        """START STOP UNIT: a stopped unit refuses what needs the medium, for every nexus."""
        if not started and flush and self._readiness.loaded:
            self.medium.flush()
        with self._changed():
            self._readiness.set_started(started, removable=self.personality.removable)

    def set_loaded(self, loaded: bool, by: ItlNexus, *, flush: bool = True) -> None:
        """START STOP UNIT with LOEJ: ejects the medium or loads it, which the others learn."""
        if not loaded and flush and self._readiness.loaded:
            self.medium.flush()
        with self._changed():
            if self._readiness.set_loaded(loaded):
                self._attentions.establish(SenseCode.MEDIUM_MAY_HAVE_CHANGED, but=by)

    def prevent_removal(self, itl: ItlNexus, prevented: bool) -> None:
        """PREVENT ALLOW MEDIUM REMOVAL of one nexus."""
        with self._lock:
            self._readiness.prevent(itl, prevented)

    def read_reservations(self) -> PersistentReservations:
        """What PERSISTENT RESERVE IN shows; it conflicts with RESERVE, whose ever that is."""
        with self._lock:
            self._reservations.check_not_held()
            return self._reservations.persistent

    @property
    def reservations_lost(self) -> str | None:
        """Why nobody can say who is registered; None in all but that case."""
        return self._reservations.lost

    def target_ports(self) -> list[TargetPort]:
        """Every target port that shows the unit, whether anybody is logged in there or not."""
        with self._lock:
            here = (mapping.port for mapping in self._gates.places())
            return list(dict.fromkeys([*self._target_ports, *here]))

    def set_target_ports(self, ports: Iterable[TargetPort]) -> None:
        """Names the ports at which a nexus would find the unit."""
        with self._lock:
            self._target_ports = tuple(ports)

    def initiator_ports(self) -> set[InitiatorPort]:
        """Every initiator port that is here or registered."""
        with self._lock:
            return {
                *(itl.initiator for itl in self._attentions.known()),
                *(nexus.initiator for nexus in self._reservations.persistent.keys),
            }

    def change_reservations(self, rule: Rule) -> frozenset[ItNexus]:
        """Applies a service action of PERSISTENT RESERVE OUT: durable, then in effect, then told.

        Who was preempted.
        """
        with self._reservations.changing:
            with self._lock:
                self._reservations.check_not_held()
            before = self._reservations.persistent
            change = rule(before)
            if change.state is not before:
                self._reservations.save(change.state)
            self._install(change)
        return change.preempted

    def _install(self, change: Change) -> None:
        with self._changed():
            self._reservations.persistent = change.state
            for nexus, condition in change.attentions:
                for itl in self._attentions.known():
                    if it_nexus(itl) == nexus:
                        self._attentions.establish_for(itl, condition)

    def change_and_abort(self, rule: Rule) -> None:
        """The same, and ends the commands of who was preempted, and their prevention of removal.

        It waits without a lock: a command that is waited for may need one to end. It waits in no
        circle either: a nexus that was preempted cannot preempt any more, so of two that wait the
        one for the other's command the later would have been refused.
        """
        if not _aborting.acquire(blocking=False):
            raise Busy
        try:
            preempted = self.change_reservations(rule)
            with self._lock:
                ended = [itl for itl in self._attentions.known() if it_nexus(itl) in preempted]
                for itl in ended:
                    self._readiness.prevent(itl, False)
            for mapping in {itl.mapping for itl in ended}:
                nexuses = [itl.nexus for itl in ended if itl.mapping is mapping]
                mapping.gate.abort_tasks(mapping.lun, nexuses)
        finally:
            _aborting.release()

    def replace_lost_reservation(self, rule: Rule) -> None:
        """REPLACE LOST RESERVATION: refused where nothing was lost (SPC-4, 5.13.11.3)."""
        with self._reservations.changing:
            if self._reservations.lost is None:
                refuse(SenseCode.INVALID_RELEASE_OF_PERSISTENT_RESERVATION)
            change = rule(self._reservations.persistent)
            self._reservations.save(change.state)
            self._reservations.lost = None
            self._install(change)

    def reserve(self, itl: ItlNexus) -> None:
        """RESERVE (SPC-2)."""
        with self._reservations.changing, self._changed():
            self._reservations.reserve(itl)

    def release(self, itl: ItlNexus) -> None:
        """RELEASE (SPC-2)."""
        with self._reservations.changing, self._changed():
            self._reservations.release(itl)

    def change_mode_pages(self, data: bytes, offset: int, by: ItlNexus) -> None:
        """MODE SELECT: takes the pages from `offset` on; the other nexuses are told of a change."""
        with self._changed():
            if self.mode_pages.change(self.mode_pages.parse(data, offset)):
                self._attentions.establish(SenseCode.MODE_PARAMETERS_CHANGED, but=by)
        self.written()

    def written(self) -> None:
        """After anything was written, and after WCE may have gone: durable now if WCE is off."""
        if not self.mode_pages.write_cache_enabled and not self.medium.read_only:
            self.medium.flush()

    def reset(self) -> None:
        """LOGICAL UNIT RESET (SAM-5), the tasks ended already: as after power on, but for what is
        registered and reserved persistently.
        """
        with self._changed():
            self._readiness.reset()
            self._reservations.legacy = None
            self.mode_pages.reset()
            self._thresholds.rearm()
            self._attentions.establish(SenseCode.BUS_DEVICE_RESET_OCCURRED)
        self.copy_results.clear()

    def commands_cleared(self, by: NexusId) -> None:
        """CLEAR TASK SET: the other nexuses' commands ended without status (TAS is zero)."""
        with self._changed():
            for itl in self._attentions.known():
                if itl.nexus != by:
                    self._attentions.establish_for(
                        itl, SenseCode.COMMANDS_CLEARED_BY_ANOTHER_INITIATOR
                    )

    def nexus_reset(self, itl: ItlNexus) -> None:
        """I_T NEXUS RESET (SAM-5), the nexus' tasks ended already: it loses what a nexus loses that
        is gone, and is told so, as it goes on.
        """
        with self._lock:
            self._attentions.establish_for(itl, SenseCode.I_T_NEXUS_LOSS_OCCURRED)
            self._tell([itl])

    def attentions(self, itl: ItlNexus) -> list[SenseCode]:
        """The unit attentions that wait for a nexus, oldest first; they stay."""
        with self._lock:
            return self._attentions.waiting(itl)

    def capacity_changed(self) -> None:
        """The device has another size now; every nexus is told."""
        self._establish(SenseCode.CAPACITY_DATA_HAS_CHANGED)

    def inquiry_changed(self, personality: Personality) -> None:
        """The unit says something else of itself from now on; every nexus is told (SPC-4): of
        write protection by the WP bit of the mode parameters, of all else by INQUIRY."""
        with self._changed():
            before, self.personality = self.personality, personality
            if before.read_only != personality.read_only:
                self._attentions.establish(SenseCode.MODE_PARAMETERS_CHANGED)
            if replace(before, read_only=personality.read_only) != personality:
                self._attentions.establish(SenseCode.INQUIRY_DATA_HAS_CHANGED)

    def keep_information(self, kind: str, data: bytes, by: ItlNexus) -> None:
        """SET IDENTIFYING INFORMATION: keeps it; the other nexuses are told (SPC-4, 6.43)."""
        if data != self.care.information(kind):
            self.care.keep_information(kind, data)
            self._establish(SenseCode.DEVICE_IDENTIFIER_CHANGED, but=by)

    def reset_statistics(self, by: ItlNexus) -> None:
        """LOG SELECT: counters begin again; the other nexuses are told (SPC-4, 7.3.2.2.1)."""
        self.statistics.reset()
        self._establish(SenseCode.LOG_PARAMETERS_CHANGED, but=by)

    def watch_space(self, space: Space) -> None:
        """To be called now and then: tells every nexus when a provisioning threshold goes off."""
        with self._lock:
            crossed = self._thresholds.crossed(self.mode_pages.thresholds(), space)
        if crossed:
            self.threshold_reached()

    def threshold_reached(self) -> None:
        """Less space is left than an initiator or we wanted; every nexus is told (SBC-4)."""
        self._establish(SenseCode.THIN_PROVISIONING_SOFT_THRESHOLD_REACHED)

    def _establish(self, condition: SenseCode, *, but: ItlNexus | None = None) -> None:
        with self._changed():
            self._attentions.establish(condition, but=but)

    def luns_changed(self, mapping: Mapping) -> None:
        """The target of this mapping has another list of logical units."""
        with self._changed():
            for itl in self._attentions.known():
                if itl.mapping is mapping:
                    self._attentions.establish_for(itl, SenseCode.REPORTED_LUNS_DATA_HAS_CHANGED)

    def luns_reported(self, itl: ItlNexus) -> None:
        """The nexus has read the list: nothing is pending of it."""
        with self._lock:
            if itl.mapping in self._gates:
                self._attentions.clear(itl, SenseCode.REPORTED_LUNS_DATA_HAS_CHANGED)
                self._tell([itl])

    def nexus_lost(self, nexus: NexusId) -> None:
        """A nexus is gone; what it reserved by RESERVE or prevented goes with it (SAM-5)."""
        with self._lock:
            self._attentions.forget(nexus)
            self._readiness.forget(nexus)
            self._reservations.forget(nexus)
            self._gates.forget(nexus)
            self._tell(self._attentions.known())
        self.copy_results.forget(nexus)

    def mapped(self, mapping: Mapping, nexuses: Iterable[tuple[NexusId, InitiatorPort]]) -> None:
        """The unit has come to this place, where these nexuses are."""
        with self._lock:
            self._gates.add(mapping, self._unusual)
            self._meet(ItlNexus(mapping, *nexus) for nexus in nexuses)
            self._gates.open(mapping)

    def meet(self, itl: ItlNexus) -> None:
        """A nexus begins: its first command learns of it, and does not pass the gate."""
        with self._lock:
            if itl.mapping in self._gates:
                self._meet([itl])

    def _meet(self, nexuses: Iterable[ItlNexus]) -> None:
        """The lock is held."""
        for itl in nexuses:
            self._attentions.meet(itl)
            self._tell([itl])

    def unmapped(self, mapping: Mapping) -> None:
        """The unit has left this place; a command still on its way to it finds nothing."""
        with self._lock:
            self._attentions.forget_mapping(mapping)
            self._readiness.forget_mapping(mapping)
            self._reservations.forget_mapping(mapping)
            self._gates.remove(mapping)
            self._tell(self._attentions.known())

    def withdrawn(self, mapping: Mapping) -> None:
        """The place is gone, which no nexus has any more; it may come back."""
        with self._lock:
            self._gates.remove(mapping)

    @contextmanager
    def _changed(self) -> Iterator[None]:
        """Holds the lock, and tells the gates what is different after."""
        with self._lock:
            yield
            self._tell(self._attentions.known())

    def _tell(self, nexuses: Iterable[ItlNexus]) -> None:
        """Tells the gates what is different now, of these nexuses. The lock is held."""
        self._gates.tell_all(self._unusual)
        for itl in nexuses:
            forbidden = self._reservations.forbids_something(itl)
            self._gates.tell(itl, forbidden or self._attentions.pending(itl))

    @property
    def _unusual(self) -> bool:
        """Whether a plain READ or WRITE is not just that, for every nexus."""
        return (
            self._readiness.obstacle is not None
            or self._reservations.lost is not None
            or not self.background.quiet
            or (self.personality.read_only and not self.medium.read_only)
            or self.mode_pages.software_write_protect
            or (not self.medium.read_only and not self.mode_pages.write_cache_enabled)
        )
