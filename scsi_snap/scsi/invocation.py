"""A command being carried out: all that an opcode's handler may look at."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from scsi_snap.scsi.cdb import Cdb
from scsi_snap.scsi.nexus import ItlNexus, Mapping
from scsi_snap.scsi.request import Expected
from scsi_snap.scsi.sense import SenseCode, refuse
from scsi_snap.scsi.transfer import first_blocks

if TYPE_CHECKING:
    from scsi_snap.scsi.logical_unit import LogicalUnit


class Router(Protocol):
    """What a logical unit may ask of the target it is in."""

    def luns(self) -> Sequence[int]:
        """The eight-byte LUNs, as integers, ascending by number."""

    def places(self) -> "Sequence[tuple[Mapping, LogicalUnit]]":
        """The logical units of this view of the target, with their places: all that an initiator
        which uses it may have copied from or to.
        """

    def neighbours(self) -> "Sequence[tuple[ItlNexus, LogicalUnit]]":
        """Logical units beside those of this view that every initiator which uses it sees too, and
        the nexus by which each is reached: where a transport gives each unit a view of its own.
        """

    def luns_reported(self, nexus: int) -> None:
        """A nexus has the list: REPORTED LUNS DATA HAS CHANGED is settled on every unit."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """One command, its CDB valid, every check that is not the handler's own behind it."""

    unit: "LogicalUnit"
    router: Router
    itl: ItlNexus
    cdb: Cdb
    data_out: bytes
    data_out_wanted_bytes: int
    expected: Expected
    repeated: bool = False
    """As in `Request`."""

    def parameter_list(self) -> bytes:
        """The Data-Out parameter list, whole; a list cut short on the way is no list."""
        if len(self.data_out) < self.data_out_wanted_bytes:
            refuse(SenseCode.PARAMETER_LIST_LENGTH_ERROR)
        return self.data_out[: self.data_out_wanted_bytes]

    def block_data(self) -> bytes:
        """The Data-Out blocks, whole: for commands that mean nothing on a part of them."""
        if len(self.data_out) < self.data_out_wanted_bytes:
            refuse(SenseCode.INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT)
        return self.data_out[: self.data_out_wanted_bytes]

    def exact_block_data(self) -> bytes:
        """The same, for commands that would mean another thing if there were more of it."""
        if self.expected.bytes != self.data_out_wanted_bytes:
            refuse(SenseCode.INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT)
        return self.block_data()

    def first_blocks(self) -> bytes:
        """As much of the Data-Out blocks as came, for commands that can do with a part of them."""
        block_bytes = self.unit.medium.block_bytes
        return first_blocks(self.data_out, self.data_out_wanted_bytes, self.expected, block_bytes)
