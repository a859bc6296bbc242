"""A ring of the kernel's target through the module: memory, a socket, a command set in Python."""

from __future__ import annotations

import json
import mmap
import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

import pytest

from scsi_snap import _native
from scsi_snap.scsi.identity import Identity, Personality
from scsi_snap.scsi.logical_unit import LogicalUnit
from scsi_snap.scsi.nexus import TargetPort
from scsi_snap.scsi.target import Target
from tests.native import MIB, runtime, scratch
from tests.t6_scsi.bus import initiator
from tests.t6_scsi.wire import ANSWER_SECONDS, PARAMETERS

NEXUS = 91
RING_OFFSET, RING_BYTES, PAGE_BYTES = 128, 1 << 16, 4096
REGION_BYTES = RING_OFFSET + RING_BYTES + PAGE_BYTES
HEAD, TAIL = 12, 64
ANSWER, SENSE_BYTES = 8, 96
OUT_OF_ORDER, READ_LENGTH = 1, 2
TEST_UNIT_READY = bytes(6)
INQUIRY = bytes([0x12, 0, 0, 0, 96, 0])
READ_10 = bytes([0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0])
WRITE_10 = bytes([0x2A, *READ_10[1:]])


class Device:
    """The kernel's side: one command at a time, with one page of data."""

    def __init__(self, directory: Path, device: _native.Device) -> None:
        self._descriptor = os.memfd_create("region")
        os.ftruncate(self._descriptor, REGION_BYTES)
        self.memory = mmap.mmap(self._descriptor, REGION_BYTES)
        self._put(0, "<HHII", 2, OUT_OF_ORDER | READ_LENGTH, RING_OFFSET, RING_BYTES)
        self._doorbell, self._other_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._doorbell.settimeout(ANSWER_SECONDS)
        self._records = str(directory / "records")
        self._head = 0
        self.command_set = Target(TargetPort(PARAMETERS.target_name))
        self._native = _native.Target(runtime(), self.command_set)
        self.command_set.set_gate(self._native)
        self._native.map(0, device, NEXUS, False)
        self.command_set.add_unit(0, LogicalUnit(device, Personality(Identity(UUID(int=NEXUS)))))

    def attach(self, nexus: int) -> _native.Ring:
        self.command_set.nexus_begins(nexus, initiator(nexus))
        return _native.Ring.attach(
            self._native,
            nexus,
            0,
            self._descriptor,
            REGION_BYTES,
            self._other_end.fileno(),
            self._records,
            {0x89: False},
        )

    def put(self, cdb: bytes, length: int, data: bytes = b"") -> None:
        """Puts a command in."""
        page = RING_OFFSET + RING_BYTES
        self.memory[page : page + len(data)] = data
        entry, size = RING_OFFSET + self._head, 112 + 16
        self.memory[entry : entry + size] = bytes(size)
        self._put(entry, "<IHBBIII", size | 1, 1, 0, 0, 1 if length else 0, 0, 0)
        self._put(entry + 24, "<Q", entry + 112)
        self._put(entry + 48, "<QQ", page, length)
        self.memory[entry + 112 : entry + 112 + len(cdb)] = cdb
        self._head += size
        self._put(HEAD, "<I", self._head)
        self._doorbell.send(bytes(4))

    def answer(self) -> tuple[int, tuple[int, int], bytes]:
        """Status, additional sense code with qualifier, the page."""
        while struct.unpack_from("<I", self.memory, TAIL)[0] != self._head:
            self._doorbell.recv(4)
        start = RING_OFFSET + self._head - 128 + ANSWER
        sense = self.memory[start + 8 : start + 8 + SENSE_BYTES]
        status = self.memory[start]
        page = self.memory[RING_OFFSET + RING_BYTES :]
        return status, (sense[12], sense[13]) if status else (0, 0), page

    def execute(
        self, cdb: bytes, length: int = 0, data: bytes = b""
    ) -> tuple[int, tuple[int, int], bytes]:
        self.put(cdb, length or len(data), data)
        return self.answer()

    def close(self) -> None:
        self._doorbell.close()
        self._other_end.close()
        self.memory.close()
        os.close(self._descriptor)

    def _put(self, at: int, layout: str, *values: int) -> None:
        struct.pack_into(layout, self.memory, at, *values)


@pytest.fixture
def device() -> Iterator[Device]:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(scratch()))
        pool = _native.Pool.create(
            runtime(), "tank", "raid0", 65536, [(str(directory / "m"), 16 * MIB)]
        )
        stack.callback(pool.close)
        pool.create_volume("vol0", MIB, 512, 16384, "drop-snapshot", None, {})
        made = Device(directory, pool.device("vol0", None))
        stack.callback(made.close)
        yield made


def test_commands_come_and_are_answered(device: Device) -> None:
    ring = device.attach(NEXUS)
    while device.execute(TEST_UNIT_READY)[0]:
        pass
    status, _, page = device.execute(INQUIRY, 96)
    assert (status, page[0], page[8:16].strip() != b"") == (0, 0, True)
    data = bytes(range(256)) * 2
    assert device.execute(WRITE_10, data=data)[0] == 0
    assert device.execute(READ_10, 512)[2][:512] == data
    beyond = bytes([0x28, 0, 0xFF, 0, 0, 0, 0, 0, 1, 0])
    assert device.execute(beyond, 512)[:2] == (2, (0x21, 0x00))
    assert (ring.settled(), ring.closed(), ring.end_reason()) == (True, False, None)
    ring.stop()
    assert (ring.closed(), ring.end_reason()) == (True, "the ring was stopped")
    counters = json.loads(ring.counters())
    assert (counters["commands"] >= 5, counters["unanswered"]) == (True, 0)


def test_what_lies_in_the_ring_waits_for_the_next(device: Device) -> None:
    device.attach(NEXUS).stop()
    device.put(TEST_UNIT_READY, 0)
    ring = device.attach(NEXUS + 1)
    device.answer()
    deadline = time.monotonic() + ANSWER_SECONDS
    while not ring.settled():
        assert time.monotonic() < deadline
    assert json.loads(ring.counters())["found"] == 1
    ring.stop()


def test_a_ring_that_cannot_be_says_so(device: Device) -> None:
    device.memory[0] = 9
    ring = device.attach(NEXUS)
    deadline = time.monotonic() + ANSWER_SECONDS
    while not ring.closed():
        assert time.monotonic() < deadline
    assert "version 9" in str(ring.end_reason())
    ring.stop()
