"""The opcode table: which commands there are, their CDBs, and which function answers.

Parsing, dispatch, REPORT SUPPORTED OPERATION CODES and docs/protocols/scsi-commands.md all come
from `OPERATIONS`. A new command is one row and one function, in the module of its kind. A unit's
own `CommandTable` has the rows that it offers.
"""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Final

from scsi_snap.scsi import (
    atomic_commands,
    block_commands,
    cache_commands,
    capacity,
    defect_data,
    diagnostics,
    extended_copy,
    format_unit,
    identifying_information,
    inquiry,
    lba_status,
    log_commands,
    medium_commands,
    mode_pages,
    persistent_reserve_in,
    persistent_reserve_out,
    primary_commands,
    provisioning,
    receive_copy_results,
    reserve_commands,
    sanitize,
    supported_operations,
    target_port_groups,
    verify_commands,
)
from scsi_snap.scsi.operation import LONG_S, Operation
from scsi_snap.scsi.sense import FieldPointer, Sense, SenseCode

if TYPE_CHECKING:
    from scsi_snap.scsi.logical_unit import LogicalUnit

_SERVICE_ACTION_MASK: Final = 0x1F
"""SERVICE ACTION is the low five bits of byte 1 wherever an operation code has any."""


def _order(operation: Operation) -> tuple[int, int]:
    return operation.operation_code, operation.service_action or 0


OPERATIONS: Final = tuple(
    sorted(
        (
            *primary_commands.OPERATIONS,
            *inquiry.OPERATIONS,
            *mode_pages.OPERATIONS,
            *medium_commands.OPERATIONS,
            *reserve_commands.OPERATIONS,
            *persistent_reserve_in.OPERATIONS,
            *persistent_reserve_out.OPERATIONS,
            *supported_operations.OPERATIONS,
            *capacity.OPERATIONS,
            *block_commands.OPERATIONS,
            *verify_commands.OPERATIONS,
            *cache_commands.OPERATIONS,
            *atomic_commands.OPERATIONS,
            *provisioning.OPERATIONS,
            *diagnostics.OPERATIONS,
            *identifying_information.OPERATIONS,
            *log_commands.OPERATIONS,
            *target_port_groups.OPERATIONS,
            *lba_status.OPERATIONS,
            *defect_data.OPERATIONS,
            *extended_copy.OPERATIONS,
            *receive_copy_results.OPERATIONS,
            *format_unit.OPERATIONS,
            *sanitize.OPERATIONS,
        ),
        key=_order,
    )
)
"""By operation code, then service action."""

_UNKNOWN_CODE = Sense(SenseCode.INVALID_COMMAND_OPERATION_CODE)
_UNKNOWN_ACTION = Sense(SenseCode.INVALID_FIELD_IN_CDB, field=FieldPointer(1, 4, in_cdb=True))


class CommandTable:
    """Some of the rows, to be found by CDB."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self.operations: Final = operations
        self._by_code: Final[dict[int, dict[int | None, Operation]]] = {}
        for each in operations:
            self._by_code.setdefault(each.operation_code, {})[each.service_action] = each

    def find(self, cdb: bytes) -> Operation | Sense:
        """The operation of a CDB, or why there is none."""
        actions = self._by_code.get(cdb[0]) if cdb else None
        if actions is None:
            return _UNKNOWN_CODE
        action = None if None in actions else cdb[1] & _SERVICE_ACTION_MASK if len(cdb) > 1 else 0
        return actions.get(action, _UNKNOWN_ACTION)


_table = cache(CommandTable)
"""Units that offer the same share one table."""

ALL: Final = _table(OPERATIONS)


def once_codes() -> dict[int, bool]:
    """The operation codes of what must not be carried out twice, and whether it may take long."""
    meant = sorted((each.operation_code, each.timeout_s >= LONG_S) for each in OPERATIONS if each.once)
    # Of the actions of one code the longest decides.
    return dict(meant)


def offered_by(unit: "LogicalUnit") -> CommandTable:
    """The commands of a unit."""
    return _table(tuple(each for each in OPERATIONS if each.offered(unit)))
