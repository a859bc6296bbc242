"""LOG SENSE and LOG SELECT (SPC-4, 6.7 and 6.8).

Counters can be reset, and nothing else can be changed: no value is saved, no counter has a
threshold, and a list parameter is what it is.
"""

from typing import TYPE_CHECKING, Final

from scsi_snap.scsi import log_pages
from scsi_snap.scsi.cdb import Field, Layout, flag, number, refused
from scsi_snap.scsi.log_pages import ALL_SUBPAGES, SUPPORTED_PAGES, Parameter
from scsi_snap.scsi.operation import Access, Operation, parameter_list
from scsi_snap.scsi.sense import SenseCode, refuse_parameter

if TYPE_CHECKING:
    from scsi_snap.scsi.cdb import Cdb
    from scsi_snap.scsi.invocation import Invocation
    from scsi_snap.scsi.logical_unit import LogicalUnit

_THRESHOLDS, _CUMULATIVE, _DEFAULT_THRESHOLDS, _DEFAULT_CUMULATIVE = range(4)
_HEADER_BYTES: Final = 4


def log_sense(invocation: "Invocation") -> bytes:
    """One page, its parameters from PARAMETER POINTER on."""
    cdb, unit = invocation.cdb, invocation.unit
    page_code, subpage_code = cdb["page_code"], cdb["subpage_code"]
    listed = log_pages.listed_by(unit, page_code, subpage_code)
    if listed is not None:
        if cdb["parameter_pointer"]:
            cdb.refuse("parameter_pointer")
        return listed
    page = log_pages.offered_by(unit).get(page_code)
    if page is None:
        cdb.refuse("page_code")
    if subpage_code:
        cdb.refuse("subpage_code")
    parameters = page(unit)
    wanted = [each for each in parameters if each.code >= cdb["parameter_pointer"]]
    if parameters and not wanted:
        cdb.refuse("parameter_pointer")
    if cdb["page_control"] != _CUMULATIVE:
        wanted = [_default(each) for each in wanted]
    return log_pages.with_parameters(page_code, wanted)


def _default(parameter: Parameter) -> Parameter:
    """A counter's thresholds and defaults are zero, and DU is not said of them; PC means nothing to
    a list parameter."""
    if not parameter.is_counter:
        return parameter
    return Parameter(parameter.code, parameter.control & 0x7F, bytes(len(parameter.value)))


def log_select(invocation: "Invocation") -> bytes:
    """Resets counters: those of the pages that the CDB names, or of the parameter list."""
    cdb, unit = invocation.cdb, invocation.unit
    length = cdb["parameter_list_length"]
    saves_current = cdb["page_control"] in (_THRESHOLDS, _CUMULATIVE)
    if not length:
        _check_selected(unit, cdb)
        if cdb["save_parameters"] and saves_current:
            cdb.refuse("save_parameters")
        if cdb["parameter_code_reset"] or cdb["page_control"] == _DEFAULT_CUMULATIVE:
            _reset(invocation, cdb["page_code"])
        return b""
    for name in ("page_code", "subpage_code", "parameter_code_reset"):
        if cdb[name]:
            cdb.refuse(name)
    data = invocation.parameter_list()
    _check_list(unit, data)
    if cdb["page_control"] in (_CUMULATIVE, _DEFAULT_CUMULATIVE):
        _reset(invocation, log_pages.STATISTICS)
    return b""


def _check_selected(unit: "LogicalUnit", cdb: "Cdb") -> None:
    """SPC-4, table 185: 00h/00h is all pages, FFh all subpages of the page."""
    page_code, subpage_code = cdb["page_code"], cdb["subpage_code"]
    if page_code != SUPPORTED_PAGES and page_code not in log_pages.offered_by(unit):
        cdb.refuse("page_code")
    if subpage_code not in (0, ALL_SUBPAGES):
        cdb.refuse("subpage_code")


def _reset(invocation: "Invocation", page_code: int) -> None:
    """Counters begin again; the other nexuses are told (SPC-4, 7.3.2.2.1)."""
    if page_code in (SUPPORTED_PAGES, log_pages.STATISTICS):
        unit = invocation.unit
        unit.statistics.reset()
        unit.nexuses.establish(SenseCode.LOG_PARAMETERS_CHANGED, but=invocation.itl)


def _check_list(unit: "LogicalUnit", data: bytes) -> None:
    """Pages with counters set to zero, which is all they can be set to."""
    offset, previous = 0, -1
    while offset < len(data):
        header = data[offset : offset + _HEADER_BYTES]
        if len(header) < _HEADER_BYTES:
            refuse_parameter(offset)
        # DS says that nothing is saved, here or there.
        page_code = header[0] & 0x3F
        page = log_pages.offered_by(unit).get(page_code)
        if page is None or header[0] & 0x40 or page_code <= previous:
            refuse_parameter(offset, 5)
        if header[1]:
            refuse_parameter(offset + 1)
        begin = offset + _HEADER_BYTES
        end = begin + int.from_bytes(header[2:4], "big")
        if end > len(data):
            refuse_parameter(offset + 2)
        _check_parameters(page(unit), data, begin, end)
        offset, previous = end, page_code


def _check_parameters(parameters: list[Parameter], data: bytes, offset: int, end: int) -> None:
    ours = {each.code: each for each in parameters}
    previous = -1
    while offset < end:
        code = int.from_bytes(data[offset : offset + 2], "big")
        known = ours.get(code)
        if end - offset < _HEADER_BYTES or known is None or code <= previous:
            refuse_parameter(offset)
        _check_parameter(known, data[offset:end], offset)
        offset, previous = offset + _HEADER_BYTES + len(known.value), code


def _check_parameter(known: Parameter, data: bytes, offset: int) -> None:
    if not known.is_counter:
        refuse_parameter(offset)
    # TMC, in bits 3 and 2, is ignored where no threshold is compared.
    if (data[2] ^ known.control) & 0xF3:
        refuse_parameter(offset + 2)
    if data[3] != len(known.value):
        refuse_parameter(offset + 3)
    value = data[_HEADER_BYTES : _HEADER_BYTES + len(known.value)]
    if value != bytes(len(known.value)):
        refuse_parameter(offset + _HEADER_BYTES)


OPERATIONS: Final = (
    Operation(
        "LOG SELECT",
        0x4C,
        Layout(
            10,
            flag("parameter_code_reset", 1, 1),
            flag("save_parameters", 1, 0),
            Field("page_control", 2, 7, 2),
            Field("page_code", 2, 5, 6),
            number("subpage_code", 3, 1),
            number("parameter_list_length", 7, 2),
        ),
        log_select,
        "SPC-4",
        Access.WRITE,
        data_out=parameter_list,
    ),
    Operation(
        "LOG SENSE",
        0x4D,
        Layout(
            10,
            refused("save_parameters", 1, 0),
            Field("page_control", 2, 7, 2),
            Field("page_code", 2, 5, 6),
            number("subpage_code", 3, 1),
            number("parameter_pointer", 5, 2),
            number("allocation_length", 7, 2),
        ),
        log_sense,
        "SPC-4",
        Access.ANY,
    ),
)
