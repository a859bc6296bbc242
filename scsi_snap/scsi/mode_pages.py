"""MODE SENSE and MODE SELECT (SPC-4, SBC-3).

A mode page exists as its default bytes and a mask of the bits that an initiator may change. It is
known by its page code and subpage code; one without the subpage format has subpage code 00h. The
current values are shared by every nexus of the logical unit. Nothing is saved: PS is zero, saved
values are refused, and a reset brings the defaults back; for the next process `kept_modes` keeps
them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from scsi_snap.scsi.cdb import Field, Layout, flag, number, refused
from scsi_snap.scsi.operation import Access, Operation, parameter_list
from scsi_snap.scsi.sense import SenseCode, refuse, refuse_parameter
from scsi_snap.scsi.thresholds import AVAILABLE, DECREASING, INCREASING, USED, Threshold

if TYPE_CHECKING:
    from scsi_snap.scsi.invocation import Invocation

ALL_PAGES: Final = 0x3F
ALL_SUBPAGES: Final = 0xFF

READ_WRITE_ERROR_RECOVERY: Final = (0x01, 0x00)
CACHING: Final = (0x08, 0x00)
CONTROL: Final = (0x0A, 0x00)
CONTROL_EXTENSION: Final = (0x0A, 0x01)
INFORMATIONAL_EXCEPTIONS: Final = (0x1C, 0x00)
LOGICAL_BLOCK_PROVISIONING: Final = (0x1C, 0x02)

_CURRENT, _CHANGEABLE, _DEFAULT, _SAVED = range(4)

_WP = 0x80
_DPOFUA = 0x10


@dataclass(frozen=True, slots=True)
class ModePage:
    """One page of the unit: page code and length first, both masks the same length."""

    default: bytes
    changeable: bytes

    @property
    def code(self) -> "PageCode":
        """PAGE CODE and SUBPAGE CODE."""
        return _code_of(self.default)

    @property
    def header_bytes(self) -> int:
        """What comes before the fields."""
        return 4 if self.default[0] & _SPF else 2


PageCode = tuple[int, int]
"""PAGE CODE and SUBPAGE CODE."""

_SPF = 0x40


def _code_of(data: Sequence[int]) -> PageCode:
    """Of a page that begins there, its first two bytes at hand."""
    return data[0] & 0x3F, data[1] if data[0] & _SPF else 0


def _page(code: int, length: int, default: dict[int, int], changeable: dict[int, int]) -> ModePage:
    """A page of `length` bytes after its header, from the bytes that are not zero."""
    return _made(bytes([code, length]), length, default, changeable)


def _subpage(
    code: PageCode, length: int, default: dict[int, int], changeable: dict[int, int]
) -> ModePage:
    """The same in the subpage format."""
    header = bytes([_SPF | code[0], code[1]]) + length.to_bytes(2, "big")
    return _made(header, length, default, changeable)


def _made(
    header: bytes, length: int, default: dict[int, int], changeable: dict[int, int]
) -> ModePage:
    values, mask = bytearray(header + bytes(length)), bytearray(header + bytes(length))
    for byte, bits in default.items():
        values[byte] = bits
    for byte, bits in changeable.items():
        mask[byte] = bits
    return ModePage(bytes(values), bytes(mask))


_WCE, _SWP, _D_SENSE, _LBPERE = (2, 0x04), (4, 0x08), (2, 0x04), (7, 0x80)
"""Byte and bit: Caching page WCE; Control page SWP and D_SENSE; error recovery page LBPERE."""

_IALUAE = 0x01
"""Control Extension page: the device server may change asymmetric access states by itself."""

_ENABLED = 0x80
_DESCRIPTOR_BYTES = 8
_DESCRIPTORS_AT = 16


def _threshold_page(available: int) -> ModePage:
    """Logical Block Provisioning (SBC-4, 6.5.9): a threshold on what is available, going off at
    `available` sets, and one on what is used, not enabled. Both may be moved and switched; what
    they are about may not.
    """
    kinds = ((_ENABLED | DECREASING, AVAILABLE, available), (INCREASING, USED, 0))
    default: dict[int, int] = {}
    changeable: dict[int, int] = {}
    for index, (flags, resource, count) in enumerate(kinds):
        at = _DESCRIPTORS_AT + _DESCRIPTOR_BYTES * index
        default |= {at: flags, at + 1: resource}
        default |= {at + 4 + byte: value for byte, value in enumerate(count.to_bytes(4, "big"))}
        changeable |= {at: _ENABLED} | {at + 4 + byte: 0xFF for byte in range(4)}
    length = _DESCRIPTORS_AT + _DESCRIPTOR_BYTES * len(kinds) - 4
    return _subpage(LOGICAL_BLOCK_PROVISIONING, length, default, changeable)


class ModePages:
    """The mode pages of one logical unit.

    The owner locks changes. The current values are replaced whole, so that reading takes no lock.
    """

    def __init__(self, *, write_cache: bool, threshold: int | None = None) -> None:
        """`write_cache`: whether a completed write may still be lost until it is flushed.
        `threshold`: at how many available threshold sets initiators are told, until they choose;
        None where there are no thresholds.
        """
        notified = {_LBPERE[0]: _LBPERE[1]} if threshold is not None else {}
        pages = [
            _page(READ_WRITE_ERROR_RECOVERY[0], 0x0A, notified, notified),
            _page(
                CACHING[0],
                0x12,
                {_WCE[0]: _WCE[1]} if write_cache else {},
                {_WCE[0]: _WCE[1]} if write_cache else {},
            ),
            # TST 001b: each I_T nexus has a task set of its own. QUEUE ALGORITHM MODIFIER 1:
            # commands may be reordered; the busy timeout has no limit.
            _page(
                CONTROL[0],
                0x0A,
                {2: 0x20, 3: 0x10, 8: 0xFF, 9: 0xFF},
                {_D_SENSE[0]: _D_SENSE[1], _SWP[0]: _SWP[1]},
            ),
            # DEXCPT: there are no informational exceptions.
            _page(INFORMATIONAL_EXCEPTIONS[0], 0x0A, {2: 0x08}, {}),
            _subpage(CONTROL_EXTENSION, 0x1C, {4: _IALUAE}, {}),
        ]
        if threshold is not None:
            pages.append(_threshold_page(threshold))
        self._pages: Final = {page.code: page for page in pages}
        self._current = {page.code: page.default for page in pages}

    def reset(self) -> None:
        """Brings the defaults back."""
        self._current = {page.code: page.default for page in self._pages.values()}

    @property
    def write_cache_enabled(self) -> bool:
        """WCE: a write may end before it is durable."""
        return bool(self._current[CACHING][_WCE[0]] & _WCE[1])

    @property
    def software_write_protect(self) -> bool:
        """SWP."""
        return bool(self._current[CONTROL][_SWP[0]] & _SWP[1])

    @property
    def descriptor_sense(self) -> bool:
        """D_SENSE: sense data comes in descriptor format."""
        return bool(self._current[CONTROL][_D_SENSE[0]] & _D_SENSE[1])

    def thresholds(self) -> list[Threshold]:
        """Those that are enabled, while initiators want to be told of them."""
        page = self._current.get(LOGICAL_BLOCK_PROVISIONING)
        recovery = self._current[READ_WRITE_ERROR_RECOVERY]
        if page is None or not recovery[_LBPERE[0]] & _LBPERE[1]:
            return []
        return [
            Threshold(at, page[at + 1], int.from_bytes(page[at + 4 : at + 8], "big"))
            for at in range(_DESCRIPTORS_AT, len(page), _DESCRIPTOR_BYTES)
            if page[at] & _ENABLED
        ]

    def codes(self) -> list[PageCode]:
        """Ascending, as MODE SENSE lists them."""
        return sorted(self._pages)

    def selected(self, page_code: int, subpage_code: int) -> list[PageCode]:
        """Those that MODE SENSE asks for (SPC-4, 6.13): 3Fh is every page, FFh every subpage."""
        return [
            code
            for code in self.codes()
            if page_code in (ALL_PAGES, code[0]) and subpage_code in (ALL_SUBPAGES, code[1])
        ]

    def read(self, code: PageCode, page_control: int) -> bytes:
        """The page with its header: current, changeable or default values."""
        if page_control == _CHANGEABLE:
            return self._pages[code].changeable
        if page_control == _DEFAULT:
            return self._pages[code].default
        return self._current[code]

    def parse(self, data: bytes, offset: int) -> dict[PageCode, bytes]:
        """The pages of a MODE SELECT parameter list, checked against what may change.

        `offset` is where the first page begins; the sense data points from the list's first byte.
        """
        wanted: dict[PageCode, bytes] = {}
        while offset < len(data):
            if len(data) - offset < 2:
                refuse(SenseCode.PARAMETER_LIST_LENGTH_ERROR)
            code = _code_of(data[offset : offset + 2])
            page = self._pages.get(code)
            if page is None:
                other_format = any(each[0] == code[0] for each in self._pages)
                refuse_parameter(offset, 6 if other_format else 5)
            current = wanted.get(code, self._current[code])
            given = data[offset : offset + len(current)]
            for byte in range(1, page.header_bytes):
                if given[byte : byte + 1] not in (b"", current[byte : byte + 1]):
                    refuse_parameter(offset + byte)
            if len(given) < len(current):
                refuse(SenseCode.PARAMETER_LIST_LENGTH_ERROR)
            for byte in range(page.header_bytes, len(current)):
                fixed = (given[byte] ^ current[byte]) & ~page.changeable[byte] & 0xFF
                if fixed:
                    refuse_parameter(offset + byte, fixed.bit_length() - 1)
            # PS comes back as it was sent by MODE SENSE; it means nothing here.
            wanted[code] = current[: page.header_bytes] + given[page.header_bytes :]
            offset += len(current)
        return wanted

    def unlike_default(self, wanted: dict[PageCode, bytes]) -> dict[PageCode, bytes]:
        """What the current pages would be with these, where not the default."""
        pages = {**self._current, **wanted}
        return {code: page for code, page in pages.items() if page != self._pages[code].default}

    def allows(self, code: PageCode, values: bytes) -> bool:
        """Whether the unit has such a page, and it could be selected."""
        page = self._pages.get(code)
        if page is None or len(values) != len(page.default):
            return False
        header = page.header_bytes
        fixed = zip(values[header:], page.default[header:], page.changeable[header:], strict=True)
        same_header = values[:header] == page.default[:header]
        return same_header and not any((new ^ old) & ~mask for new, old, mask in fixed)

    def change(self, wanted: dict[PageCode, bytes]) -> bool:
        """Makes parsed pages current; says whether anything is different now."""
        changed = any(self._current[code] != page for code, page in wanted.items())
        self._current = {**self._current, **wanted}
        return changed


def mode_sense_6(invocation: "Invocation") -> bytes:
    """MODE SENSE (6): a header of four bytes."""
    return _mode_sense(invocation, ten=False)


def mode_sense_10(invocation: "Invocation") -> bytes:
    """MODE SENSE (10): a header of eight bytes."""
    return _mode_sense(invocation, ten=True)


def _mode_sense(invocation: "Invocation", *, ten: bool) -> bytes:
    """Header, block descriptor, the pages asked for."""
    cdb, unit = invocation.cdb, invocation.unit
    if cdb["page_control"] == _SAVED:
        refuse(SenseCode.SAVING_PARAMETERS_NOT_SUPPORTED)
    codes = unit.mode_pages.selected(cdb["page_code"], cdb["subpage_code"])
    if not codes:
        known = unit.mode_pages.selected(cdb["page_code"], ALL_SUBPAGES)
        cdb.refuse("subpage_code" if known else "page_code")
    if cdb["page_code"] == ALL_PAGES and cdb["subpage_code"] not in (0, ALL_SUBPAGES):
        cdb.refuse("subpage_code")
    descriptor = b""
    long_lba = ten and bool(cdb["long_lba_accepted"])
    if not cdb["disable_block_descriptors"]:
        descriptor = _block_descriptor(unit.medium.block_count, unit.medium.block_bytes, long_lba)
    pages = b"".join(unit.mode_pages.read(code, cdb["page_control"]) for code in codes)
    protected = unit.write_protected or invocation.itl.mapping.read_only
    parameters = _DPOFUA | (_WP if protected else 0)
    if not ten:
        length = 3 + len(descriptor) + len(pages)
        return bytes([length, 0, parameters, len(descriptor)]) + descriptor + pages
    length = 6 + len(descriptor) + len(pages)
    header = length.to_bytes(2, "big") + bytes([0, parameters, int(long_lba and bool(descriptor))])
    return header + b"\x00" + len(descriptor).to_bytes(2, "big") + descriptor + pages


def _block_descriptor(block_count: int, block_bytes: int, long_lba: bool) -> bytes:
    """SBC-3: number of logical blocks, logical block length."""
    if long_lba:
        return block_count.to_bytes(8, "big") + bytes(4) + block_bytes.to_bytes(4, "big")
    return min(block_count, 0xFFFFFFFF).to_bytes(4, "big") + block_bytes.to_bytes(4, "big")


def mode_select_6(invocation: "Invocation") -> bytes:
    """MODE SELECT (6): a header of four bytes."""
    return _mode_select(invocation, ten=False)


def mode_select_10(invocation: "Invocation") -> bytes:
    """MODE SELECT (10): a header of eight bytes."""
    return _mode_select(invocation, ten=True)


def _mode_select(invocation: "Invocation", *, ten: bool) -> bytes:
    """All pages of the list take effect, or none; the other nexuses are told of a change."""
    cdb, unit = invocation.cdb, invocation.unit
    if not cdb["parameter_list_length"]:
        return b""
    if not cdb["page_format"]:
        cdb.refuse("page_format")
    data = invocation.parameter_list()
    header_bytes = 8 if ten else 4
    if len(data) < header_bytes:
        refuse(SenseCode.PARAMETER_LIST_LENGTH_ERROR)
    long_lba = ten and bool(data[4] & 1)
    descriptor_bytes = int.from_bytes(data[6:8], "big") if ten else data[3]
    if descriptor_bytes not in (0, 16 if long_lba else 8):
        refuse_parameter(6 if ten else 3)
    offset = header_bytes + descriptor_bytes
    if len(data) < offset:
        refuse(SenseCode.PARAMETER_LIST_LENGTH_ERROR)
    if descriptor_bytes:
        medium = unit.medium
        _check_descriptor(data, header_bytes, long_lba, medium.block_count, medium.block_bytes)
    with (
        unit.kept_modes.changing(data, offset) as wanted,
        unit.nexuses.changing() as attentions,
    ):
        if unit.mode_pages.change(wanted):
            attentions.establish(SenseCode.MODE_PARAMETERS_CHANGED, but=invocation.itl)
    unit.written()
    return b""


def _check_descriptor(
    data: bytes, at: int, long_lba: bool, block_count: int, block_bytes: int
) -> None:
    """A block descriptor may repeat what is so; neither size nor block length can be changed."""
    count_bytes = 8 if long_lba else 4
    count = int.from_bytes(data[at : at + count_bytes], "big")
    same = _block_descriptor(block_count, block_bytes, long_lba)
    ours = int.from_bytes(same[:count_bytes], "big")
    if count not in (0, ours, (1 << 8 * count_bytes) - 1):
        refuse_parameter(at)
    length_at = at + (12 if long_lba else 5)
    if int.from_bytes(data[length_at : at + len(same)], "big") != block_bytes:
        refuse_parameter(length_at)


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

OPERATIONS: Final = (
    Operation(
        "MODE SELECT (6)",
        0x15,
        Layout(6, *_MODE_SELECT_FIELDS, number("parameter_list_length", 4, 1)),
        mode_select_6,
        "SPC-4",
        Access.WRITE,
        data_out=parameter_list,
    ),
    Operation(
        "MODE SENSE (6)",
        0x1A,
        Layout(6, *_MODE_SENSE_FIELDS, number("allocation_length", 4, 1)),
        mode_sense_6,
        "SPC-4",
        Access.READ,
    ),
    Operation(
        "MODE SELECT (10)",
        0x55,
        Layout(10, *_MODE_SELECT_FIELDS, number("parameter_list_length", 7, 2)),
        mode_select_10,
        "SPC-4",
        Access.WRITE,
        data_out=parameter_list,
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
        mode_sense_10,
        "SPC-4",
        Access.READ,
    ),
)
