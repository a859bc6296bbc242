"""What a command answers does not depend on the transport: one table, both ways to a unit.

The table is made from the rows of the opcode table and their layouts: each command as it ought to
be, each of its fields with other values, each buffer too short and too long. Left out is what two
units cannot say alike: how long commands took, and what a file system thinks of holes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scsi_snap.scsi.block_commands import write
from scsi_snap.scsi.cdb import ONLY_ZERO
from scsi_snap.scsi.opcodes import OPERATIONS
from scsi_snap.scsi.operation import Operation, no_data_out
from scsi_snap.scsi.verify_commands import write_and_verify
from tests.budget import budget
from tests.t6_scsi.bus import CHECK_CONDITION, GOOD
from tests.t6_scsi.cluster import CLEAR, IGNORE_EXISTING_KEY, basic, key_of, out_cdb
from tests.t6_scsi.modes import D_SENSE, NO_WCE
from tests.t6_scsi.test_extended_copy import blocks_segment, copy_list, naa_cscd
from tests.t6_scsi.test_fast_path import data_out_of
from tests.t6_scsi.transports import BLOCK_BYTES, BLOCKS, Both, both

STATISTICS_PAGE = 0x19
DATA_BYTES_MAX = 64 << 10
ROOMS = [0, 1, 4, 252, 8192]
KNOWN_CODES = {each.operation_code for each in OPERATIONS}
USUAL = {
    "lba": 8,
    "transfer_length": 2,
    "number_of_blocks": 2,
    "prefetch_length": 2,
    "allocation_length": 252,
    "page_format": 1,
    "type": 3,
    "start": 1,
}
"""What makes a command valid, or nearly, where it is not zero."""


def unmap_list() -> bytes:
    descriptor = (8).to_bytes(8, "big") + (2).to_bytes(4, "big") + bytes(4)
    return (22).to_bytes(2, "big") + (16).to_bytes(2, "big") + bytes(4) + descriptor


def parameter_list(pair: Both, operation: Operation) -> bytes | None:
    """One that is valid, of the commands that have one."""
    unit = pair.over_iscsi.unit
    lists = {
        0x15: bytes(4) + NO_WCE,
        0x55: bytes(8) + D_SENSE,
        0x42: unmap_list(),
        0x48: bytes([0x01, 0, 2, 0]) + b"p" * 512,
        0x83: copy_list([naa_cscd(unit)], [blocks_segment(0, 0, 2, 8, 40)]),
        0x5F: basic(0, key_of(1)),
        0xA4: b"the second shelf",
    }
    return lists.get(operation.operation_code) if has_list(operation) else None


def has_list(operation: Operation) -> bool:
    layout = operation.layout
    return "parameter_list_length" in layout and layout["parameter_list_length"].values != ONLY_ZERO


def make_cdb(operation: Operation, values: dict[str, int]) -> bytes:
    """Fields that are not named are zero; a value is cut to what its field holds."""
    length = operation.layout.length
    cdb = (operation.operation_code << 8 | (operation.service_action or 0)) << (8 * length - 16)
    for field in operation.layout.fields:
        mask = (1 << field.width_bits) - 1
        cdb |= (values.get(field.name, 0) & mask) << field.shift(length)
    return cdb.to_bytes(length, "big")


def usual_values(operation: Operation, list_length: int) -> dict[str, int]:
    values = {name: value for name, value in USUAL.items() if name in operation.layout}
    if has_list(operation):
        values["parameter_list_length"] = list_length
    for name, value in values.items():
        allowed = operation.layout[name].values
        if allowed is not None and value not in allowed:
            values[name] = min(allowed)
    return values


def variants(operation: Operation, usual: dict[str, int]) -> Iterator[dict[str, int]]:
    """The usual values, and with one of them another: one, all ones, and what is just too much."""
    yield usual
    for field in operation.layout.fields:
        ones = (1 << field.width_bits) - 1
        others = {1, ones, ones >> 1}
        if field.name == "lba":
            others |= {BLOCKS - 2, BLOCKS - 1, BLOCKS}
        if field.values is not None:
            others |= {value for value in field.values if value}
        for value in sorted(others - {usual.get(field.name, 0)}):
            yield {**usual, field.name: value}


def reads_statistics(cdb: bytes) -> bool:
    """LOG SENSE of a page that has times in it."""
    return cdb[0] == 0x4D and cdb[2] & 0x3F == STATISTICS_PAGE


def buffers(cdb: bytes, operation: Operation, given_list: bytes | None) -> Iterator[bytes | int]:
    """Data-Out as it is wanted, a byte or a block less, and more, but never very much; or room for
    Data-In. Data-In of a command that has Data-Out is none of the table: the kernel does not say
    which of them a buffer is for.
    """
    wanted = min(data_out_of(operation, cdb, BLOCK_BYTES), DATA_BYTES_MAX)
    if not wanted:
        yield from ROOMS if operation.data_out is no_data_out else [0]
        return
    data = given_list or bytes(range(256)) * (wanted // 256 + 3)
    for length in sorted({wanted, wanted - 1, wanted - BLOCK_BYTES, wanted + BLOCK_BYTES}):
        if length > 0 and not is_short_write(operation, cdb, length):
            yield data.ljust(length, b"\0")[:length]


def is_short_write(operation: Operation, cdb: bytes, length: int) -> bool:
    """Whether what came is written, if the transport can say how much did not: a ring cannot
    (test_transfers.py).
    """
    is_short = length < data_out_of(operation, cdb, BLOCK_BYTES) and length % BLOCK_BYTES == 0
    return is_short and operation.handler in (write, write_and_verify)


@pytest.fixture(scope="module")
def shared() -> Iterator[Both]:
    with ExitStack() as stack:
        yield both(stack)


@pytest.fixture
def pair(shared: Both) -> Iterator[Both]:
    """Nothing is reserved, stopped, selected or pending."""
    yield shared
    register = basic(0, key_of(9))
    for each in (shared.over_iscsi, shared.over_ring):
        each.unit.reset()
    shared.settle()
    shared.execute(bytes(out_cdb(IGNORE_EXISTING_KEY, 24)), data_out=register)
    shared.execute(bytes(out_cdb(CLEAR, 24)), data_out=basic(key_of(9)))
    shared.settle()


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name.replace(" ", "-"))
def test_every_row_of_the_table(pair: Both, operation: Operation) -> None:
    given_list = parameter_list(pair, operation)
    statuses = set()
    for values in variants(operation, usual_values(operation, len(given_list or b""))):
        cdb = make_cdb(operation, values)
        if reads_statistics(cdb):
            continue
        for buffer in buffers(cdb, operation, given_list):
            if isinstance(buffer, bytes):
                statuses.add(pair.execute(cdb, data_out=buffer))
            else:
                statuses.add(pair.execute(cdb, room=buffer))
    # It has been refused at least once, and NACA always is.
    assert CHECK_CONDITION in statuses
    assert pair.same_contents()


@pytest.mark.parametrize("room", [0, 36, 4096])
def test_operation_codes_that_are_none(pair: Both, room: int) -> None:
    for code in set(range(256)) - KNOWN_CODES - {0x7F}:
        cdb = bytes([code, 0xFF, *range(0x11, 0x1F)])
        assert pair.execute(cdb, room=room) == CHECK_CONDITION
        if room:
            assert pair.execute(cdb, data_out=bytes(room)) == CHECK_CONDITION


def test_service_actions_that_are_none(pair: Both) -> None:
    known = {(each.operation_code, each.service_action) for each in OPERATIONS}
    for code in sorted({each.operation_code for each in OPERATIONS if each.service_action}):
        for action in range(32):
            if (code, action) not in known:
                cdb = bytes([code, action, *bytes(14)])
                assert pair.execute(cdb, room=64) == CHECK_CONDITION


@pytest.mark.parametrize("page", [0x00, *range(0x80, 0xC0)])
def test_vpd_pages(pair: Both, page: int) -> None:
    pair.execute(bytes([0x12, 1, page, 2, 0, 0]), room=512)


def test_variable_length_cdbs(pair: Both) -> None:
    """Thirty-two bytes are passed on, and refused."""
    cdb = bytes([0x7F, *bytes(6), 24, *range(24)])
    ring = pair.kernel.execute(cdb, room=64)
    assert (ring.status, ring.sense[2], ring.sense[12]) == (CHECK_CONDITION, 0x05, 0x20)


def test_unit_attentions_come_first(pair: Both) -> None:
    for each in (pair.over_iscsi, pair.over_ring):
        each.unit.capacity_changed()
    write = bytes([0x2A, 0, *[0, 0, 0, 8], 0, *[0, 1], 0])
    assert pair.execute(write, data_out=bytes(512)) == CHECK_CONDITION
    assert pair.execute(write, data_out=bytes(512)) == GOOD


def test_large_transfers(pair: Both) -> None:
    """Several bursts of iSCSI, and many pages of the ring."""
    data = bytes(n * 13 % 241 for n in range(256 * BLOCK_BYTES))
    blocks = (256).to_bytes(4, "big")
    for code in (0x8A, 0x8E, 0x8B):
        cdb = bytes([code, 0, *(8).to_bytes(8, "big"), *blocks, 0, 0])
        assert pair.execute(cdb, data_out=data) == GOOD
    cdb = bytes([0x88, 0, *(8).to_bytes(8, "big"), *blocks, 0, 0])
    for room in (len(data) - 4096, len(data), len(data) + 4096):
        assert pair.execute(cdb, room=room) == GOOD
    assert pair.same_contents()


# SANITIZE and FORMAT UNIT would leave nothing to compare, LOG SENSE has times in it, and of GET LBA
# STATUS see the top.
DRAWN = [each for each in OPERATIONS if each.operation_code not in (0x04, 0x48, 0x4D, 0x9E)]


@st.composite
def drawn(draw: st.DrawFn) -> tuple[Operation, dict[str, int], int, int]:
    """A command with up to two fields that hold anything; how much more Data-Out than it wants or
    room than there mostly is; a filling.
    """
    operation = draw(st.sampled_from(DRAWN))
    values = usual_values(operation, 0)
    names = st.sampled_from([field.name for field in operation.layout.fields])
    for name in draw(st.just(set()) | st.sets(names, max_size=2)):
        ones = (1 << operation.layout[name].width_bits) - 1
        values[name] = draw(st.integers(0, ones) | st.sampled_from([1, ones]))
    slip = draw(st.sampled_from([0, 0, 0, -1, 1, -512, 512]))
    return operation, values, slip, draw(st.sampled_from([0, 7, 255]))


def test_whatever_command_it_is(pair: Both) -> None:
    @budget(examples=250, steps=1)
    @given(drawn())
    def compare(one: tuple[Operation, dict[str, int], int, int]) -> None:
        operation, values, slip, fill = one
        given_list = parameter_list(pair, operation)
        if given_list is not None:
            values["parameter_list_length"] = values.get("parameter_list_length") or len(given_list)
        cdb = make_cdb(operation, values)
        wanted = min(data_out_of(operation, cdb, BLOCK_BYTES), DATA_BYTES_MAX)
        if wanted:
            length = max(wanted + slip, 1)
            if is_short_write(operation, cdb, length):
                return
            data = (given_list or b"").ljust(length, bytes([fill]))[:length]
            statuses.append(pair.execute(cdb, data_out=data))
        else:
            has_data_in = operation.data_out is no_data_out and slip > -256
            statuses.append(pair.execute(cdb, room=256 + slip if has_data_in else 0))

    statuses: list[int] = []
    compare()
    # The search has had enough of both kinds.
    assert 0.2 < statuses.count(GOOD) / len(statuses) < 0.9
    assert pair.same_contents()
