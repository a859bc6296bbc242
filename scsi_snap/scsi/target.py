"""The target device: its task router and what of task management is not about tasks.

The router finds the logical unit that an eight-byte LUN means; where there is none, a null object
answers. The map from number to unit is replaced whole at each change, so that a command looks at
one version of it without a lock.
"""

import threading
from collections.abc import Iterable
from types import MappingProxyType
from typing import Final

from scsi_snap.scsi import lun_address
from scsi_snap.scsi.identity import Identity
from scsi_snap.scsi.limits import LUNS_MAX
from scsi_snap.scsi.logical_unit import LogicalUnit
from scsi_snap.scsi.missing_unit import MissingLogicalUnit
from scsi_snap.scsi.nexus import Gate, InitiatorPort, ItlNexus, Mapping, OpenGate, TargetPort
from scsi_snap.scsi.request import (
    Expected,
    ExpectedDirection,
    NexusId,
    Request,
    Status,
    TaskAttribute,
)
from scsi_snap.scsi.sense import Sense, SenseCode
from scsi_snap.scsi.task_management import SUPPORTED, Function, Response, event_answer

_Places = MappingProxyType[int, tuple[Mapping, LogicalUnit]]


class Target:
    """A target device with one target port; a `CommandSet` for the native transport.

    Every method may be called from any thread at any time.
    """

    def __init__(
        self, port: TargetPort, gate: Gate | None = None, *, tells_resets: bool = False
    ) -> None:
        """`tells_resets`: the transport itself tells its initiators of a reset that has come
        through it, as the kernel's target does.
        """
        self._tells_resets: Final = tells_resets
        self._port: Final = port
        self._gate: Gate = gate or OpenGate()
        self._missing: Final = MissingLogicalUnit()
        self._changing: Final = threading.Lock()
        self._places: _Places = MappingProxyType({})
        self._nexuses: Final[dict[NexusId, InitiatorPort]] = {}
        # What each number last meant, whether it still does or not.
        self._latest: Final[dict[int, Identity]] = {}
        self._neighbours: tuple[tuple[ItlNexus, LogicalUnit], ...] = ()

    def set_gate(self, gate: Gate) -> None:
        """Names the gate of the native target, which is made after this one. No unit is there
        yet.
        """
        assert not self._places
        self._gate = gate

    def add_unit(self, number: int, unit: LogicalUnit, *, read_only: bool = False) -> None:
        """Maps a unit; initiators are told by unit attention on the units they know, and on this
        one, where INQUIRY data has changed too if the number meant another unit before.
        `read_only`: write protected at this place, whatever the unit is.
        """
        assert 0 <= number < LUNS_MAX
        mapping = Mapping(lun_address.encode(number), self._port, self._gate, read_only)
        with self._changing:
            assert number not in self._places, "the LUN is in use"
            unit.nexuses.mapped(mapping, self._nexuses.items())
            self._places = MappingProxyType({**self._places, number: (mapping, unit)})
            identity = unit.personality.identity
            if self._latest.setdefault(number, identity) != identity:
                unit.nexuses.establish_at(mapping, SenseCode.INQUIRY_DATA_HAS_CHANGED)
            self._latest[number] = identity
        self._tell_luns_changed(self._places)

    def remove_unit(self, number: int) -> None:
        """Unmaps a unit. Commands that are in it end as they would have."""
        with self._changing:
            mapping, unit = self._places[number]
            others = {each: place for each, place in self._places.items() if each != number}
            self._places = MappingProxyType(others)
            unit.unmapped(mapping)
        self._tell_luns_changed(self._places)

    def withdraw(self) -> None:
        """The port is no longer there, and no nexus is; the units stay what they are, and who
        comes back to them by another such port has only lost a nexus.
        """
        with self._changing:
            assert not self._nexuses
            for mapping, unit in self._places.values():
                unit.nexuses.withdrawn(mapping)
            self._places = MappingProxyType({})

    def _tell_luns_changed(self, places: _Places) -> None:
        for mapping, unit in places.values():
            unit.nexuses.establish_at(mapping, SenseCode.REPORTED_LUNS_DATA_HAS_CHANGED)

    def execute(
        self,
        nexus: int,
        lun: int,
        cdb: bytes,
        attribute: int,
        data_out: bytes,
        expected: tuple[int, int],
        repeated: bool = False,
    ) -> tuple[int, bytes, bytes, int]:
        """Carries a command out: status, sense data, Data-In, bytes of Data-Out that it wanted.

        `lun` is the eight-byte LUN as an integer. The transport gives commands the order that their
        task attributes ask for; an ACA task is refused, as there is never an ACA condition (SAM-5).
        `expected`: the `ExpectedDirection` and the number of bytes. The transport cuts Data-In to
        that and reports the residual. `repeated`: a process that has died was carrying it out.
        """
        initiator = self._nexuses[NexusId(nexus)]
        direction, expected_bytes = expected
        request = Request(
            NexusId(nexus),
            initiator,
            bytes(cdb),
            bytes(data_out),
            Expected(ExpectedDirection(direction), expected_bytes),
            repeated,
        )
        place = self._place(lun)
        if attribute == TaskAttribute.ACA:
            in_descriptors = place is not None and place[1].mode_pages.descriptor_sense
            sense = Sense(SenseCode.INVALID_MESSAGE_ERROR).encode(descriptor_format=in_descriptors)
            return Status.CHECK_CONDITION, sense, b"", 0
        if place is None:
            done = self._missing.execute(request, self)
        else:
            mapping, unit = place
            began_ns = unit.statistics.now_ns()
            done = unit.execute(request, mapping, self)
            unit.statistics.count(request.cdb, len(request.data_out), done, began_ns)
        return done.status, done.sense, done.data_in, done.data_out_wanted_bytes

    def _place(self, lun: int) -> tuple[Mapping, LogicalUnit] | None:
        number = lun_address.decode(lun)
        return None if number is None else self._places.get(number)

    def luns(self) -> list[int]:
        """The eight-byte LUNs of every unit, as integers, by number."""
        return [mapping.lun for _, (mapping, _) in sorted(self._places.items())]

    def places(self) -> list[tuple[Mapping, LogicalUnit]]:
        """Every unit with its place, by number."""
        return [place for _, place in sorted(self._places.items())]

    def neighbours(self) -> tuple[tuple[ItlNexus, LogicalUnit], ...]:
        """What `set_neighbours` has named."""
        return self._neighbours

    def set_neighbours(self, neighbours: Iterable[tuple[ItlNexus, LogicalUnit]]) -> None:
        """Names the units of other targets that every initiator which uses this one sees too."""
        self._neighbours = tuple(neighbours)

    def reached(self, nexus: int) -> list[tuple[ItlNexus, LogicalUnit]]:
        """Every unit here, as the nexus reaches it: to be a neighbour of another target."""
        return [(self._itl(mapping, nexus), unit) for mapping, unit in self._places.values()]

    def luns_reported(self, nexus: int) -> None:
        """A nexus has read the list of logical units."""
        for mapping, unit in self._places.values():
            unit.nexuses.luns_reported(self._itl(mapping, nexus))

    def task_management(
        self,
        nexus: int,
        lun: int,
        function: int,
    ) -> int:
        """What a function does beside ending tasks, which is done by now. The response code, and
        above it what the function answers with (`event_answer`).
        """
        places = self._places.values()
        if function in (Function.TARGET_WARM_RESET, Function.TARGET_COLD_RESET):
            for mapping, unit in places:
                self._reset(mapping, unit)
            return Response.FUNCTION_COMPLETE
        if function == Function.I_T_NEXUS_RESET:
            for mapping, unit in places:
                unit.nexus_reset(self._itl(mapping, nexus))
            return Response.FUNCTION_COMPLETE
        if function == Function.TASK_REASSIGN:
            return Response.TASK_ALLEGIANCE_REASSIGNMENT_NOT_SUPPORTED
        if function not in SUPPORTED:
            return Response.FUNCTION_NOT_SUPPORTED
        place = self._place(lun)
        if place is None:
            return Response.LUN_DOES_NOT_EXIST
        if function == Function.QUERY_ASYNCHRONOUS_EVENT:
            return event_answer(place[1].nexuses.waiting(self._itl(place[0], nexus)))
        if function == Function.LOGICAL_UNIT_RESET:
            self._reset(*place)
        return Response.FUNCTION_COMPLETE

    def _reset(self, mapping: Mapping, unit: LogicalUnit) -> None:
        unit.reset(mapping if self._tells_resets else None)

    def _itl(self, mapping: Mapping, nexus: int) -> ItlNexus:
        return ItlNexus(mapping, NexusId(nexus), self._nexuses[NexusId(nexus)])

    def nexus_begins(self, nexus: int, initiator: InitiatorPort, *, quietly: bool = False) -> None:
        """A nexus comes: to be said before the transport takes its first command. `quietly`: its
        initiators were here before this process and have seen no end of the former one, so they
        are told of none, but by a unit that has lost what they had chosen.

        Without it the fast path, not knowing the nexus, would carry out commands that unit
        attentions must come before.
        """
        with self._changing:
            self._nexuses[NexusId(nexus)] = initiator
            for mapping, unit in self._places.values():
                itl, knows = self._itl(mapping, nexus), unit.kept_modes.lost is None
                unit.nexuses.meet(itl, quietly=quietly and knows)

    def nexus_lost(self, nexus: int) -> None:
        """A nexus is gone, and its commands have ended; or it was said to begin and did not."""
        with self._changing:
            self._nexuses.pop(NexusId(nexus), None)
        for _, unit in self._places.values():
            unit.nexus_lost(NexusId(nexus))
