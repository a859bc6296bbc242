"""The kernel's side of a TCMU device, for a handler that does not notice: mailbox, ring, data area.

It does what Linux 6.1 does (`drivers/target/target_core_user.c`), in memory that a handler in this
process or another one maps, and with a socket in the place of `/dev/uioN`. Like the kernel it lives
on when a handler is killed, and trusts nothing in the region but answers: what is outstanding,
where its pages are and how far it has cleaned are kept beside it. An identifier that it does not
wait for breaks the ring, here as there (`BrokenRing`).

    0         128            128 + ring_bytes       region_bytes
    | mailbox | entries ...  | pages of data ...    |

As in the kernel, the lowest identifier that is free is the next, pages are used again at once, with
whatever lies in them, and a CDB is cut to what its group code says.

One thread. A store of four bytes is one store, and nothing is read ahead of what it depends on: so
it is on x86-64.
"""

from __future__ import annotations

import mmap
import os
import select
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Self

CAP_OOOC, CAP_READ_LEN, CAP_TMR = 1, 2, 4
OP_PAD, OP_CMD, OP_TMR, OP_MASK = 0, 1, 2, 7
UNKNOWN_OP, READ_LEN = 0x01, 0x02
LOGICAL_UNIT_RESET = 5

GOOD, CHECK_CONDITION = 0x00, 0x02

_VERSION = 2
_HEAD, _TAIL = 12, 64
_RING_OFFSET = 128
_CDB_OFFSET, _IOVECS, _IOVEC_BYTES = 24, 48, 16
_ENTRY_BYTES_MIN = 112
_TMR_IDENTIFIERS = 32
_SENSE_BYTES = 96
_GROUP_BYTES = (6, 10, 10, 12, 16, 12, 10, 10)

_PAGE_BYTES = 4096
_STALE = b"\xee" * _PAGE_BYTES

ANSWER_SECONDS: Final = 60.0
"""How long a handler may take; only a test that fails waits for it."""


class BrokenRing(AssertionError):
    """The handler gave back what the kernel does not know."""


@dataclass(frozen=True)
class Outcome:
    """What LIO makes of an answer."""

    status: int
    sense: bytes = b""
    data_in: bytes = b""
    """As much as READ_LEN tells, or the whole buffer."""


@dataclass(frozen=True)
class _Outstanding:
    pages: list[int]
    room: int
    """Of Data-In."""


def passed_on(cdb: bytes) -> bytes:
    """What LIO passes on of a CDB: as many bytes as its operation code says, ten for C0h to FFh."""
    length = 8 + cdb[7] if cdb[0] == 0x7F else _GROUP_BYTES[cdb[0] >> 5]
    return cdb.ljust(length, b"\0")[:length]


