"""kill -9 of the process that serves a ring, under load, again and again.

The kernel (`tests.tcmu_kernel`) goes on; the next process takes the ring as it stands. However it
was killed, each command is answered once, as if it had been carried out once; COMPARE AND WRITE is
what would show a second time. When the process dies is drawn from a seed by how many answers have
come; where in its work it is then is chance, and nothing here depends on it.
"""

from __future__ import annotations

import random
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings

from scsi_snap import _native
from tests import ring_server
from tests.budget import SEARCH
from tests.native import runtime
from tests.ring_server import BLOCK_BYTES, VOLUME, VOLUME_BYTES
from tests.t6_scsi.bus import BUSY, CHECK_CONDITION, GOOD
from tests.t6_scsi.modes import NO_WCE, SWP
from tests.tcmu_kernel import LOGICAL_UNIT_RESET, Outcome, TcmuKernel

ROUNDS = 10
DEPTH = 12
BLOCKS = 256
"""Of the volume, those that are used: few, so that they meet chunks that snapshots preserve."""
SECONDS = 60.0
MISCOMPARE = 0x0E
TASK_ABORTED = 0x40
ABORT_TASK = 1
KINDS = ["write", "write", "read", "compare", "compare", "miscompare"]


class Handler:
    """The process."""

    def __init__(self, kernel: TcmuKernel, directory: Path) -> None:
        numbers = (kernel.region, kernel.region_bytes, kernel.doorbell)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.ring_server", str(directory), *map(str, numbers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(kernel.region, kernel.doorbell),
        )
        self._expect(b"ready\n")

    def _expect(self, line: bytes) -> None:
        assert self._process.stdout is not None
        assert select.select([self._process.stdout], [], [], SECONDS)[0], "it says nothing"
        assert self._process.stdout.readline() == line

    def do(self, verb: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{verb}\n".encode())
        self._process.stdin.flush()
        self._expect(b"done\n")

    def stop(self) -> None:
        self.do("stop")
        self._end()

    def kill(self) -> None:
        self._process.kill()
        self._end()

    def _end(self) -> None:
        self._process.wait(SECONDS)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


@dataclass(frozen=True)
class Sent:
    """A command whose blocks no other that is outstanding touches; so it is known how it ends."""

    kind: str
    lba: int
    count: int
    cdb: bytes
    data_out: bytes = field(default=b"", repr=False)
    room: int = 0

    @property
    def blocks(self) -> slice:
        return slice(self.lba * BLOCK_BYTES, (self.lba + self.count) * BLOCK_BYTES)


class Load:
    """What initiators do, and what is on the medium if all goes well."""

    def __init__(self, kernel: TcmuKernel, seed: int) -> None:
        self.random = random.Random(seed)
        self.expected = bytearray(VOLUME_BYTES)
        self.answers = 0
        self._kernel = kernel
        self._sent: dict[int, Sent] = {}
        self._writes = 0

    def fill(self) -> None:
        """As many commands as may be outstanding."""
        for _ in range(4 * DEPTH):
            if len(self._sent) >= DEPTH:
                return
            lba, count = self.random.randrange(BLOCKS - 8), self.random.randint(1, 8)
            busy = (set(range(one.lba, one.lba + one.count)) for one in self._sent.values())
            if not any(set(range(lba, lba + count)) & blocks for blocks in busy):
                self._submit(self._drawn(self.random.choice(KINDS), lba, count))

    def check(self) -> None:
        """Looks at every answer that has come."""
        answered = [each for each in self._sent if each in self._kernel.answered]
        for identifier in answered:
            sent, outcome = self._sent.pop(identifier), self._kernel.answered.pop(identifier)
            if outcome.status == BUSY:
                # As an initiator does.
                self._submit(sent)
                continue
            self.answers += 1
            self._check(sent, outcome)

    def run(self, answers: int) -> None:
        """Goes on until so many more have come, and leaves as much as may be outstanding."""
        until = self.answers + answers
        while self.answers < until:
            self.fill()
            self._wait()
        self.fill()

    def finish(self) -> None:
        """Until nothing is outstanding."""
        while self._sent:
            self._wait()
        assert (self._kernel.outstanding(), self._kernel.answered) == ([], {})

    def _wait(self) -> None:
        self._kernel.wait_for_any()
        self.check()

    def _submit(self, sent: Sent) -> None:
        identifier = self._kernel.submit(sent.cdb, data_out=sent.data_out, room=sent.room)
        assert identifier is not None
        self._sent[identifier] = sent

    def _drawn(self, kind: str, lba: int, count: int) -> Sent:
        self._writes += 1
        new = self._writes.to_bytes(4, "big") * (BLOCK_BYTES // 4 * count)
        if kind == "read":
            return Sent(kind, lba, count, ten(0x28, lba, count), room=count * BLOCK_BYTES)
        if kind == "write":
            return Sent(kind, lba, count, ten(0x2A, lba, count), new)
        sent = Sent(
            kind, lba, count, bytes([0x89, 0, *lba.to_bytes(8, "big"), 0, 0, 0, count, 0, 0])
        )
        old = bytes(self.expected[sent.blocks]) if kind == "compare" else b"?" * len(new)
        return Sent(kind, lba, count, sent.cdb, old + new)

    def _check(self, sent: Sent, outcome: Outcome) -> None:
        if sent.kind == "miscompare":
            assert (outcome.status, outcome.sense[2]) == (CHECK_CONDITION, MISCOMPARE), sent
            return
        assert outcome.status == GOOD, (sent.kind, outcome)
        if sent.kind == "read":
            assert outcome.data_in == self.expected[sent.blocks], sent
        else:
            self.expected[sent.blocks] = sent.data_out[-sent.count * BLOCK_BYTES :]


@pytest.fixture
def kernel() -> Iterator[TcmuKernel]:
    """Its ring is gone round many times, and its pages are used again at once."""
    with TcmuKernel(ring_bytes=4096, pages=64) as made:
        yield made


@contextmanager
def opened(directory: Path) -> Iterator[_native.Pool]:
    pool = _native.Pool.open(runtime(), ring_server.members(directory))
    try:
        yield pool
    finally:
        pool.close()


def seeds() -> range:
    return range(40 if settings.get_current_profile_name() == SEARCH else 1)


@pytest.fixture
def start(kernel: TcmuKernel, tmp_path: Path) -> Iterator[Callable[[], Handler]]:
    """Starts one, which does not outlive the test."""
    ring_server.make_pool(runtime(), tmp_path)
    started: list[Handler] = []

    def make() -> Handler:
        started.append(Handler(kernel, tmp_path))
        return started[-1]

    yield make
    for each in started:
        each.kill()


def test_every_command_is_answered_once(
    kernel: TcmuKernel, start: Callable[[], Handler], tmp_path: Path
) -> None:
    for seed in seeds():
        torment(kernel, start, tmp_path, seed)


def torment(kernel: TcmuKernel, start: Callable[[], Handler], directory: Path, seed: int) -> None:
    load = Load(kernel, seed)
    with opened(directory) as pool:
        load.expected[:] = pool.device(VOLUME, None).read(0, VOLUME_BYTES)
    points: dict[str, bytes] = {}
    handler = start()
    for number in range(ROUNDS):
        load.run(load.random.randint(1, 60))
        if number % 5 == 4:
            handler.stop()
        else:
            handler.kill()
        # What came while it died is taken; the rest is the next one's.
        load.check()
        handler = start()
        load.finish()
        name = f"s{seed}-{number}"
        handler.do(f"snapshot {name}")
        points[name] = bytes(load.expected)
    handler.stop()
    with opened(directory) as pool:
        assert pool.check(VOLUME) == []
        assert pool.device(VOLUME, None).read(0, VOLUME_BYTES) == load.expected
        for name, contents in points.items():
            assert pool.device(VOLUME, name).read(0, VOLUME_BYTES) == contents, name
            pool.delete_snapshot(VOLUME, name)


def ten(code: int, lba: int, count: int) -> bytes:
    return bytes([code, 0, *lba.to_bytes(4, "big"), 0, *count.to_bytes(2, "big"), 0])


def test_what_was_given_up_while_nobody_was_there(
    kernel: TcmuKernel, start: Callable[[], Handler]
) -> None:
    """An aborted command is answered and not carried out; one that the kernel has ended is gone."""
    start().kill()
    kept, aborted = (
        kernel.submit(ten(0x2A, lba, 1), data_out=bytes([lba]) * BLOCK_BYTES) for lba in (1, 2)
    )
    assert kept is not None and aborted is not None
    kernel.notify(ABORT_TASK, [aborted])
    handler = start()
    assert [each.status for each in kernel.wait(kept, aborted)] == [GOOD, TASK_ABORTED]
    handler.kill()
    ended = kernel.submit(ten(0x2A, 3, 1), data_out=b"3" * BLOCK_BYTES)
    assert kernel.reset() == [ended]
    read = kernel.submit(ten(0x28, 0, 4), room=4 * BLOCK_BYTES)
    assert read is not None
    start()
    (outcome,) = kernel.wait(read)
    blocks = [outcome.data_in[at * BLOCK_BYTES] for at in range(4)]
    assert (outcome.status, blocks) == (GOOD, [0, 1, 0, 0])


def test_what_initiators_chose_is_so_after_a_kill(
    kernel: TcmuKernel, start: Callable[[], Handler]
) -> None:
    """A write cache that was switched off, and nothing told of a process that is gone."""
    select = bytes(4) + NO_WCE
    mode_select = bytes([0x15, 0x10, 0, 0, len(select), 0])
    mode_sense = bytes([0x1A, 0x08, 0x08, 0, 0xFF, 0])
    handler = start()
    assert kernel.execute(mode_select, data_out=select).status == GOOD
    handler.kill()
    waiting = kernel.submit(mode_sense, room=255)
    assert waiting is not None
    start()
    (outcome,) = kernel.wait(waiting)
    assert (outcome.status, outcome.data_in[4:]) == (GOOD, NO_WCE)


def test_a_reset_that_the_kernel_tells_of(kernel: TcmuKernel, start: Callable[[], Handler]) -> None:
    """The unit is reset before a command that comes behind; who the kernel's target has told of it
    is not told again.
    """
    handler = start()
    select_swp = bytes(4) + SWP
    mode_select = bytes([0x15, 0x10, 0, 0, len(select_swp), 0])
    write = bytes([0x2A, 0, *bytes(4), 0, *[0, 1], 0])
    for _ in range(20):
        assert kernel.execute(mode_select, data_out=select_swp).status == GOOD
        assert kernel.execute(write, data_out=bytes(512)).status == CHECK_CONDITION
        kernel.notify(LOGICAL_UNIT_RESET, [])
        assert kernel.execute(write, data_out=bytes(512)).status == GOOD
    handler.stop()
