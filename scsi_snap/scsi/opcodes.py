"""The opcode table: which commands there are, their CDBs, and which function answers.

Parsing, dispatch, REPORT SUPPORTED OPERATION CODES and docs/protocols/scsi-commands.md all come
from `OPERATIONS`. A new command is one row here and one function.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from scsi_snap.scsi import (
    block_commands,
    capacity,
    inquiry,
    mode_pages,
    primary_commands,
    provisioning,
    supported_operations,
)
from scsi_snap.scsi.cdb import Cdb, Field, Layout, flag, number, refused
from scsi_snap.scsi.invocation import Invocation
from scsi_snap.scsi.sense import FieldPointer, Sense, SenseCode

Handler = Callable[[Invocation], bytes]
"""Carries a command out and returns its Data-In, uncut; or raises `CheckCondition`."""

DataOut = Callable[[Cdb, int], int]
"""How many bytes of Data-Out a CDB asks for, given the block length in bytes."""

_SERVICE_ACTION_MASK: Final = 0x1F
"""SERVICE ACTION is the low five bits of byte 1 wherever an operation code has any."""


def _nothing(_cdb: Cdb, _block_bytes: int) -> int:
    return 0


def _parameter_list(cdb: Cdb, _block_bytes: int) -> int:
    return cdb["parameter_list_length"]


def _blocks(cdb: Cdb, block_bytes: int) -> int:
    return cdb["transfer_length"] * block_bytes


def _blocks_to_verify(cdb: Cdb, block_bytes: int) -> int:
    if cdb["byte_check"] == block_commands.NO_COMPARE or not cdb["transfer_length"]:
        return 0
    one = cdb["byte_check"] == block_commands.COMPARE_ALL_WITH_ONE
    return block_bytes if one else _blocks(cdb, block_bytes)


def _one_block(cdb: Cdb, block_bytes: int) -> int:
    return 0 if cdb.get("no_data_out_buffer") else block_bytes


@dataclass(frozen=True, slots=True)
class Operation:
    """A row of the table."""

    name: str
    operation_code: int
    layout: Layout
    handler: Handler
    standard: str
    """Where it is defined."""
    service_action: int | None = None
    data_out: DataOut = _nothing
    needs_medium: bool = False
    """Refused while the unit is stopped."""
    changes_medium: bool = False
    """Refused while the unit is write protected."""
    despite_unit_attention: bool = False
    """Carried out while a unit attention is pending (SAM-5)."""
    timeout_s: int = 30
    """The recommended time-out: that of the kernel's SCSI disk driver, unless it may copy much."""


_EVPD = flag("evpd", 1, 0)
_DPO = flag("dpo", 1, 4)
_FUA = flag("fua", 1, 3)
_IMMED = flag("immed", 1, 1)
_LONG_S = 60


def _six(*fields: Field) -> Layout:
    """READ (6) and WRITE (6): 21 bits of LBA, and a length whose zero means 256."""
    return Layout(
        6, Field("lba", 1, 4, 21), number("transfer_length", 4, 1, zero_means=256), *fields
    )


def _ten(protect: str, length_name: str, *fields: Field) -> Layout:
    return Layout(
        10, refused(protect, 1, 7, 3), number("lba", 2, 4), number(length_name, 7, 2), *fields
    )


def _twelve(protect: str, length_name: str, *fields: Field) -> Layout:
    return Layout(
        12, refused(protect, 1, 7, 3), number("lba", 2, 4), number(length_name, 6, 4), *fields
    )


def _sixteen(protect: str, length_name: str, *fields: Field) -> Layout:
    return Layout(
        16, refused(protect, 1, 7, 3), number("lba", 2, 8), number(length_name, 10, 4), *fields
    )


_MODE_SENSE_FIELDS = (
    flag("disable_block_descriptors", 1, 3),
    Field("page_control", 2, 7, 2),
    Field("page_code", 2, 5, 6),
    number("subpage_code", 3, 1),
)
_MODE_SELECT_FIELDS = (
    flag("page_format", 1, 4),
    refused("revert_to_defaults", 1, 1),
    refused("save_pages", 1, 0),
)
_VERIFY_FIELDS = (_DPO, Field("byte_check", 1, 2, 2, block_commands.BYTE_CHECKS))
# PBDATA and LBDATA (obsolete) ask for other data than the block that was sent.
_WRITE_SAME_FIELDS = (
    refused("anchor", 1, 4),
    flag("unmap", 1, 3),
    refused("pbdata", 1, 2),
    refused("lbdata", 1, 1),
)

