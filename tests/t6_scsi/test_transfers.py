"""What moves, where the initiator expects another direction or length than the CDB asks for.

A table over R and W bits, Expected Data Transfer Length, commands, and the ways in which Data-Out
comes, over iSCSI and over a ring, against a model in a few lines (`model`): status, residual, and
what has changed. RFC 7143, 11.3 and 11.4.5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

import pytest

from scsi_snap.scsi.cdb import Cdb
from scsi_snap.scsi.opcodes import OPERATIONS
from scsi_snap.scsi.operation import Operation, no_data_out, up_to_allocation_length
from scsi_snap.scsi.reservations import Change, PersistentReservations
from scsi_snap.scsi.sense import CheckCondition
from tests.t6_scsi.bus import CHECK_CONDITION, GOOD, initiator
from tests.t6_scsi.cluster import IGNORE_EXISTING_KEY, basic, key_of, out_cdb
from tests.t6_scsi.modes import D_SENSE
from tests.t6_scsi.test_fast_path import data_out_of
from tests.t6_scsi.test_transports import make_cdb, usual_values, variants
from tests.t6_scsi.transports import BLOCK_BYTES, FIRST_NEXUS, TEST_UNIT_READY, Unit
from tests.t6_scsi.wire import (
    ACA,
    FIRST_BURST_BYTES,
    PARAMETERS,
    READ,
    SEGMENT_BYTES,
    WRITE,
    Command,
    Completion,
    Wire,
)
from tests.tcmu_kernel import TcmuKernel

MOST = 16 << 20
"""MAXIMUM TRANSFER LENGTH."""
BLOCKS = MOST // BLOCK_BYTES + 100
OVERFLOW, UNDERFLOW = 0x04, 0x02
NEITHER, BOTH = 0, READ | WRITE
DIRECTIONS = {"none": NEITHER, "in": READ, "out": WRITE, "both": BOTH}
READS = (0x28, 0x88)
FOUND = bytes([0x11]) * 8 * BLOCK_BYTES
"""The first blocks before each command."""
SENT = bytes([0x22]) * MOST


@dataclass(frozen=True)
class Subject:
    """A command, and what its CDB asks for."""

    cdb: bytes
    data_out: bytes = b""
    data_in_bytes: int = 0
    in_part: bool = False
    """Blocks that come are written, if the others do not."""
    exact: bool = False
    """Another length is refused."""
    refused: bool = False
    """More than a command may transfer."""
    tells_others: bool = False
    """It establishes a unit attention."""
    done: Callable[[Unit], bool] = lambda unit: unit.device.read(0, len(FOUND)) != FOUND
    undo: Callable[[Unit], None] = lambda unit: unit.device.write(0, FOUND)

    @property
    def wanted(self) -> int:
        return len(self.data_out)


def write_16(blocks: int, **traits: bool) -> Subject:
    cdb = bytes([0x8A, 0, *bytes(8), *blocks.to_bytes(4, "big"), 0, 0])
    data = SENT[: blocks * BLOCK_BYTES].ljust(blocks * BLOCK_BYTES, b"\x22")
    return Subject(cdb, data, in_part=not traits, **traits)


def is_registered(unit: Unit) -> bool:
    return bool(unit.unit.reservations.read().keys)


def forget_registrations(unit: Unit) -> None:
    unit.unit.reservations.change(lambda _: Change(PersistentReservations()))


SUBJECTS = {
    "WRITE-0": write_16(0),
    "WRITE-1": write_16(1),
    "WRITE-8": write_16(8),
    "WRITE-6": Subject(bytes([0x0A, 0, 0, 0, 8, 0]), SENT[:4096], in_part=True),
    "WRITE-over": write_16(MOST // BLOCK_BYTES + 1, refused=True),
    "WRITE-AND-VERIFY": Subject(bytes([0x2E, 0, *bytes(4), 0, 0, 8, 0]), SENT[:4096], in_part=True),
    "ORWRITE": Subject(bytes([0x8B, 0, *bytes(8), 0, 0, 0, 2, 0, 0]), SENT[:1024]),
    "COMPARE-AND-WRITE": Subject(
        bytes([0x89, 0, *bytes(11), 1, 0, 0]), FOUND[:512] + SENT[:512], exact=True
    ),
    "COMPARE-AND-WRITE-0": Subject(bytes([0x89, 0, *bytes(11), 0, 0, 0])),
    "WRITE-SAME": Subject(bytes([0x41, 0, *bytes(4), 0, 0, 8, 0]), SENT[:512], exact=True),
    "UNMAP": Subject(
        bytes([0x42, 0, *bytes(5), 0, 24, 0]),
        b"\0\x16\0\x10\0\0\0\0" + bytes(11) + b"\x08" + bytes(4),
    ),
    "MODE-SELECT": Subject(
        bytes([0x55, 0x10, *bytes(5), 0, 8 + len(D_SENSE), 0]),
        bytes(8) + D_SENSE,
        tells_others=True,
        done=lambda unit: unit.unit.mode_pages.descriptor_sense,
        undo=lambda unit: unit.unit.mode_pages.reset(),
    ),
    "PERSISTENT-RESERVE-OUT": Subject(
        bytes(out_cdb(IGNORE_EXISTING_KEY, 24)),
        basic(0, key_of(1)),
        done=is_registered,
        undo=forget_registrations,
    ),
    "READ-0": Subject(bytes([0x28, 0, *bytes(4), 0, 0, 0, 0])),
    "READ-1": Subject(bytes([0x28, 0, *bytes(4), 0, 0, 1, 0]), data_in_bytes=512),
    "READ-8": Subject(bytes([0x88, 0, *bytes(8), 0, 0, 0, 8, 0, 0]), data_in_bytes=4096),
    "READ-CAPACITY": Subject(bytes([0x25, *bytes(9)]), data_in_bytes=8),
    "MODE-SENSE": Subject(bytes([0x1A, 8, 8, 0, 24, 0]), data_in_bytes=24),
    "TEST-UNIT-READY": Subject(TEST_UNIT_READY),
    "SYNCHRONIZE-CACHE": Subject(bytes([0x35, *bytes(9)])),
}


@dataclass(frozen=True)
class Outcome:
    status: int
    residual: int
    """What the CDB asked for beyond what was expected; negative: what was expected and not moved.
    """
    changed_bytes: int
    """Of the Data-Out, what has taken effect."""
    data_in_bytes: int


def model(subject: Subject, direction: int, expected: int) -> Outcome:
    """What an initiator learns, and what has happened."""
    wanted, data_in = subject.wanted, subject.data_in_bytes
    sends, receives = bool(direction & WRITE), direction == READ
    if expected and data_in and sends and subject.cdb[0] in READS:
        return Outcome(GOOD, -expected, 0, 0)
    if expected and ((wanted and not sends) or (data_in and not receives)):
        return Outcome(CHECK_CONDITION, -expected, 0, 0)
    if not wanted:
        return Outcome(GOOD, data_in - expected, 0, min(data_in, expected))
    came, residual = min(wanted, expected), wanted - expected
    if subject.refused:
        return Outcome(CHECK_CONDITION, residual if residual > 0 else -expected, 0, 0)
    if subject.exact:
        is_whole = wanted == expected
    else:
        is_whole = came == wanted or (subject.in_part and came % BLOCK_BYTES == 0)
    if not is_whole:
        return Outcome(CHECK_CONDITION, residual, 0, 0)
    return Outcome(GOOD, residual, came, 0)


def lengths(subject: Subject) -> list[int]:
    """Expected Data Transfer Lengths: none, a part of a block, short, exact, long, huge."""
    exact = subject.wanted or subject.data_in_bytes
    some = {0, 200, 512, exact, exact + 1, exact + 512, MOST + 512, 0xFFFFFFFF}
    return sorted(some | ({exact - 512} if exact > 512 else set()))


SESSIONS = {(r2t, immediate) for r2t in (True, False) for immediate in (True, False)}
"""InitialR2T, ImmediateData."""


@dataclass
class Bench:
    """A unit with a session for each agreement, and another with a ring."""

    unit: Unit
    wires: dict[tuple[bool, bool], Wire]
    ring_unit: Unit
    kernel: TcmuKernel

    def settle(self) -> None:
        """Takes the unit attentions that are pending."""
        for wire in self.wires.values():
            while wire.execute(Command(0, TEST_UNIT_READY, True, 0)).status != GOOD:
                pass
        while self.kernel.execute(TEST_UNIT_READY).status != GOOD:
            pass


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with ExitStack() as stack:
        unit, ring_unit = Unit(stack, FIRST_NEXUS, BLOCKS), Unit(stack, FIRST_NEXUS + 1, BLOCKS)
        wires = {}
        for number, (initial_r2t, immediate_data) in enumerate(sorted(SESSIONS)):
            nexus = FIRST_NEXUS + 10 + number
            unit.command_set.nexus_begins(nexus, initiator(nexus))
            parameters = replace(PARAMETERS, initial_r2t=initial_r2t, immediate_data=immediate_data)
            wires[initial_r2t, immediate_data] = unit.session(stack, nexus, parameters)
        made = Bench(unit, wires, ring_unit, ring_unit.ring(stack))
        made.settle()
        yield made


def unasked(initial_r2t: bool, immediate_data: bool, expected: int) -> Iterator[tuple[int, int]]:
    """How much of the Data-Out comes as immediate data, and how much in a sequence of its own."""
    yield 0, 0
    most = min(expected, FIRST_BURST_BYTES)
    if immediate_data and most:
        yield min(most, SEGMENT_BYTES), 0
    if not initial_r2t and most:
        yield 0, most
        if immediate_data and most > 100:
            yield 100, most - 100


def check_over_iscsi(bench: Bench, subject: Subject, direction: int, expected: int) -> None:
    outcome = model(subject, direction, expected)
    data = subject.data_out.ljust(FIRST_BURST_BYTES, b"\x33")
    for agreed in sorted(SESSIONS):
        for immediate, unsolicited in unasked(*agreed, expected if direction & WRITE else 0):
            case = (agreed, immediate, unsolicited)
            wire, before = bench.wires[agreed], bench.wires[agreed].solicited_bytes
            command = Command(
                0, subject.cdb, False, expected, data, immediate, unsolicited, direction
            )
            done = wire.execute(command)
            assert (done.response, done.status) == (0, outcome.status), case
            residual = outcome.residual
            if subject.refused and residual < 0 and direction & WRITE:
                # What came unasked has moved.
                residual += immediate + unsolicited
            assert residual_of(done) == residual, case
            assert len(done.data_in) == outcome.data_in_bytes, case
            solicited = wire.solicited_bytes - before
            to_ask = min(subject.wanted, expected) if direction & WRITE else 0
            most = 0 if subject.refused else max(to_ask - immediate - unsolicited, 0)
            assert solicited == most, case
            check_effect(bench.unit, subject, outcome.changed_bytes)
            if outcome.changed_bytes and subject.tells_others:
                bench.settle()


def residual_of(done: Completion) -> int:
    sign = {0: 0, OVERFLOW: 1, UNDERFLOW: -1}[done.residual_bits]
    return sign * done.residual_count


def check_effect(unit: Unit, subject: Subject, changed_bytes: int) -> None:
    assert subject.done(unit) == (changed_bytes > 0)
    if subject.in_part:
        written = subject.data_out[:changed_bytes]
        assert unit.device.read(0, len(FOUND)) == written + FOUND[len(written) :]
    if changed_bytes:
        subject.undo(unit)


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
@pytest.mark.parametrize("subject", SUBJECTS.values(), ids=SUBJECTS)
def test_over_iscsi(bench: Bench, subject: Subject, direction: int) -> None:
    bench.unit.device.write(0, FOUND)
    for expected in lengths(subject):
        check_over_iscsi(bench, subject, direction, expected)
    rest = bench.unit.device.read(len(FOUND), 64 * BLOCK_BYTES)
    assert rest == bytes(n * 7 % 251 for n in range(len(FOUND), len(FOUND) + 64 * BLOCK_BYTES))


def test_as_much_as_a_command_may_transfer(bench: Bench) -> None:
    """Also where the initiator says that it would send as much as it can say."""
    for expected in (MOST, 0xFFFFFFFF):
        bench.unit.device.write(0, bytes(MOST))
        wire = bench.wires[True, True]
        cdb = bytes([0x8A, 0, *bytes(8), *(MOST // BLOCK_BYTES).to_bytes(4, "big"), 0, 0])
        done = wire.execute(Command(0, cdb, False, expected, SENT))
        assert (done.status, residual_of(done)) == (GOOD, MOST - expected)
        assert bench.unit.device.read(0, MOST) == SENT
    bench.unit.device.write(0, bytes(n * 7 % 251 for n in range(MOST)))


@pytest.mark.parametrize("subject", SUBJECTS.values(), ids=SUBJECTS)
def test_over_a_ring(bench: Bench, subject: Subject) -> None:
    """A ring says the length of a buffer, and not what the buffer is for; and it cannot be told a
    residual: so a WRITE that is short is refused, as the initiator would not learn of it.
    """
    unit = bench.ring_unit
    unit.device.write(0, FOUND)
    direction = READ if subject.data_in_bytes else WRITE
    for expected in lengths(subject):
        if expected > 64 << 10:
            continue
        outcome = model(subject, direction, expected)
        if outcome.residual > 0 and subject.wanted:
            outcome = replace(outcome, status=CHECK_CONDITION, changed_bytes=0)
        if direction == READ:
            done = bench.kernel.execute(subject.cdb, room=expected)
        else:
            data = subject.data_out.ljust(expected, b"\x33")[:expected]
            done = bench.kernel.execute(subject.cdb, data_out=data)
        assert done.status == outcome.status, expected
        check_effect(unit, subject, outcome.changed_bytes)


@pytest.mark.parametrize("row", OPERATIONS, ids=lambda each: each.name.replace(" ", "-"))
def test_the_portal_solicits_what_the_row_asks_for(bench: Bench, row: Operation) -> None:
    """No command is carried out: each has the ACA attribute."""
    wire = bench.wires[True, False]
    for values in variants(row, usual_values(row, 24)):
        cdb = make_cdb(row, values)
        wanted = data_out_of(row, cdb, BLOCK_BYTES)
        before = wire.solicited_bytes
        command = Command(0, cdb, False, 0xFFFFFFFF, SENT, attribute=ACA)
        assert wire.execute(command).status == CHECK_CONDITION
        try:
            Cdb(row.layout, cdb)
        except CheckCondition:
            continue  # Whatever it asks for is refused.
        assert wire.solicited_bytes - before == (wanted if wanted <= MOST else 0), values


def test_a_rows_direction_is_what_it_returns() -> None:
    """No row asks for both; one that has an allocation length returns something."""
    for row in OPERATIONS:
        has_length = "allocation_length" in row.layout
        has_data_in = has_length or row.data_in is not up_to_allocation_length
        assert row.data_out is no_data_out or not has_data_in, row.name
