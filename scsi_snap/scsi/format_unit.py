"""FORMAT UNIT (SBC-4, 5.4).

A format makes every block read as zeros. It is a write like others: snapshots keep what was there,
and nothing about it outlives the process. There are no defects: defect lists are empty, and one
that is not is refused; so is protection information.
"""

from typing import TYPE_CHECKING, Final

from scsi_snap.scsi.background import Kind, Run
from scsi_snap.scsi.cdb import Cdb, Field, Layout, flag, refused
from scsi_snap.scsi.limits import BACKGROUND_ERASE_BYTES
from scsi_snap.scsi.operation import LONG_S, Access, Operation
from scsi_snap.scsi.sense import refuse_parameter

if TYPE_CHECKING:
    from scsi_snap.scsi.invocation import Invocation
    from scsi_snap.scsi.logical_unit import LogicalUnit

_SHORT_HEADER_BYTES, _LONG_HEADER_BYTES = 4, 8
_FOV, _IP, _IMMED = 0x80, 0x08, 0x02
_OPTIONS: Final = {6: "DPRY", 5: "DCRT", 4: "STPF", 3: "IP", 2: "DSP"}
"""By bit: they mean something only with FOV."""

_SHORT_BLOCK, _LONG_BLOCK, _FROM_INDEX, _PHYSICAL = 0b000, 0b011, 0b100, 0b101
DEFECT_LIST_FORMATS: Final = frozenset({_SHORT_BLOCK, _LONG_BLOCK, _FROM_INDEX, _PHYSICAL})


def format_unit(invocation: "Invocation") -> bytes:
    """FORMAT UNIT."""
    cdb, unit = invocation.cdb, invocation.unit
    immediate = _options(invocation) if cdb["format_data"] else _no_options(cdb)
    operation = unit.background.start(
        Kind.FORMAT, lambda run: _zero(run, unit), prepare=lambda: None
    )
    if not immediate:
        unit.background.finish(operation)
    return b""


def _no_options(cdb: Cdb) -> bool:
    """Without FMTDATA nothing may be said about a list."""
    for name in ("long_list", "complete_list", "defect_list_format"):
        if cdb[name]:
            cdb.refuse(name)
    return False


def _options(invocation: "Invocation") -> bool:
    """IMMED of the parameter list header, short or long.

    DPRY, DCRT and STPF are about defects and certification, which there are none of. IP would ask
    for another pattern than zeros.
    """
    data = invocation.parameter_list()
    if data[0] & 0x07:
        refuse_parameter(0, 2)
    for bit in _OPTIONS:
        if data[1] & 1 << bit and not data[1] & _FOV:
            refuse_parameter(1, bit)
    if data[1] & _IP:
        refuse_parameter(1, 3)
    length_field = 2
    if invocation.cdb["long_list"]:
        length_field = 4
        if data[3]:
            refuse_parameter(3, 7 if data[3] & 0xF0 else 3)
    if any(data[length_field:]):
        refuse_parameter(length_field)
    return bool(data[1] & _IMMED)


def _zero(run: Run, unit: "LogicalUnit") -> None:
    medium = unit.medium
    block_count, block_bytes = medium.block_count, medium.block_bytes
    zero = medium.discard if unit.unmaps else medium.write_zeroes
    step = BACKGROUND_ERASE_BYTES // block_bytes
    run.total_bytes = block_count * block_bytes
    for lba in range(0, block_count, step):
        blocks = min(step, block_count - lba)
        zero(lba, blocks)
        run.advance(blocks * block_bytes)
    medium.flush()


def _header_bytes(cdb: Cdb, _block_bytes: int) -> int:
    if not cdb["format_data"]:
        return 0
    return _LONG_HEADER_BYTES if cdb["long_list"] else _SHORT_HEADER_BYTES


OPERATIONS: Final = (
    Operation(
        "FORMAT UNIT",
        0x04,
        Layout(
            6,
            refused("format_protection", 1, 7, 2),
            flag("long_list", 1, 5),
            flag("format_data", 1, 4),
            flag("complete_list", 1, 3),
            Field("defect_list_format", 1, 2, 3, DEFECT_LIST_FORMATS),
            refused("fast_format", 4, 1, 2),
        ),
        format_unit,
        "SBC-4",
        Access.WRITE,
        data_out=_header_bytes,
        needs_medium=True,
        changes_medium=True,
        despite_background=True,
        timeout_s=LONG_S,
    ),
)
