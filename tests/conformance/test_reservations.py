"""Persistent reservations of a running daemon: what a kill -9 leaves of them, and fencing."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from scsi_snap.iscsi.framing import PduReader
from scsi_snap.iscsi.pdu import LoginResponse
from scsi_snap.iscsi.status import LoginStatus
from tests.conformance.conftest import TARGET, make_disk, make_pool
from tests.daemon import Daemon
from tests.t6_scsi.cluster import (
    ALL_TG_PT,
    APTPL,
    EA_RO,
    IGNORE_EXISTING_KEY,
    PREEMPT,
    PREEMPT_AND_ABORT,
    READ_KEYS,
    READ_RESERVATION,
    REPLACE_LOST,
    RESERVE,
    basic,
    out_cdb,
)
from tests.t6_scsi.wire import Command, Wire
from tests.t7_iscsi.initiator import CMD_SN, request

pytestmark = pytest.mark.conformance

GOOD, CHECK_CONDITION, RESERVATION_CONFLICT = 0x00, 0x02, 0x18
LOST = bytes([0x07, 0x44, 0x01])
WRITE_10 = bytes([0x2A, 0, 0, 0, 0, 8, 0, 0, 1, 0])
KEYS = {"a": 0xA, "b": 0xB, "c": 0xC}


class Node:
    """A host with one session; its initiator port is the same at each login."""

    def __init__(self, daemon: Daemon, name: str) -> None:
        self.key = KEYS[name]
        host, port = daemon.address.split(":")
        connection = socket.create_connection((host, int(port)), timeout=60)
        keys = [
            ("InitiatorName", f"iqn.2026-11.org.example:{name}"),
            ("TargetName", TARGET),
            ("SessionType", "Normal"),
            ("InitialR2T", "Yes"),
        ]
        isid = b"\x80\0\0\0\0" + bytes([self.key])
        connection.sendall(request(1, 3, keys, isid=isid).encode())
        reader = PduReader(1 << 16)
        while (answer := reader.next_pdu()) is None:
            received = connection.recv(4096)
            assert received
            reader.receive(received)
        assert isinstance(answer, LoginResponse)
        assert answer.status == LoginStatus.SUCCESS
        self.wire = Wire(connection, CMD_SN, answer.stat_sn + 1)

    def ready(self) -> Node:
        while self.wire.execute(Command(0, bytes(6), True, 0)).status == CHECK_CONDITION:
            pass
        return self

    def out(self, action: int, key: int, action_key: int = 0, kind: int = 0, flags: int = 0) -> int:
        parameters = basic(key, action_key, flags)
        cdb = bytes(out_cdb(action, len(parameters), kind))
        return self.wire.execute(Command(0, cdb, False, len(parameters), parameters, 512)).status

    def write(self) -> tuple[int, bytes]:
        """Status, and sense key and code."""
        done = self.wire.execute(Command(0, WRITE_10, False, 512, bytes(512), 512))
        return done.status, bytes(done.sense[at] for at in (2, 12, 13) if len(done.sense) > at)

    def read(self, action: int) -> bytes:
        done = self.wire.execute(
            Command(0, bytes([0x5E, action, 0, 0, 0, 0, 0, 1, 0, 0]), True, 256)
        )
        assert done.status == GOOD
        return done.data_in[8:]

    def close(self) -> None:
        self.wire.close()


@pytest.fixture
def cluster_daemon(daemon: Daemon, tmp_path: Path) -> Daemon:
    """With a disk, and node a and b registered; a holds the unit."""
    make_pool(daemon, tmp_path)
    make_disk(daemon)
    return daemon


def join(daemon: Daemon, flags: int) -> None:
    for name in ("a", "b"):
        node = Node(daemon, name).ready()
        assert node.out(IGNORE_EXISTING_KEY, 0, node.key, flags=flags) == GOOD
        if name == "a":
            assert node.out(RESERVE, node.key, kind=EA_RO) == GOOD
        node.close()


@pytest.mark.parametrize("flags", [APTPL, APTPL | ALL_TG_PT])
def test_what_persists_survives_a_kill(cluster_daemon: Daemon, flags: int) -> None:
    join(cluster_daemon, flags)
    cluster_daemon.kill()
    cluster_daemon.start()
    c, b = Node(cluster_daemon, "c").ready(), Node(cluster_daemon, "b").ready()
    assert c.write()[0] == RESERVATION_CONFLICT
    assert b.write()[0] == GOOD
    assert c.read(READ_KEYS) == b"".join(KEYS[name].to_bytes(8, "big") for name in "ab")
    assert c.read(READ_RESERVATION)[:8] == KEYS["a"].to_bytes(8, "big")
    # Node a is fenced, and a further kill does not let it in again.
    assert b.out(PREEMPT, b.key, KEYS["a"], EA_RO) == GOOD
    cluster_daemon.kill()
    cluster_daemon.start()
    assert Node(cluster_daemon, "a").ready().write()[0] == RESERVATION_CONFLICT
    assert Node(cluster_daemon, "b").ready().write()[0] == GOOD


def test_what_does_not_persist_is_gone_after_a_kill(cluster_daemon: Daemon) -> None:
    join(cluster_daemon, 0)
    cluster_daemon.kill()
    cluster_daemon.start()
    c = Node(cluster_daemon, "c").ready()
    assert c.write()[0] == GOOD
    assert c.read(READ_KEYS) == c.read(READ_RESERVATION) == b""


def test_a_damaged_record_lets_nobody_in_until_it_is_replaced(cluster_daemon: Daemon) -> None:
    join(cluster_daemon, APTPL)
    cluster_daemon.kill()
    (record,) = (
        path for path in cluster_daemon.state.glob("reservations-*") if path.suffix != ".previous"
    )
    record.write_bytes(record.read_bytes()[:-1])
    cluster_daemon.start()
    a = Node(cluster_daemon, "a")
    while (answer := a.write())[1][:1] == b"\x06":
        pass
    assert answer == (CHECK_CONDITION, LOST)
    assert record.name in cluster_daemon.log_path.read_text()
    assert a.out(REPLACE_LOST, 0, a.key, EA_RO, APTPL) == GOOD
    assert a.write()[0] == GOOD
    b = Node(cluster_daemon, "b").ready()
    assert b.write()[0] == RESERVATION_CONFLICT


def test_nothing_of_a_fenced_node_is_written_after_its_fencing(cluster_daemon: Daemon) -> None:
    """PREEMPT AND ABORT ends when the commands of the other node have ended."""
    join(cluster_daemon, 0)
    a, b = Node(cluster_daemon, "a").ready(), Node(cluster_daemon, "b").ready()
    begun = threading.Event()

    def write_until_fenced() -> int:
        status = GOOD
        while status == GOOD:
            try:
                status = b.write()[0]
            except TimeoutError:
                # Its last command was ended without a word (TAS is zero).
                return RESERVATION_CONFLICT
            begun.set()
        return status

    b.wire._socket.settimeout(5)
    with ThreadPoolExecutor(max_workers=1) as threads:
        writing = threads.submit(write_until_fenced)
        assert begun.wait(60)
        assert a.out(PREEMPT_AND_ABORT, a.key, b.key) == GOOD
        assert writing.result() == RESERVATION_CONFLICT
    assert a.read(READ_KEYS) == a.key.to_bytes(8, "big")
    assert a.write()[0] == GOOD
