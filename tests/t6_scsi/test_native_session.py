"""Data path and command set together, beside commands: functions, events, mapping."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
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
from tests.t6_scsi.wire import ANSWER_SECONDS, BHS_BYTES, PARAMETERS, NoText, receive_pdu

NEXUS = 71
UNIT = 71
FINAL, IMMEDIATE, READ, WRITE, SIMPLE = 0x80, 0x40, 0x40, 0x20, 0x01
COMMAND, FUNCTION, FUNCTION_RESPONSE, ASYNC_MESSAGE = 0x01, 0x02, 0x22, 0x32
QUERY_TASK, NEXUS_RESET, QUERY_ASYNCHRONOUS_EVENT = 9, 11, 12
TEST_UNIT_READY = bytes(6)
READ_10 = bytes([0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0])
WRITE_10 = bytes([0x2A, *READ_10[1:]])
POWER_ON, NEXUS_LOSS, CAPACITY_CHANGED = (0x29, 0x00), (0x29, 0x07), (0x2A, 0x09)


class Recorder(Target):
    """A command set that keeps the operation codes of what the fast path declined."""

    def __init__(self) -> None:
        super().__init__(TargetPort(PARAMETERS.target_name))
        self.declined: list[int] = []

    def execute(
        self,
        nexus: int,
        lun: int,
        cdb: bytes,
        attribute: int,
        data_out: bytes,
        expected: tuple[int, int],
        repeated: bool = False,
    ) -> tuple[int, bytes, bytes, int]:
        self.declined.append(cdb[0])
        return super().execute(nexus, lun, cdb, attribute, data_out, expected, repeated)


class Session:
    """A session with the unit at LUN 0, and its initiator's end."""

    def __init__(self, device: _native.Device, level: int, *, read_only: bool) -> None:
        self.command_set = Recorder()
        native = _native.Target(runtime(), self.command_set)
        self.command_set.set_gate(native)
        native.map(0, device, UNIT, read_only)
        self.unit = LogicalUnit(device, Personality(Identity(UUID(int=UNIT))))
        self.command_set.add_unit(0, self.unit)
        self.command_set.nexus_begins(NEXUS, initiator(NEXUS))
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.socket = socket.create_connection(server.getsockname())
            far, _ = server.accept()
        self.socket.settimeout(ANSWER_SECONDS)
        parameters = replace(PARAMETERS, protocol_level=level)
        self.native = native.adopt(far.detach(), NEXUS, parameters, NoText(), b"")
        self.cmd_sn = PARAMETERS.cmd_sn

    def close(self) -> None:
        self.socket.close()
        assert self.native.wait_closed(ANSWER_SECONDS)

    def _send(self, opcode: int, flags: int, word: int, tail: bytes, data: bytes = b"") -> None:
        header = bytes([opcode, FINAL | flags, 0, 0, *len(data).to_bytes(4, "big")]) + bytes(8)
        for number in (self.cmd_sn, word, self.cmd_sn, 0):
            header += number.to_bytes(4, "big")
        self.socket.sendall((header + tail).ljust(BHS_BYTES, b"\0") + data)

    def receive(self) -> tuple[bytes, bytes]:
        """A PDU: its header, its data segment."""
        return receive_pdu(self.socket)

    def execute(
        self, cdb: bytes, *, attribute: int = SIMPLE, data: bytes = b"", room: int = 0
    ) -> tuple[int, tuple[int, int]]:
        """Status, and additional sense code with qualifier."""
        flags = attribute | (WRITE if data else 0) | (READ if room else 0)
        self._send(COMMAND, flags, len(data) or room, cdb, data)
        self.cmd_sn += 1
        header, segment = self.receive()
        return header[3], (segment[14], segment[15]) if header[3] else (0, 0)

    def function(self, code: int) -> tuple[int, bytes]:
        """Response, Additional Response Information."""
        self._send(FUNCTION | IMMEDIATE, code, 0xFFFFFFFF, b"")
        header, _ = self.receive()
        assert header[0] == FUNCTION_RESPONSE
        return header[2], header[8:11]

    def clear_attentions(self) -> None:
        while self.execute(TEST_UNIT_READY)[0]:
            pass


@pytest.fixture
def device() -> Iterator[_native.Device]:
    with ExitStack() as stack:
        directory = stack.enter_context(scratch())
        members: list[tuple[str, int | None]] = [(str(Path(directory) / "m"), 16 * MIB)]
        pool = _native.Pool.create(runtime(), "tank", "raid0", 65536, members)
        stack.callback(pool.close)
        pool.create_volume("vol0", MIB, 512, 16384, "drop-snapshot", None, {})
        yield pool.device("vol0", None)


@pytest.fixture
def session(device: _native.Device) -> Iterator[Session]:
    made = Session(device, 2, read_only=False)
    yield made
    made.close()


def test_an_event_reaches_the_initiator_with_its_sense_data(session: Session) -> None:
    sense = bytes([0x72, 0x06, 0x2A, 0x09, 0, 0, 0, 0])
    session.native.report_event(5 << 48, sense)
    header, data = session.receive()
    assert (header[0], header[36]) == (ASYNC_MESSAGE, 0)
    assert int.from_bytes(header[8:16], "big") == 5 << 48
    assert data == len(sense).to_bytes(2, "big") + sense


@pytest.mark.parametrize("length", [0, 253])
def test_sense_data_that_cannot_be(session: Session, length: int) -> None:
    with pytest.raises(_native.NativeError) as caught:
        session.native.report_event(0, bytes(length))
    assert caught.value.code == "invalid-argument"


def test_unit_attentions_are_asked_for_and_stay(session: Session) -> None:
    assert session.function(QUERY_ASYNCHRONOUS_EVENT) == (7, bytes([0x16, *POWER_ON]))
    session.unit.capacity_changed()
    assert session.function(QUERY_ASYNCHRONOUS_EVENT) == (7, bytes([0x26, *POWER_ON]))
    assert session.execute(TEST_UNIT_READY) == (2, POWER_ON)
    assert session.execute(TEST_UNIT_READY) == (2, CAPACITY_CHANGED)
    assert session.function(QUERY_ASYNCHRONOUS_EVENT) == (0, bytes(3))


def test_a_nexus_reset_is_told_and_the_session_goes_on(session: Session) -> None:
    session.clear_attentions()
    assert session.function(NEXUS_RESET) == (0, bytes(3))
    assert session.execute(READ_10, room=512) == (2, NEXUS_LOSS)
    assert session.execute(READ_10, room=512) == (0, (0, 0))


def test_below_protocol_level_2_there_is_none_of_it(device: _native.Device) -> None:
    session = Session(device, 1, read_only=False)
    for function in (QUERY_TASK, NEXUS_RESET, QUERY_ASYNCHRONOUS_EVENT):
        assert session.function(function) == (5, bytes(3))
    session.close()


def test_the_fast_path_declines_writes_of_a_read_only_mapping(device: _native.Device) -> None:
    session = Session(device, 1, read_only=True)
    session.clear_attentions()
    session.command_set.declined.clear()
    assert session.execute(READ_10, room=512)[0] == session.execute(WRITE_10, data=bytes(512))[0]
    assert session.command_set.declined == [WRITE_10[0]]
    session.close()


def test_an_aca_task_is_refused_whatever_its_command(session: Session) -> None:
    session.clear_attentions()
    for cdb in (TEST_UNIT_READY, READ_10):
        assert session.execute(cdb, attribute=4) == (2, (0x49, 0x00))
