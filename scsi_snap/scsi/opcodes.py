"""The opcode table: which commands there are, their CDBs, and which function answers.

Parsing, dispatch, REPORT SUPPORTED OPERATION CODES and docs/protocols/scsi-commands.md all come
from `OPERATIONS`. A new command is one row and one function, in the module of its kind.
"""

from typing import Final

from scsi_snap.scsi import (
    block_commands,
    capacity,
    inquiry,
    medium_commands,
    mode_pages,
    persistent_reserve_in,
    persistent_reserve_out,
    primary_commands,
    provisioning,
    reserve_commands,
    supported_operations,
)
from scsi_snap.scsi.operation import Operation
from scsi_snap.scsi.sense import FieldPointer, Sense, SenseCode

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
            *provisioning.OPERATIONS,
        ),
        key=_order,
    )
)
"""By operation code, then service action."""

_BY_CODE: Final[dict[int, dict[int | None, Operation]]] = {}
for _operation in OPERATIONS:
    _BY_CODE.setdefault(_operation.operation_code, {})[_operation.service_action] = _operation

_UNKNOWN_CODE = Sense(SenseCode.INVALID_COMMAND_OPERATION_CODE)
_UNKNOWN_ACTION = Sense(SenseCode.INVALID_FIELD_IN_CDB, field=FieldPointer(1, 4, in_cdb=True))


def find(cdb: bytes) -> Operation | Sense:
    """The operation of a CDB, or why there is none."""
    actions = _BY_CODE.get(cdb[0]) if cdb else None
    if actions is None:
        return _UNKNOWN_CODE
    action = None if None in actions else cdb[1] & _SERVICE_ACTION_MASK if len(cdb) > 1 else 0
    return actions.get(action, _UNKNOWN_ACTION)
