"""Hostile bytes to a running portal: the connection they come on ends, and nothing else does.

All the while a well-behaved session writes and reads back. Both sides are sockets, the controller
is a process.
"""

from __future__ import annotations

import itertools
import random
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from scsi_snap.iscsi.digest import digest
from scsi_snap.iscsi.framing import PduReader
from scsi_snap.iscsi.pdu import LoginResponse
from scsi_snap.iscsi.status import LoginStatus
from tests.daemon import Daemon
from tests.t6_scsi import wire
from tests.t6_scsi.wire import Command, Wire
from tests.t7_iscsi.initiator import CMD_SN, INITIATOR, request

TARGET = "iqn.2026-11.org.example:disk"
END_SECONDS = 60
BLOCK_BYTES = 512
UNTOUCHED_LBA = 1000
"""What hostile sessions aim at; it must stay zero."""
_isids = itertools.count(1)


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    directory: Path = tmp_path_factory.mktemp("hostile")
    with Daemon(directory) as daemon:
        members = [f"{directory / name}:24MiB" for name in ("m0", "m1")]
        daemon("pool", "create", "tank", "--level", "raid0", *members)
        daemon("volume", "create", "tank/vol0", "8MiB")
        daemon("target", "create", TARGET)
        daemon("lun", "map", TARGET, 0, "tank/vol0")
        host, port = daemon.address.split(":")
        yield host, int(port)


def log_in(portal: tuple[str, int], *, digests: bool = False) -> tuple[socket.socket, int]:
    """A connection in full-feature phase, and the StatSN expected next."""
    connection = socket.create_connection(portal, timeout=END_SECONDS)
    parameters = wire.PARAMETERS
    keys = [
        ("InitiatorName", INITIATOR),
        ("TargetName", TARGET),
        ("SessionType", "Normal"),
        ("HeaderDigest", "CRC32C" if digests else "None"),
        ("DataDigest", "CRC32C" if digests else "None"),
        ("InitialR2T", "Yes"),
        ("ImmediateData", "Yes"),
        ("MaxRecvDataSegmentLength", str(parameters.max_send_data_segment_length)),
        ("FirstBurstLength", str(parameters.first_burst_length)),
        ("MaxBurstLength", str(parameters.max_burst_length)),
    ]
    isid = b"\x80\0" + next(_isids).to_bytes(4, "big")
    connection.sendall(request(1, 3, keys, isid=isid).encode())
    reader = PduReader(1 << 16)
    while (answer := reader.next_pdu()) is None:
        received = connection.recv(4096)
        assert received
        reader.receive(received)
    assert isinstance(answer, LoginResponse)
    assert (answer.status, answer.next_stage) == (LoginStatus.SUCCESS, 3)
    return connection, answer.stat_sn + 1


