"""A logical unit and its device server: checks in the order of SAM-5, then the opcode's handler.

State (mode pages, started or stopped, unit attentions) is shared by every nexus and guarded by one
small lock; device I/O happens outside it. So a command may be carried out on state that another
nexus is just changing: SAM-5 gives such commands no order either.

The gate is told under the lock, so what it says last is what was so last. A fast-path command that
was let through just before an attention arises is one that came before it.
"""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from scsi_snap.scsi.cdb import Cdb
from scsi_snap.scsi.device import BlockDevice, Medium
from scsi_snap.scsi.identity import Personality
from scsi_snap.scsi.invocation import Invocation, Router
from scsi_snap.scsi.mode_pages import ModePages
from scsi_snap.scsi.nexus import InitiatorPort, ItlNexus, Mapping
from scsi_snap.scsi.opcodes import OPERATIONS, find
from scsi_snap.scsi.operation import Operation
from scsi_snap.scsi.request import Completion, NexusId, Request, Status
from scsi_snap.scsi.sense import CheckCondition, Sense, SenseCode, refuse
from scsi_snap.scsi.unit_attention import UnitAttentions

BLOCK_BYTES_SUPPORTED: Final = frozenset({512, 4096})


@dataclass(slots=True)
class _Told:
    """What the gate of one mapping was told."""

    unusual: bool
    pending: set[NexusId] = field(default_factory=set)


