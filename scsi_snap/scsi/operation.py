"""What a row of the opcode table is, and the shapes of CDBs that several commands share.

Each module of commands ends with its rows; `opcodes` puts them together.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from scsi_snap.scsi.cdb import Cdb, Field, Layout, flag, number, refused
from scsi_snap.scsi.invocation import Invocation
from scsi_snap.scsi.request import Status

if TYPE_CHECKING:
    from scsi_snap.scsi.logical_unit import LogicalUnit

Handler = Callable[[Invocation], bytes | Status]
"""Carries a command out and returns its Data-In, uncut, for GOOD; or a status that says more than
that, without data; or raises `CheckCondition`.
"""

Offer = Callable[["LogicalUnit"], bool]
"""Whether a unit has a command; it stays so while the unit lives."""

DataOut = Callable[[Cdb, int], int]
"""How many bytes of Data-Out a CDB asks for, given the block length in bytes."""

DataIn = Callable[[Cdb], int]
"""How much Data-In a CDB asks for at most, in whatever it counts; zero is none."""

LONG_S: Final = 60
"""The recommended time-out of what may copy much."""


class Access(Enum):
    """What a command does to a logical unit that another nexus has reserved (SPC-4, 5.13.1)."""

    ANY = "nothing that a reservation is about"
    RESERVATION = "it makes or shows reservations, and sees to conflicts itself"
    READINESS = "asks whether the unit is ready: conflicts only with RESERVE (SPC-2)"
    READ = "reads the medium: conflicts with exclusive access"
    WRITE = "changes the medium or the unit: conflicts with write exclusive too"


def by_every_unit(_unit: "LogicalUnit") -> bool:
    """Always."""
    return True


def no_data_out(_cdb: Cdb, _block_bytes: int) -> int:
    """None."""
    return 0


def up_to_allocation_length(cdb: Cdb) -> int:
    """ALLOCATION LENGTH; none where the CDB has no such field."""
    return cdb.get("allocation_length")


def never(_cdb: Cdb) -> bool:
    """For no CDB."""
    return False


def parameter_list(cdb: Cdb, _block_bytes: int) -> int:
    """As many bytes as PARAMETER LIST LENGTH says."""
    return cdb["parameter_list_length"]


def blocks(cdb: Cdb, block_bytes: int) -> int:
    """The blocks of TRANSFER LENGTH."""
    return cdb["transfer_length"] * block_bytes


@dataclass(frozen=True, slots=True)
class Operation:
    """A row of the table."""

    name: str
    operation_code: int
    layout: Layout
    handler: Handler
    standard: str
    """Where it is defined."""
    access: Access
    harmless: Callable[[Cdb], bool] = never
    """Whether this CDB does nothing that a reservation is about, whatever `access` says."""
    service_action: int | None = None
    data_out: DataOut = no_data_out
    """The transports have to know the same (rust/datapath/src/scsi/data_out.rs)."""
    data_in: DataIn = up_to_allocation_length
    bears_data_out: bool = False
    """Carried out, and its Data-In not returned, where the initiator expects to send data: it has
    no effect, and the residual says that nothing moved.
    """
    needs_medium: bool = False
    """Refused while the unit is stopped."""
    changes_medium: bool = False
    """Refused while the unit is write protected; FORMAT UNIT and SANITIZE begin after its end."""
    despite_unit_attention: bool = False
    """Carried out while a unit attention is pending (SAM-5)."""
    despite_background: bool = False
    """Carried out while the unit is formatted or sanitized, and after that has failed (SBC-4)."""
    once: bool = False
    """Carried out a second time it may do another thing than the first: a transport that may have
    to give it again, as its process has died over it, notes when it begins and what became of it
    (docs/decisions/repeated-commands.md). It has no Data-In.
    """
    timeout_s: int = 30
    """The recommended time-out: that of the kernel's SCSI disk driver, unless it may copy much."""
    offered: Offer = by_every_unit
    """A unit without it answers as if the command did not exist, and does not report it."""


DPO: Final = flag("dpo", 1, 4)
FUA: Final = flag("fua", 1, 3)
IMMED: Final = flag("immed", 1, 1)


def six(*fields: Field) -> Layout:
    """READ (6) and WRITE (6): 21 bits of LBA, and a length whose zero means 256."""
    return Layout(
        6, Field("lba", 1, 4, 21), number("transfer_length", 4, 1, zero_means=256), *fields
    )


def ten(protect: str, length_name: str, *fields: Field) -> Layout:
    """LBA of four bytes, length of two."""
    return Layout(
        10, refused(protect, 1, 7, 3), number("lba", 2, 4), number(length_name, 7, 2), *fields
    )


def twelve(protect: str, length_name: str, *fields: Field) -> Layout:
    """LBA of four bytes, length of four."""
    return Layout(
        12, refused(protect, 1, 7, 3), number("lba", 2, 4), number(length_name, 6, 4), *fields
    )


def sixteen(protect: str, length_name: str, *fields: Field) -> Layout:
    """LBA of eight bytes, length of four."""
    return Layout(
        16, refused(protect, 1, 7, 3), number("lba", 2, 8), number(length_name, 10, 4), *fields
    )
