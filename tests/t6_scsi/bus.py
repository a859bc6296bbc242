"""A bus to put commands on, and what is at its other end."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from scsi_snap.scsi.caretaker import Caretaker
from scsi_snap.scsi.identity import Identity, Personality
from scsi_snap.scsi.logical_unit import LogicalUnit
from scsi_snap.scsi.nexus import InitiatorPort, TargetPort
from scsi_snap.scsi.record_store import RecordStore
from scsi_snap.scsi.request import ExpectedDirection
from scsi_snap.scsi.target import Target
from tests.t6_scsi.fakes import MemoryDevice, MemoryEraser, RecordingGate

UNIT_UUID = UUID("6f9619ff-8b86-4d01-b42d-00cf4fc964ff")
TARGET_NAME = "iqn.2026-11.org.example:disk"

GOOD, CHECK_CONDITION, CONDITION_MET, BUSY, RESERVATION_CONFLICT = 0x00, 0x02, 0x04, 0x08, 0x18


def initiator(nexus: int) -> InitiatorPort:
    """The initiator port that a nexus of these tests is of."""
    return InitiatorPort(f"iqn.2026-11.org.example:host{nexus}", nexus.to_bytes(6, "big"))


def expecting(data_out: bytes) -> tuple[int, int]:
    """What an initiator expects to move that sends these bytes; without any it does not say."""
    direction = ExpectedDirection.OUT if data_out else ExpectedDirection.NONE
    return direction, len(data_out)


@dataclass
class Bus:
    """One initiator, nexus 1, and the unit at LUN 0. Unit attentions of the start are gone."""

    device: MemoryDevice
    unit: LogicalUnit
    target: Target
    gate: RecordingGate
    eraser: MemoryEraser
    begun: set[int] = field(default_factory=set)

    def begin(self, nexus: int) -> None:
        self.begun.add(nexus)
        self.target.nexus_begins(nexus, initiator(nexus))

    def lose(self, nexus: int) -> None:
        self.begun.discard(nexus)
        self.target.nexus_lost(nexus)

    def command(
        self, cdb: list[int], data_out: bytes = b"", *, lun: int = 0, nexus: int = 1
    ) -> tuple[int, bytes, bytes, int]:
        """Status, sense, Data-In, bytes of Data-Out wanted. A nexus begins with its first."""
        if nexus not in self.begun:
            self.begin(nexus)
        return self.target.execute(nexus, lun, bytes(cdb), 1, data_out, expecting(data_out))

    def good(self, cdb: list[int], data_out: bytes = b"", *, lun: int = 0, nexus: int = 1) -> bytes:
        """The Data-In of a command that must end in GOOD."""
        status, sense, data_in, _ = self.command(cdb, data_out, lun=lun, nexus=nexus)
        assert (status, sense.hex()) == (GOOD, "")
        return data_in

    def refused(
        self, cdb: list[int], data_out: bytes = b"", *, lun: int = 0, nexus: int = 1
    ) -> bytes:
        """The sense data of a command that must end in CHECK CONDITION."""
        status, sense, data_in, _ = self.command(cdb, data_out, lun=lun, nexus=nexus)
        assert status == CHECK_CONDITION
        assert data_in == b""
        return sense

    def conflicts(
        self, cdb: list[int], data_out: bytes = b"", *, lun: int = 0, nexus: int = 1
    ) -> bool:
        """Whether the command ends in RESERVATION CONFLICT, which comes without sense data."""
        status, sense, data_in, _ = self.command(cdb, data_out, lun=lun, nexus=nexus)
        assert status != RESERVATION_CONFLICT or (sense, data_in) == (b"", b"")
        return status == RESERVATION_CONFLICT

    def clear_attentions(self, nexus: int, lun: int = 0) -> None:
        while self.command([0x00] * 6, nexus=nexus, lun=lun)[0] != GOOD:
            pass


def make_bus(
    device: MemoryDevice,
    store: RecordStore | None = None,
    caretaker: Caretaker | None = None,
    **traits: Any,
) -> Bus:
    """`traits` are those of its `Personality`."""
    gate = RecordingGate()
    target = Target(TargetPort(TARGET_NAME), gate)
    personality = Personality(Identity(UNIT_UUID), **traits)
    eraser = MemoryEraser()
    unit = LogicalUnit(device, personality, store=store, eraser=eraser, caretaker=caretaker)
    target.add_unit(0, unit)
    bus = Bus(device, unit, target, gate, eraser)
    if unit.reservations.lost is None:
        bus.clear_attentions(1)
    return bus