class LogicalUnit:
    """A direct-access block device over a volume or a snapshot image."""

    def __init__(self, device: BlockDevice, personality: Personality) -> None:
        assert device.block_bytes in BLOCK_BYTES_SUPPORTED
        assert device.size_bytes >= device.block_bytes
        self.medium: Final = Medium(device)
        self.personality: Final = personality
        # Nothing is written to a read-only device, so it has no write cache to switch off.
        self.mode_pages: Final = ModePages(write_cache=not device.read_only)
        self._lock: Final = threading.Lock()
        self._attentions: Final = UnitAttentions()
        self._started = True
        self._told: Final[dict[Mapping, _Told]] = {}

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
            self._check_state(operation)
            data_in = operation.handler(
                Invocation(
                    unit=self,
                    router=router,
                    operations=OPERATIONS,
                    itl=itl,
                    cdb=cdb,
                    data_out=request.data_out,
                    data_out_wanted_bytes=wanted_bytes,
                )
            )
        except CheckCondition as check:
            sense = check.sense.encode(descriptor_format=self.mode_pages.descriptor_sense)
            return Completion(
                Status.CHECK_CONDITION, sense=sense, data_out_wanted_bytes=wanted_bytes
            )
        if "allocation_length" in cdb:
            data_in = data_in[: cdb["allocation_length"]]
        return Completion(Status.GOOD, data_in=data_in, data_out_wanted_bytes=wanted_bytes)

    def _admit(self, cdb: bytes, itl: ItlNexus) -> Operation:
        """The operation asked for, once nothing is pending that must be reported first.

        SAM-5: a unit attention comes before every other error, on all commands but INQUIRY,
        REPORT LUNS and REQUEST SENSE.
        """
        operation = find(cdb)
        with self._lock:
            if itl.mapping not in self._told:
                refuse(SenseCode.LOGICAL_UNIT_NOT_SUPPORTED)
            self._meet([itl])
            if isinstance(operation, Sense) or not operation.despite_unit_attention:
                condition = self._attentions.take(itl)
                self._tell([itl])
                if condition is not None:
                    refuse(condition)
        if isinstance(operation, Sense):
            raise CheckCondition(operation)
        return operation

    def _check_state(self, operation: Operation) -> None:
        if operation.needs_medium and not self._started:
            refuse(SenseCode.INITIALIZING_COMMAND_REQUIRED)
        if operation.changes_medium and self.write_protected:
            refuse(SenseCode.WRITE_PROTECTED)

    def request_sense(self, itl: ItlNexus) -> Sense:
        """What REQUEST SENSE reports: a unit attention, which it clears, or why it is not ready."""
        with self._lock:
            condition = self._attentions.take(itl)
            if itl.mapping in self._told:
                self._tell([itl])
            if condition is not None:
                return Sense(condition)
            if not self._started:
                return Sense(SenseCode.INITIALIZING_COMMAND_REQUIRED)
        return Sense(SenseCode.NO_ADDITIONAL_SENSE_INFORMATION)

    def set_started(self, started: bool) -> None:
        """START STOP UNIT: a stopped unit refuses what needs the medium, for every nexus."""
        with self._lock:
            self._started = started
            self._tell(self._attentions.known())

    def change_mode_pages(self, data: bytes, offset: int, by: ItlNexus) -> None:
        """MODE SELECT: takes the pages from `offset` on; the other nexuses are told of a change."""
        with self._lock:
            if self.mode_pages.change(self.mode_pages.parse(data, offset)):
                self._attentions.establish(SenseCode.MODE_PARAMETERS_CHANGED, but=by)
            self._tell(self._attentions.known())
        self.written()

    def written(self) -> None:
        """After anything was written, and after WCE may have gone: durable now if WCE is off."""
        if not self.mode_pages.write_cache_enabled and not self.medium.read_only:
            self.medium.flush()

    def reset(self) -> None:
        """LOGICAL UNIT RESET (SAM-5), the tasks ended already: as after power on."""
        with self._lock:
            self._started = True
            self.mode_pages.reset()
            self._attentions.establish(SenseCode.BUS_DEVICE_RESET_OCCURRED)
            self._tell(self._attentions.known())

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
        with self._lock:
            self._attentions.establish(SenseCode.CAPACITY_DATA_HAS_CHANGED)
            self._tell(self._attentions.known())

    def luns_changed(self, mapping: Mapping) -> None:
        """The target of this mapping has another list of logical units."""
        with self._lock:
            ours = [itl for itl in self._attentions.known() if itl.mapping is mapping]
            for itl in ours:
                self._attentions.establish_for(itl, SenseCode.REPORTED_LUNS_DATA_HAS_CHANGED)
            self._tell(ours)

    def luns_reported(self, itl: ItlNexus) -> None:
        """The nexus has read the list: nothing is pending of it."""
        with self._lock:
            if itl.mapping in self._told:
                self._attentions.clear(itl, SenseCode.REPORTED_LUNS_DATA_HAS_CHANGED)
                self._tell([itl])

    def nexus_lost(self, nexus: NexusId) -> None:
        """A nexus is gone and does not come back."""
        with self._lock:
            self._attentions.forget(nexus)
            for told in self._told.values():
                told.pending.discard(nexus)

    def mapped(self, mapping: Mapping, nexuses: Iterable[tuple[NexusId, InitiatorPort]]) -> None:
        """The unit has come to this place, where these nexuses are."""
        with self._lock:
            self._told[mapping] = _Told(self._unusual)
            self._meet(ItlNexus(mapping, *nexus) for nexus in nexuses)
            # Said last: a gate that was closed until now opens for nobody too early.
            mapping.gate.set_pending(mapping.lun, None, self._unusual)

    def meet(self, itl: ItlNexus) -> None:
        """A nexus begins: its first command learns of it, and does not pass the gate."""
        with self._lock:
            if itl.mapping in self._told:
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
            del self._told[mapping]

    def _tell(self, nexuses: Sequence[ItlNexus]) -> None:
        """Tells the gates what is different now, of these nexuses. The lock is held."""
        for mapping, told in self._told.items():
            if told.unusual != self._unusual:
                told.unusual = self._unusual
                mapping.gate.set_pending(mapping.lun, None, self._unusual)
        for itl in nexuses:
            pending = self._told[itl.mapping].pending
            if self._attentions.pending(itl) and itl.nexus not in pending:
                pending.add(itl.nexus)
                itl.mapping.gate.set_pending(itl.mapping.lun, itl.nexus, True)
            elif not self._attentions.pending(itl) and itl.nexus in pending:
                pending.remove(itl.nexus)
                itl.mapping.gate.set_pending(itl.mapping.lun, itl.nexus, False)

    @property
    def _unusual(self) -> bool:
        """Whether a plain READ or WRITE is not just that, for every nexus."""
        return (
            not self._started
            or self.personality.read_only
            or self.mode_pages.software_write_protect
            or (not self.medium.read_only and not self.mode_pages.write_cache_enabled)
        )
