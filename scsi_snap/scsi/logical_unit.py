"""A logical unit and its device server: checks in the order of SAM-5, then the opcode's handler.

What the unit is made of is in collaborators that handlers call themselves: `nexuses` has who is
there and what they have to learn, and the one lock; `reservations`, `readiness` and `mode_pages`
have state that every nexus shares; `background` has the FORMAT UNIT or SANITIZE that is under way.
Device I/O happens without the lock. So a command may be carried out on state that another nexus is
just changing: SAM-5 gives such commands no order either.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from math import inf
from typing import Final

from scsi_snap.scsi import opcodes
from scsi_snap.scsi.background import Background
from scsi_snap.scsi.caretaker import Care, Caretaker, Nobody, Space
from scsi_snap.scsi.cdb import Cdb
from scsi_snap.scsi.copy_results import CopyResults
from scsi_snap.scsi.device import BlockDevice, Medium, MediumEraser
from scsi_snap.scsi.gates import Unusual
from scsi_snap.scsi.identity import Personality
from scsi_snap.scsi.invocation import Invocation, Router
from scsi_snap.scsi.kept_modes import KeptModes
from scsi_snap.scsi.mode_pages import ModePages
from scsi_snap.scsi.nexus import ItlNexus, Mapping
from scsi_snap.scsi.nexuses import Nexuses
from scsi_snap.scsi.operation import Access, Operation
from scsi_snap.scsi.readiness import Readiness
from scsi_snap.scsi.record_store import NoStore, RecordStore
from scsi_snap.scsi.request import Completion, NexusId, Request, Status
from scsi_snap.scsi.reservations import ReservationConflict
from scsi_snap.scsi.sanitize import Sanitizer
from scsi_snap.scsi.sense import CheckCondition, Sense, SenseCode, refuse
from scsi_snap.scsi.statistics import Statistics
from scsi_snap.scsi.thresholds import Threshold, ThresholdWatch, in_sets
from scsi_snap.scsi.transfer import check_direction
from scsi_snap.scsi.unit_reservations import Busy, UnitReservations

BLOCK_BYTES_SUPPORTED: Final = frozenset({512, 4096})


class LogicalUnit:
    """A direct-access block device over a volume or a snapshot image."""

    def __init__(
        self,
        device: BlockDevice,
        personality: Personality,
        *,
        store: RecordStore | None = None,
        modes: RecordStore | None = None,
        eraser: MediumEraser | None = None,
        caretaker: Caretaker | None = None,
        erase_bytes_per_s: float = inf,
    ) -> None:
        """`store` keeps what persists of reservations, `modes` the mode parameters for the next
        process, `caretaker` other things; without them nothing does. Without an eraser the unit has
        no SANITIZE; with one it goes on with what is noted.
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
        self.kept_modes: Final = KeptModes(self.mode_pages, modes or NoStore())
        self._thresholds: Final = ThresholdWatch()
        self._watched: tuple[list[Threshold], Space] | None = None
        """What was last compared; the same again says nothing new."""
        self.nexuses: Final = Nexuses(self)
        self.readiness: Final = Readiness(self.medium, self.nexuses)
        self.reservations: Final = UnitReservations(store or NoStore(), self.nexuses)
        self.copy_results: Final = CopyResults()
        self.background: Final = Background(
            self._tell, self.medium.wait_for_writes, erase_bytes_per_s
        )
        self.sanitizer: Final = Sanitizer.of(self.medium, eraser, self.background)
        self._commands: Final = opcodes.offered_by(self)

    def close(self) -> None:
        """The unit goes, with its mode parameters; a format or sanitize operation ends where it is.
        Not said at the end of the process, which the unit outlives.
        """
        with self.kept_modes.forgetting():
            self.background.close()

    def outlive(self) -> None:
        """The process ends, and the unit does not: as `close`, but it keeps its mode parameters."""
        self.background.close()

    @property
    def operations(self) -> Sequence[Operation]:
        """The commands that this unit has."""
        return self._commands.operations

    @property
    def unmaps(self) -> bool:
        """Whether blocks can be deallocated at all."""
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
            outcome = self._carry_out(
                operation,
                Invocation(
                    unit=self,
                    router=router,
                    itl=itl,
                    cdb=cdb,
                    data_out=request.data_out,
                    data_out_wanted_bytes=wanted_bytes,
                    expected=request.expected,
                    repeated=request.repeated,
                ),
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
        with self.nexuses.visiting(itl) as attentions:
            if isinstance(operation, Sense):
                self.nexuses.report(itl, attentions.take)
                raise CheckCondition(operation)
            if not operation.despite_unit_attention:
                self.nexuses.report(itl, attentions.take_reset)
                self.reservations.check_command(operation, cdb, itl)
                self.nexuses.report(itl, attentions.take)
        return operation

    def _carry_out(self, operation: Operation, invocation: Invocation) -> bytes | Status:
        self.reservations.check_known(operation, invocation.cdb)
        changes = operation.changes_medium
        with nullcontext() if operation.despite_background else self.background.admitted(changes):
            if operation.needs_medium:
                self.readiness.check()
            if changes:
                self._check_writable(invocation.itl.mapping)
            check_direction(
                invocation.expected,
                data_out=invocation.data_out_wanted_bytes,
                data_in=operation.data_in(invocation.cdb),
                bears_data_out=operation.bears_data_out,
            )
            return operation.handler(invocation)

    @contextmanager
    def admitted_copy(self, itl: ItlNexus, access: Access) -> Iterator[None]:
        """Inside, a copy manager may read or write this unit for this nexus. Refused for what a
        READ or a WRITE would be refused for; nothing is reported as unit attention.
        """
        with self.nexuses.visiting(itl):
            self.reservations.check(access, itl)
        if self.reservations.lost is not None:
            refuse(SenseCode.PERSISTENT_RESERVATION_INFORMATION_LOST)
        changes = access is Access.WRITE
        with self.background.admitted(changes):
            self.readiness.check()
            if changes:
                self._check_writable(itl.mapping)
            yield

    def _check_writable(self, mapping: Mapping) -> None:
        if self.write_protected or mapping.read_only:
            refuse(SenseCode.WRITE_PROTECTED)

    def written(self) -> None:
        """After anything was written, and after WCE may have gone: durable now if WCE is off."""
        if not self.mode_pages.write_cache_enabled and not self.medium.read_only:
            self.medium.flush()

    def reset(self, told: Mapping | None = None) -> None:
        """LOGICAL UNIT RESET (SAM-5), the tasks ended already: as after power on, but for what is
        registered and reserved persistently. The nexuses of the place `told` know of it.
        """
        with self.kept_modes.forgetting(), self.nexuses.changing() as attentions:
            self.readiness.reset()
            self.reservations.reset()
            self.mode_pages.reset()
            self._thresholds.rearm()
            self._watched = None
            attentions.establish(SenseCode.BUS_DEVICE_RESET_OCCURRED)
            for itl in attentions.known():
                if itl.mapping is told:
                    attentions.clear(itl, SenseCode.BUS_DEVICE_RESET_OCCURRED)
        self.copy_results.clear()

    def capacity_changed(self) -> None:
        """The device has another size now; every nexus is told."""
        self.nexuses.establish(SenseCode.CAPACITY_DATA_HAS_CHANGED)

    def inquiry_changed(self, personality: Personality) -> None:
        """The unit says something else of itself from now on; every nexus is told (SPC-4): of
        write protection by the WP bit of the mode parameters, of all else by INQUIRY."""
        with self.nexuses.changing() as attentions:
            before, self.personality = self.personality, personality
            if before.read_only != personality.read_only:
                attentions.establish(SenseCode.MODE_PARAMETERS_CHANGED)
            if replace(before, read_only=personality.read_only) != personality:
                attentions.establish(SenseCode.INQUIRY_DATA_HAS_CHANGED)

    def watch_space(self, space: Space) -> None:
        """To be called now and then: tells every nexus when less space is left than an initiator
        or we wanted (SBC-4, 4.7.3.7)."""
        watched = self.mode_pages.thresholds(), space
        if watched == self._watched:
            return
        with self.nexuses.changing() as attentions:
            self._watched = watched
            if self._thresholds.crossed(*watched):
                attentions.establish(SenseCode.THIN_PROVISIONING_SOFT_THRESHOLD_REACHED)

    def nexus_reset(self, itl: ItlNexus) -> None:
        """I_T NEXUS RESET (SAM-5), the nexus' tasks ended already: it loses what a nexus loses that
        is gone, and is told so, as it goes on.
        """
        with self.nexuses.changing() as attentions:
            self.readiness.forget(itl.nexus)
            self.reservations.forget(itl.nexus)
            attentions.establish_for(itl, SenseCode.I_T_NEXUS_LOSS_OCCURRED)
        self.copy_results.forget(itl.nexus)

    def nexus_lost(self, nexus: NexusId) -> None:
        """A nexus is gone; what it reserved by RESERVE or prevented goes with it (SAM-5)."""
        with self.nexuses.losing(nexus):
            self.readiness.forget(nexus)
            self.reservations.forget(nexus)
        self.copy_results.forget(nexus)

    def unmapped(self, mapping: Mapping) -> None:
        """The unit has left this place; a command still on its way to it finds nothing."""
        with self.nexuses.unmapping(mapping):
            self.readiness.forget_mapping(mapping)
            self.reservations.forget_mapping(mapping)

    def _tell(self) -> None:
        with self.nexuses.changing():
            pass

    def unusual(self) -> Unusual:
        """Whether plain READs and WRITEs, or WRITEs alone, are not just that, for every nexus."""
        medium = self.medium
        return Unusual(
            all=self.readiness.obstacle is not None
            or self.reservations.lost is not None
            or not self.background.quiet,
            # A read-only device has the fast path decline WRITEs by itself.
            writes=not medium.read_only
            and (self.write_protected or not self.mode_pages.write_cache_enabled),
        )

    def fenced(self, itl: ItlNexus) -> bool:
        """Whether no READ or WRITE of the nexus is plain."""
        return self.reservations.forbids_something(itl)
