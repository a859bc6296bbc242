"""A command on its way down and its outcome on the way up; the fields of the native ones."""

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, NewType

if TYPE_CHECKING:
    from scsi_snap.scsi.nexus import InitiatorPort

NexusId = NewType("NexusId", int)
"""An I_T nexus: one initiator port with one target port (SAM-5). Never used again."""


class Status(IntEnum):
    """Status codes (SAM-5)."""

    GOOD = 0x00
    CHECK_CONDITION = 0x02
    CONDITION_MET = 0x04
    BUSY = 0x08
    RESERVATION_CONFLICT = 0x18


class TaskAttribute(IntEnum):
    """Task attributes (SAM-5) with the codes of RFC 7143, 11.3.1."""

    UNTAGGED = 0
    SIMPLE = 1
    ORDERED = 2
    HEAD_OF_QUEUE = 3
    ACA = 4


class ExpectedDirection(IntEnum):
    """The direction in which the initiator expects data to move."""

    NONE = 0
    IN = 1
    OUT = 2
    UNSAID = 3
    """The transport does not say, and cannot report a residual: a buffer of the kernel's ring."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What the initiator expects to move, which its command may contradict."""

    direction: ExpectedDirection
    bytes: int
    """The Expected Data Transfer Length (RFC 7143, 11.3.4)."""


@dataclass(frozen=True, slots=True)
class Request:
    """A SCSI command with its whole Data-Out buffer."""

    nexus: NexusId
    initiator: "InitiatorPort"
    cdb: bytes
    """As it came: perhaps longer than its operation code needs, perhaps shorter."""
    data_out: bytes
    """What the initiator sent: at least what the CDB asks for, unless the initiator expects to send
    less, or the CDB asks for more than a command may transfer. It may be more.
    """
    expected: Expected
    repeated: bool = False
    """It was begun before, by a process that has died, and nobody knows how far that came."""


@dataclass(frozen=True, slots=True)
class Completion:
    """The outcome of a command."""

    status: Status
    sense: bytes = b""
    data_in: bytes = b""
    """Cut to the allocation length, not to the initiator's room."""
    data_out_wanted_bytes: int = 0
    """How many bytes of Data-Out the CDB asked for."""
