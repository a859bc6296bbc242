"""The simulated kernel against a handler of a few lines: what it takes, what breaks the ring."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator

import pytest

from tests.tcmu_kernel import (
    CHECK_CONDITION,
    GOOD,
    LOGICAL_UNIT_RESET,
    OP_CMD,
    OP_MASK,
    OP_PAD,
    OP_TMR,
    READ_LEN,
    BrokenRing,
    Outcome,
    TcmuKernel,
    passed_on,
)

RING = 1024
CDB = bytes([0x28, *range(1, 10)])
SENSE = bytes([0x70, 0, 5, 0, 0, 0, 0, 10, *[0] * 4, 0x24, 0, *[0] * 4])


class Handler:
    """Looks at entries one by one; `answer` writes over one."""

    def __init__(self, kernel: TcmuKernel) -> None:
        self.memory = mmap.mmap(kernel.region, kernel.region_bytes)
        self._doorbell = kernel.doorbell

    def _word(self, at: int) -> int:
        return int(struct.unpack_from("=I", self.memory, at)[0])

    def entries(self) -> list[tuple[int, int, int]]:
        """Offset, operation and identifier of each from the tail to the head."""
        found, at = [], self._word(64)
        while at != self._word(12):
            len_op, identifier = struct.unpack_from("=IH", self.memory, 128 + at)
            found.append((128 + at, len_op & OP_MASK, identifier))
            at = (at + (len_op & ~OP_MASK)) % RING
        return found

    def cdb(self, entry: int, length: int) -> bytes:
        (at,) = struct.unpack_from("=Q", self.memory, entry + 24)
        return self.memory[at : at + length]

    def iovecs(self, entry: int) -> list[tuple[int, int]]:
        count = self._word(entry + 8)
        return [struct.unpack_from("=QQ", self.memory, entry + 48 + 16 * n) for n in range(count)]

    def answer(
        self, entry: int, identifier: int, status: int = GOOD, told: int = 0, sense: bytes = b""
    ) -> None:
        struct.pack_into("=HBB", self.memory, entry + 4, identifier, 0, READ_LEN if told else 0)
        struct.pack_into("=BxxxI96s", self.memory, entry + 8, status, told, sense)

    def pass_on(self) -> None:
        """Moves the tail by one entry."""
        at = self._word(64)
        length = self._word(128 + at) & ~OP_MASK
        self.move_tail((at + length) % RING)

    def move_tail(self, to: int) -> None:
        struct.pack_into("=I", self.memory, 64, to)
        os.write(self._doorbell, bytes(4))


@pytest.fixture
def kernel() -> Iterator[TcmuKernel]:
    with TcmuKernel(ring_bytes=RING, pages=4) as made:
        yield made


@pytest.fixture
def handler(kernel: TcmuKernel) -> Handler:
    return Handler(kernel)


def submitted(kernel: TcmuKernel, data_out: bytes = b"", room: int = 0) -> int:
    identifier = kernel.submit(CDB, data_out=data_out, room=room)
    assert identifier is not None
    return identifier


def test_a_command_and_its_data_out(kernel: TcmuKernel, handler: Handler) -> None:
    data = os.urandom(5000)
    identifier = submitted(kernel, data_out=data)
    ((entry, operation, found),) = handler.entries()
    assert (operation, found, handler.cdb(entry, 10)) == (OP_CMD, identifier, CDB)
    pieces = (handler.memory[start : start + length] for start, length in handler.iovecs(entry))
    assert b"".join(pieces) == data
    handler.answer(entry, identifier, CHECK_CONDITION, sense=SENSE)
    handler.pass_on()
    assert kernel.wait(identifier) == [Outcome(CHECK_CONDITION, SENSE)]


@pytest.mark.parametrize(
    ("status", "told", "length"),
    [(GOOD, 0, 600), (GOOD, 3, 3), (GOOD, 9999, 600), (CHECK_CONDITION, 0, 0), (2, 3, 3)],
)
def test_data_in(kernel: TcmuKernel, handler: Handler, status: int, told: int, length: int) -> None:
    identifier = submitted(kernel, room=600)
    ((entry, _, _),) = handler.entries()
    ((start, room),) = handler.iovecs(entry)
    handler.memory[start : start + room] = b"d" * room
    handler.answer(entry, identifier, status, told, SENSE)
    handler.pass_on()
    assert kernel.wait(identifier)[0].data_in == b"d" * length


def test_answers_in_any_order(kernel: TcmuKernel, handler: Handler) -> None:
    first, second = submitted(kernel), submitted(kernel)
    for identifier in (second, first):
        handler.answer(handler.entries()[0][0], identifier, status=identifier)
        handler.pass_on()
    assert [done.status for done in kernel.wait(first, second)] == [first, second]


def test_the_lowest_identifier_is_used_again(kernel: TcmuKernel, handler: Handler) -> None:
    first, second = submitted(kernel), submitted(kernel)
    handler.answer(handler.entries()[0][0], first)
    handler.pass_on()
    kernel.wait(first)
    assert (submitted(kernel), second) == (1, 2)


def test_round_the_ring_until_it_is_full(kernel: TcmuKernel, handler: Handler) -> None:
    operations = set()
    for _ in range(40):
        identifier = kernel.submit(bytes(6), room=4096)
        assert identifier is not None
        for entry, operation, found in handler.entries():
            operations.add(operation)
            if operation == OP_CMD:
                handler.answer(entry, found)
            handler.pass_on()
        assert kernel.wait(identifier) == [Outcome(GOOD, b"", b"\xee" * 4096)]
    assert operations == {OP_CMD, OP_PAD}
    while kernel.submit(CDB) is not None:
        pass
    assert 6 <= len(kernel.outstanding()) <= RING // 128


def test_a_data_area_without_room(kernel: TcmuKernel) -> None:
    submitted(kernel, room=3 * 4096)
    assert kernel.submit(CDB, room=4097) is None
    submitted(kernel, room=4096)


def test_task_management_and_reset(kernel: TcmuKernel, handler: Handler) -> None:
    identifier = submitted(kernel)
    kernel.notify(LOGICAL_UNIT_RESET, [identifier])
    entry, operation, _ = handler.entries()[1]
    assert operation == OP_TMR
    assert struct.unpack_from("=BxxxI", handler.memory, entry + 8) == (LOGICAL_UNIT_RESET, 1)
    assert struct.unpack_from("=H", handler.memory, entry + 32) == (identifier,)
    assert kernel.reset() == [identifier]
    assert (handler.entries(), kernel.outstanding()) == ([], [])


def test_an_identifier_that_nothing_waits_for(kernel: TcmuKernel, handler: Handler) -> None:
    identifier = submitted(kernel)
    handler.answer(handler.entries()[0][0], identifier + 1)
    handler.pass_on()
    with pytest.raises(BrokenRing):
        kernel.wait(identifier)


def test_one_that_is_answered_twice(kernel: TcmuKernel, handler: Handler) -> None:
    first, second = submitted(kernel), submitted(kernel)
    for _ in (first, second):
        handler.answer(handler.entries()[0][0], first)
        handler.pass_on()
    with pytest.raises(BrokenRing):
        kernel.wait(first)


@pytest.mark.parametrize("to", [8, 120, 512, RING, RING + 8])
def test_a_tail_where_no_entry_begins(kernel: TcmuKernel, handler: Handler, to: int) -> None:
    identifier = submitted(kernel)
    handler.move_tail(to)
    with pytest.raises(BrokenRing):
        kernel.wait(identifier)


@pytest.mark.parametrize(
    ("first", "length"),
    [(0x00, 6), (0x28, 10), (0x41, 10), (0x60, 12), (0x88, 16), (0xA3, 12), (0xC1, 10), (0xFF, 10)],
)
def test_what_is_passed_on_of_a_cdb(first: int, length: int) -> None:
    cdb = bytes([first, *range(1, 16)])
    assert passed_on(cdb) == cdb[:length]
    assert passed_on(cdb[:2]) == cdb[:2].ljust(length, b"\0")
    assert len(passed_on(bytes([0x7F, 0, 0, 0, 0, 0, 0, 24]))) == 32