class WellBehaved:
    """A session that writes blocks and reads them back, each time others."""

    def __init__(self, portal: tuple[str, int]) -> None:
        connection, stat_sn = log_in(portal)
        self._wire = Wire(connection, CMD_SN, stat_sn)
        while self._wire.execute(Command(0, bytes(6), True, 0)).status:
            pass
        self.rounds = 0

    def close(self) -> None:
        self._wire.close()

    def round(self) -> None:
        """Writes by immediate and solicited data, and reads all of it back."""
        self.rounds += 1
        lba, blocks = self.rounds * 16 % 512, 24
        data = self.rounds.to_bytes(8, "big") * (blocks * BLOCK_BYTES // 8)
        cdb = bytes([0x2A, 0]) + lba.to_bytes(4, "big") + bytes([0, 0, blocks, 0])
        done = self._wire.execute(Command(0, cdb, False, len(data), data, wire.SEGMENT_BYTES))
        assert (done.status, done.residual_count) == (0, 0)
        assert self.read(lba, blocks) == data

    def read(self, lba: int, blocks: int) -> bytes:
        cdb = bytes([0x28, 0]) + lba.to_bytes(4, "big") + bytes([0, 0, blocks, 0])
        done = self._wire.execute(Command(0, cdb, True, blocks * BLOCK_BYTES))
        assert (done.status, done.residual_count) == (0, 0)
        return done.data_in


@contextmanager
def working(session: WellBehaved) -> Iterator[None]:
    """The session works in a thread for as long as the block runs; its failures are raised here."""
    stop, begun = threading.Event(), threading.Event()

    def work() -> None:
        try:
            while not stop.is_set():
                session.round()
                begun.set()
        finally:
            begun.set()

    with ThreadPoolExecutor(max_workers=1) as threads:
        worked = threads.submit(work)
        try:
            assert begun.wait(END_SECONDS)
            yield
        finally:
            stop.set()
        worked.result()


def header(opcode: int, flags: int, data_bytes: int, *, tag: int = 7) -> bytearray:
    made = bytearray(48)
    made[0], made[1] = opcode, flags
    made[5:8] = data_bytes.to_bytes(3, "big")
    made[16:20] = tag.to_bytes(4, "big")
    made[24:28] = CMD_SN.to_bytes(4, "big")
    return made


def write_command(data_bytes: int) -> bytes:
    """WRITE(10) of one block with that much immediate data, first command of its session."""
    made = header(wire.COMMAND, wire.FINAL | wire.WRITE | wire.SIMPLE, data_bytes)
    made[20:24] = BLOCK_BYTES.to_bytes(4, "big")
    made[32:42] = bytes([0x2A, 0]) + UNTOUCHED_LBA.to_bytes(4, "big") + bytes([0, 0, 1, 0])
    return bytes(made)


def ended(connection: socket.socket) -> bytes:
    """What came before the target closed the connection, which it must."""
    received = b""
    try:
        while piece := connection.recv(4096):
            received += piece
    except ConnectionResetError:
        pass
    return received


NOP = bytes(header(0x40, 0x80, 0))
GARBAGE = [random.Random(seed).randbytes(8192) for seed in range(12)]
FATAL: dict[str, bytes] = {
    "oversized NOP-Out": bytes(header(0x40, 0x80, 0xFF_FFFF)),
    "oversized command": write_command(0xFF_FFFF),
    "oversized Data-Out": bytes(header(wire.DATA_OUT, 0x80, 0xFF_FFFF)),
    "oversized text": bytes(header(0x04, 0x80, 0xFF_FFFF)),
}
TRUNCATED: dict[str, bytes] = {
    "nothing": b"",
    "one byte": NOP[:1],
    "half a header": NOP[:24],
    "no data": write_command(BLOCK_BYTES),
    "half the data": write_command(BLOCK_BYTES) + b"x" * (BLOCK_BYTES // 2),
    "no additional header": bytes([0x41, 0x80, 0, 0, 0xFF, 0, 0, 0]) + bytes(40),
    "a command that waits for its R2T's data": write_command(0),
}


@pytest.fixture
def session(portal: tuple[str, int]) -> Iterator[WellBehaved]:
    made = WellBehaved(portal)
    yield made
    # Works still, and nothing hostile was written.
    made.round()
    assert made.read(UNTOUCHED_LBA, 1) == bytes(BLOCK_BYTES)
    made.close()


def attack(portal: tuple[str, int], deed: Callable[[socket.socket], None]) -> None:
    connection, _ = log_in(portal)
    with connection:
        deed(connection)


@pytest.mark.parametrize("name", FATAL)
def test_too_long_a_segment_ends_the_connection(
    portal: tuple[str, int], session: WellBehaved, name: str
) -> None:
    def deed(connection: socket.socket) -> None:
        connection.sendall(FATAL[name])
        ended(connection)

    with working(session):
        attack(portal, deed)


@pytest.mark.parametrize("name", TRUNCATED)
def test_a_truncated_pdu_is_not_carried_out(
    portal: tuple[str, int], session: WellBehaved, name: str
) -> None:
    def deed(connection: socket.socket) -> None:
        connection.sendall(TRUNCATED[name])
        connection.shutdown(socket.SHUT_WR)
        ended(connection)

    with working(session):
        attack(portal, deed)


def test_garbage_after_login_harms_nobody_else(
    portal: tuple[str, int], session: WellBehaved
) -> None:
    def deed(garbage: bytes, connection: socket.socket) -> None:
        try:
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            return
        ended(connection)

    with working(session):
        for garbage in GARBAGE:
            # From byte to byte, and behind a header that promises a command.
            attack(portal, partial(deed, garbage))
            attack(portal, partial(deed, write_command(0)[:32] + garbage))


def test_garbage_instead_of_a_login_harms_nobody_else(
    portal: tuple[str, int], session: WellBehaved
) -> None:
    with working(session):
        for garbage in GARBAGE:
            with socket.create_connection(portal, timeout=END_SECONDS) as connection:
                try:
                    connection.sendall(garbage)
                    connection.shutdown(socket.SHUT_WR)
                except OSError:
                    continue
                ended(connection)


def test_a_bad_header_digest_ends_the_connection(
    portal: tuple[str, int], session: WellBehaved
) -> None:
    connection, _ = log_in(portal, digests=True)
    command = write_command(BLOCK_BYTES)
    data = b"x" * BLOCK_BYTES
    wrong = bytes([digest(command)[0] ^ 1]) + digest(command)[1:]
    with working(session), connection:
        connection.sendall(command + wrong + data + digest(data))
        ended(connection)


def test_data_with_a_bad_digest_is_rejected_and_not_written(
    portal: tuple[str, int], session: WellBehaved
) -> None:
    connection, _ = log_in(portal, digests=True)
    command = write_command(BLOCK_BYTES)
    data = b"x" * BLOCK_BYTES
    wrong = bytes([digest(data)[0] ^ 1]) + digest(data)[1:]
    with working(session), connection:
        connection.sendall(command + digest(command) + data + wrong)
        connection.shutdown(socket.SHUT_WR)
        received = ended(connection)
    # Reject, Data (payload) Digest Error (RFC 7143, 11.17.1).
    assert (received[0], received[2]) == (0x3F, 0x02)