@dataclass
class TcmuKernel:
    """`region` and `doorbell` are the handler's descriptors; a handler duplicates them."""

    ring_bytes: int = 1 << 16
    pages: int = 1024
    flags: int = CAP_OOOC | CAP_READ_LEN | CAP_TMR
    region: int = field(init=False)
    doorbell: int = field(init=False)
    answered: dict[int, Outcome] = field(init=False, default_factory=dict)
    """By identifier; whoever has sent the command takes it out."""

    def __post_init__(self) -> None:
        self.region_bytes = _RING_OFFSET + self.ring_bytes + self.pages * _PAGE_BYTES
        self.region = os.memfd_create("tcmu", os.MFD_CLOEXEC)
        os.truncate(self.region, self.region_bytes)
        self._memory = mmap.mmap(self.region, self.region_bytes)
        self._words = memoryview(self._memory).cast("I")
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.setblocking(False)
        self.doorbell = theirs.detach()
        self._head = self._cleaned = 0
        self._outstanding: dict[int, _Outstanding] = {}
        self._free = list(range(self.pages))
        struct.pack_into(
            "=HHII", self._memory, 0, _VERSION, self.flags, _RING_OFFSET, self.ring_bytes
        )
        for page in self._free:
            self._put(self._page(page), _STALE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._words.release()
        self._memory.close()
        self._ours.close()
        for descriptor in (self.region, self.doorbell):
            os.close(descriptor)

    def submit(self, cdb: bytes, *, data_out: bytes = b"", room: int = 0) -> int | None:
        """Puts a command in, with Data-Out or room for Data-In, and rings. Its identifier; None
        where the ring or the data area has no room.
        """
        assert not (data_out and room)
        cdb = passed_on(cdb)
        length = len(data_out) or room
        count = -(-length // _PAGE_BYTES)
        if count > len(self._free):
            return None
        iovecs = self._iovecs(self._free[:count], length)
        base = max(_IOVECS + len(iovecs) * _IOVEC_BYTES, _ENTRY_BYTES_MIN)
        size = base + len(cdb) + -len(cdb) % 8
        entry = self._make_room(size)
        if entry is None:
            return None
        pages, self._free = self._free[:count], self._free[count:]
        for number, page in enumerate(pages):
            piece = data_out[number * _PAGE_BYTES : (number + 1) * _PAGE_BYTES]
            self._put(self._page(page), piece)
        taken = self._outstanding.keys() | self.answered.keys()
        identifier = next(number for number in range(1, 0x10000) if number not in taken)
        self._put(entry, bytes(size))
        struct.pack_into("=IHBB", self._memory, entry, size | OP_CMD, identifier, 0, 0)
        struct.pack_into("=III", self._memory, entry + 8, len(iovecs), 0, 0)
        struct.pack_into("=Q", self._memory, entry + _CDB_OFFSET, entry + base)
        for number, iovec in enumerate(iovecs):
            struct.pack_into("=QQ", self._memory, entry + _IOVECS + number * _IOVEC_BYTES, *iovec)
        self._put(entry + base, cdb)
        self._outstanding[identifier] = _Outstanding(pages, room)
        self._move_head(size)
        self.ring()
        return identifier

    def notify(self, function: int, identifiers: list[int]) -> None:
        """Task management, in a TMR entry, of commands that are outstanding."""
        size = _TMR_IDENTIFIERS + 2 * len(identifiers)
        size += -size % 8
        entry = self._make_room(size)
        assert entry is not None
        self._put(entry, bytes(size))
        struct.pack_into("=I", self._memory, entry, size | OP_TMR)
        struct.pack_into("=BxxxI", self._memory, entry + 8, function, len(identifiers))
        for number, identifier in enumerate(identifiers):
            struct.pack_into("=H", self._memory, entry + _TMR_IDENTIFIERS + 2 * number, identifier)
        self._move_head(size)
        self.ring()

    def reset(self) -> list[int]:
        """`action/reset_ring`: every outstanding command ends, and the ring is empty."""
        self._head = self._cleaned = 0
        self._words[_HEAD // 4] = self._words[_TAIL // 4] = 0
        ended = sorted(self._outstanding)
        for identifier in ended:
            self._release(self._outstanding.pop(identifier))
        return ended

    def ring(self) -> None:
        """Wakes the handler; one that has not looked for long is not waited for."""
        with suppress(BlockingIOError):
            self._ours.send(struct.pack("=I", 1))

    def outstanding(self) -> list[int]:
        return sorted(self._outstanding)

    def tail(self) -> int:
        return self._words[_TAIL // 4]

    def collect(self) -> None:
        """Takes what the handler has given back, up to its tail, into `answered`."""
        while self._cleaned != (tail := self.tail()):
            entry = _RING_OFFSET + self._cleaned
            len_op, identifier, _, uflags = struct.unpack_from("=IHBB", self._memory, entry)
            operation, size = len_op & OP_MASK, len_op & ~OP_MASK
            ahead = (tail - self._cleaned) % self.ring_bytes
            if not 0 < size <= ahead or tail >= self.ring_bytes:
                raise BrokenRing(f"cmd_tail {tail} is not where an entry begins")
            if operation == OP_CMD:
                self._take_answer(entry, identifier, uflags)
            self._cleaned = (self._cleaned + size) % self.ring_bytes

    def wait(self, *identifiers: int) -> list[Outcome]:
        """Waits until these are answered, and takes their outcomes."""
        self._listen_until(lambda: self.answered.keys() >= {*identifiers})
        return [self.answered.pop(each) for each in identifiers]

    def wait_for_any(self) -> None:
        """Waits until something is in `answered`."""
        self._listen_until(lambda: bool(self.answered))

    def _listen_until(self, enough: Callable[[], bool]) -> None:
        until = time.monotonic() + ANSWER_SECONDS
        self.collect()
        while not enough():
            left = until - time.monotonic()
            assert left > 0, f"no answer to some of {self.outstanding()}"
            self._listen(left)

    def _listen(self, seconds: float) -> None:
        """Waits for the handler's doorbell, but not longer, and takes what is answered."""
        if select.select([self._ours], [], [], seconds)[0]:
            with suppress(BlockingIOError):
                while self._ours.recv(64):
                    pass
        self.collect()

    def execute(self, cdb: bytes, *, data_out: bytes = b"", room: int = 0) -> Outcome:
        """One command, until it is answered."""
        identifier = self.submit(cdb, data_out=data_out, room=room)
        assert identifier is not None
        (outcome,) = self.wait(identifier)
        return outcome

    def _take_answer(self, entry: int, identifier: int, uflags: int) -> None:
        command = self._outstanding.pop(identifier, None)
        if command is None:
            raise BrokenRing(f"nothing waits for identifier {identifier}")
        status, told = struct.unpack_from("=BxxxI", self._memory, entry + 8)
        if uflags & UNKNOWN_OP:
            status = CHECK_CONDITION
        told_length = min(told, command.room) if uflags & READ_LEN and told else None
        data = b""
        # LIO sends no data with another status than GOOD, but sense data and data together.
        if status == GOOD or (status == CHECK_CONDITION and told_length is not None):
            length = command.room if told_length is None else told_length
            pages = (self._get(self._page(page), _PAGE_BYTES) for page in command.pages)
            data = b"".join(pages)[:length]
        sense = self._get(entry + 16, _SENSE_BYTES) if status == CHECK_CONDITION else b""
        self._release(command)
        self.answered[identifier] = Outcome(status, sense[: 8 + sense[7]] if sense else b"", data)

    def _release(self, command: _Outstanding) -> None:
        for page in command.pages:
            self._put(self._page(page), _STALE)
        self._free = sorted([*self._free, *command.pages])

    def _make_room(self, size: int) -> int | None:
        """Where an entry goes, behind a PAD where it would cross the ring's end."""
        to_end = self.ring_bytes - self._head
        used = (self._head - self._cleaned) % self.ring_bytes
        needed = size if size <= to_end else size + to_end
        if needed > self.ring_bytes - used - 1:
            return None
        if size > to_end:
            entry = _RING_OFFSET + self._head
            struct.pack_into("=II", self._memory, entry, to_end | OP_PAD, 0)
            self._move_head(to_end)
        return _RING_OFFSET + self._head

    def _move_head(self, size: int) -> None:
        self._head = (self._head + size) % self.ring_bytes
        self._words[_HEAD // 4] = self._head

    def _iovecs(self, pages: list[int], length: int) -> list[tuple[int, int]]:
        """Neighbouring pages share one."""
        iovecs: list[tuple[int, int]] = []
        for number, page in enumerate(pages):
            start, piece = self._page(page), min(_PAGE_BYTES, length - number * _PAGE_BYTES)
            if iovecs and sum(iovecs[-1]) == start:
                iovecs[-1] = (iovecs[-1][0], iovecs[-1][1] + piece)
            else:
                iovecs.append((start, piece))
        return iovecs

    def _page(self, number: int) -> int:
        return _RING_OFFSET + self.ring_bytes + number * _PAGE_BYTES

    def _put(self, at: int, data: bytes) -> None:
        self._memory[at : at + len(data)] = data

    def _get(self, at: int, length: int) -> bytes:
        return self._memory[at : at + length]