OPERATIONS: Final = (
    Operation(
        "TEST UNIT READY",
        0x00,
        Layout(6),
        primary_commands.test_unit_ready,
        "SPC-4",
        needs_medium=True,
    ),
    Operation(
        "REQUEST SENSE",
        0x03,
        Layout(6, flag("descriptor_format", 1, 0), number("allocation_length", 4, 1)),
        primary_commands.request_sense,
        "SPC-4",
        despite_unit_attention=True,
    ),
    Operation(
        "READ (6)",
        0x08,
        _six(),
        block_commands.read,
        "SBC-2",
        needs_medium=True,
    ),
    Operation(
        "WRITE (6)",
        0x0A,
        _six(),
        block_commands.write,
        "SBC-2",
        data_out=_blocks,
        needs_medium=True,
        changes_medium=True,
    ),
    Operation(
        "INQUIRY",
        0x12,
        Layout(
            6,
            refused("cmddt", 1, 1),
            _EVPD,
            number("page_code", 2, 1),
            number("allocation_length", 3, 2),
        ),
        inquiry.inquiry,
        "SPC-4",
        despite_unit_attention=True,
    ),
    Operation(
        "MODE SELECT (6)",
        0x15,
        Layout(6, *_MODE_SELECT_FIELDS, number("parameter_list_length", 4, 1)),
        mode_pages.mode_select_6,
        "SPC-4",
        data_out=_parameter_list,
    ),
    Operation(
        "MODE SENSE (6)",
        0x1A,
        Layout(6, *_MODE_SENSE_FIELDS, number("allocation_length", 4, 1)),
        mode_pages.mode_sense_6,
        "SPC-4",
    ),
    Operation(
        "START STOP UNIT",
        0x1B,
        Layout(
            6,
            flag("immed", 1, 0),
            refused("power_condition_modifier", 3, 3, 4),
            refused("power_condition", 4, 7, 4),
            flag("no_flush", 4, 2),
            refused("load_eject", 4, 1),
            flag("start", 4, 0),
        ),
        primary_commands.start_stop_unit,
        "SBC-3",
        timeout_s=_LONG_S,
    ),
    Operation(
        "READ CAPACITY (10)",
        0x25,
        Layout(10),
        capacity.read_capacity_10,
        "SBC-3",
        needs_medium=True,
    ),
    Operation(
        "READ (10)",
        0x28,
        _ten("read_protect", "transfer_length", _DPO, _FUA),
        block_commands.read,
        "SBC-3",
        needs_medium=True,
    ),
    Operation(
        "WRITE (10)",
        0x2A,
        _ten("write_protect", "transfer_length", _DPO, _FUA),
        block_commands.write,
        "SBC-3",
        data_out=_blocks,
        needs_medium=True,
        changes_medium=True,
    ),
    Operation(
        "VERIFY (10)",
        0x2F,
        _ten("verify_protect", "transfer_length", *_VERIFY_FIELDS),
        block_commands.verify,
        "SBC-3",
        data_out=_blocks_to_verify,
        needs_medium=True,
    ),
    Operation(
        "SYNCHRONIZE CACHE (10)",
        0x35,
        Layout(10, _IMMED, number("lba", 2, 4), number("number_of_blocks", 7, 2)),
        block_commands.synchronize_cache,
        "SBC-3",
        needs_medium=True,
        timeout_s=_LONG_S,
    ),
    Operation(
        "WRITE SAME (10)",
        0x41,
        _ten("write_protect", "number_of_blocks", *_WRITE_SAME_FIELDS),
        provisioning.write_same,
        "SBC-3",
        data_out=_one_block,
        needs_medium=True,
        changes_medium=True,
        timeout_s=_LONG_S,
    ),
    Operation(
        "UNMAP",
        0x42,
        Layout(10, refused("anchor", 1, 0), number("parameter_list_length", 7, 2)),
        provisioning.unmap,
        "SBC-3",
        data_out=_parameter_list,
        needs_medium=True,
        changes_medium=True,
        timeout_s=_LONG_S,
    ),
    Operation(
        "MODE SELECT (10)",
        0x55,
        Layout(10, *_MODE_SELECT_FIELDS, number("parameter_list_length", 7, 2)),
        mode_pages.mode_select_10,
        "SPC-4",
        data_out=_parameter_list,
    ),
    Operation(
        "MODE SENSE (10)",
        0x5A,
        Layout(
            10,
            *_MODE_SENSE_FIELDS,
            flag("long_lba_accepted", 1, 4),
            number("allocation_length", 7, 2),
        ),
        mode_pages.mode_sense_10,
        "SPC-4",
    ),
    Operation(
        "READ (16)",
        0x88,
        _sixteen("read_protect", "transfer_length", _DPO, _FUA),
        block_commands.read,
        "SBC-3 5.14",
        needs_medium=True,
    ),
    Operation(
        "WRITE (16)",
        0x8A,
        _sixteen("write_protect", "transfer_length", _DPO, _FUA),
        block_commands.write,
        "SBC-3",
        data_out=_blocks,
        needs_medium=True,
        changes_medium=True,
    ),
    Operation(
        "VERIFY (16)",
        0x8F,
        _sixteen("verify_protect", "transfer_length", *_VERIFY_FIELDS),
        block_commands.verify,
        "SBC-3",
        data_out=_blocks_to_verify,
        needs_medium=True,
    ),
    Operation(
        "SYNCHRONIZE CACHE (16)",
        0x91,
        Layout(16, _IMMED, number("lba", 2, 8), number("number_of_blocks", 10, 4)),
        block_commands.synchronize_cache,
        "SBC-3",
        needs_medium=True,
        timeout_s=_LONG_S,
    ),
    Operation(
        "WRITE SAME (16)",
        0x93,
        _sixteen(
            "write_protect",
            "number_of_blocks",
            *_WRITE_SAME_FIELDS,
            flag("no_data_out_buffer", 1, 0),
        ),
        provisioning.write_same,
        "SBC-3",
        data_out=_one_block,
        needs_medium=True,
        changes_medium=True,
        timeout_s=_LONG_S,
    ),
    Operation(
        "READ CAPACITY (16)",
        0x9E,
        Layout(16, number("allocation_length", 10, 4)),
        capacity.read_capacity_16,
        "SBC-3",
        service_action=0x10,
        needs_medium=True,
    ),
    Operation(
        "REPORT LUNS",
        0xA0,
        Layout(
            12,
            Field("select_report", 2, 7, 8, primary_commands.LUN_SELECTIONS),
            number("allocation_length", 6, 4),
        ),
        primary_commands.report_luns,
        "SPC-4",
        despite_unit_attention=True,
    ),
    Operation(
        "REPORT SUPPORTED OPERATION CODES",
        0xA3,
        Layout(
            12,
            flag("return_timeouts", 2, 7),
            Field("reporting_options", 2, 2, 3, supported_operations.REPORTING_OPTIONS),
            number("requested_operation_code", 3, 1),
            number("requested_service_action", 4, 2),
            number("allocation_length", 6, 4),
        ),
        supported_operations.report_supported_operation_codes,
        "SPC-4",
        service_action=0x0C,
    ),
    Operation(
        "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS",
        0xA3,
        Layout(12, flag("return_extended_data", 2, 7), number("allocation_length", 6, 4)),
        supported_operations.report_supported_task_management_functions,
        "SPC-4",
        service_action=0x0D,
    ),
    Operation(
        "READ (12)",
        0xA8,
        _twelve("read_protect", "transfer_length", _DPO, _FUA),
        block_commands.read,
        "SBC-3",
        needs_medium=True,
    ),
    Operation(
        "WRITE (12)",
        0xAA,
        _twelve("write_protect", "transfer_length", _DPO, _FUA),
        block_commands.write,
        "SBC-3",
        data_out=_blocks,
        needs_medium=True,
        changes_medium=True,
    ),
    Operation(
        "VERIFY (12)",
        0xAF,
        _twelve("verify_protect", "transfer_length", *_VERIFY_FIELDS),
        block_commands.verify,
        "SBC-3",
        data_out=_blocks_to_verify,
        needs_medium=True,
    ),
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
