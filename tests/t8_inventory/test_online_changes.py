"""A real session, while LUNs, initiators, portals and groups change around it: it is told what it
must know (unit attention, Async Message) and is never reset."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from scsi_snap.iscsi.framing import PduReader
from scsi_snap.iscsi.pdu import LoginResponse
from tests.daemon import Daemon
from tests.t6_scsi import wire
from tests.t6_scsi.wire import Command, Wire
from tests.t7_iscsi.initiator import CMD_SN, DISK, request
from tests.t8_inventory.exporting import free_address

ALICE, BOB = "iqn.2026-11.org.example:alice", "iqn.2026-11.org.example:bob"
REPORT_LUNS = bytes([0xA0, 0, 2, 0, 0, 0, 0, 0, 1, 0, 0, 0])
LUNS_CHANGED = (0x3F, 0x0E)


class Session(Wire):
    """A session that logs in by itself."""

    def __init__(self, address: str, initiator: str) -> None:
        host, port = address.split(":")
        connection = socket.create_connection((host, int(port)), timeout=wire.ANSWER_SECONDS)
        names = [("InitiatorName", initiator), ("TargetName", DISK), ("SessionType", "Normal")]
        connection.sendall(request(1, 3, names).encode())
        reader = PduReader(1 << 16)
        while (answer := reader.next_pdu()) is None:
            reader.receive(connection.recv(4096))
        assert isinstance(answer, LoginResponse) and answer.status == 0
        super().__init__(connection, CMD_SN, answer.stat_sn + 1)

    def attentions(self, lun: int = 0) -> list[tuple[int, int]]:
        """Every unit attention that is pending there."""
        found = []
        while (done := self.execute(Command(lun << 48, bytes(6), True, 0))).status:
            sense = done.sense
            found.append((sense[12], sense[13]))
        return found

    def luns(self) -> list[int]:
        done = self.execute(Command(0, REPORT_LUNS, True, 256))
        assert done.status == 0
        return list(done.data_in[9::8])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    directory: Path = tmp_path_factory.mktemp("online")
    with Daemon(directory) as daemon:
        members = [f"{directory / name}:24MiB" for name in ("m0", "m1")]
        daemon("pool", "create", "tank", "--level", "raid0", *members)
        for name in ("vol0", "vol1"):
            daemon("volume", "create", f"tank/{name}", "4MiB")
        yield daemon


@pytest.fixture
def daemon(served: Daemon) -> Iterator[Daemon]:
    served("target", "create", DISK)
    served("lun", "map", DISK, 0, "tank/vol0")
    yield served
    served("target", "delete", "--close-sessions", DISK)


@pytest.fixture
def alice(daemon: Daemon) -> Iterator[Session]:
    session = Session(daemon.address, ALICE)
    session.attentions()
    yield session
    # Not reset by anything.
    assert session.luns()[0] == 0
    session.close()


@pytest.fixture
def bob(daemon: Daemon) -> Iterator[Session]:
    session = Session(daemon.address, BOB)
    session.attentions()
    yield session
    session.close()


def test_luns_come_and_go_under_sessions(daemon: Daemon, alice: Session, bob: Session) -> None:
    daemon("lun", "map", DISK, 1, "tank/vol1", "--initiator", ALICE)
    assert (alice.attentions(), alice.luns()) == ([LUNS_CHANGED], [0, 1])
    assert (bob.attentions(), bob.luns()) == ([], [0])
    assert (alice.events, bob.events) == ([(0, *LUNS_CHANGED)], [])
    alice.attentions(1)
    daemon("lun", "map", DISK, 2, "tank/vol1", "--read-only", "--again")
    for session in (alice, bob):
        assert session.attentions() == [LUNS_CHANGED] and session.luns()[-1] == 2
        session.attentions(2)
    write = bytes([0x2A, 0, 0, 0, 0, 0, 0, 0, 1, 0])
    protected = alice.execute(Command(2 << 48, write, False, 512, bytes(512), 512))
    assert (protected.status, protected.sense[2], protected.sense[12]) == (2, 7, 0x27)
    assert alice.execute(Command(1 << 48, write, False, 512, bytes(512), 512)).status == 0
    daemon("lun", "unmap", DISK, 1)
    daemon("lun", "unmap", DISK, 2)
    assert (alice.attentions(), alice.luns()) == ([LUNS_CHANGED], [0])
    assert (bob.attentions(), bob.luns()) == ([LUNS_CHANGED], [0])
    assert len(bob.events) == 2


def test_access_and_portals_change_beside_a_session(daemon: Daemon, alice: Session) -> None:
    address = free_address()
    daemon("portal", "create", address, "--group", 2)
    daemon("target", "add-group", DISK, 2)
    with pytest.raises(AssertionError):
        other = Session(address, BOB)
        daemon("target", "allow", DISK, ALICE)
        other.luns()
    second = Session(address, ALICE)
    daemon("portal", "delete", address)
    daemon("target", "chap", DISK, "--user", "a", "--secret", "twelve bytes")
    daemon("target", "redirect", DISK, "192.0.2.1:3260")
    daemon("discovery", "chap", "--user", "a", "--secret", "twelve bytes")
    second.attentions()
    assert second.luns() == [0] and alice.attentions() == []
    sessions = daemon.json("session", "list", DISK)
    assert sorted((one["portal"], one["portal_group_tag"]) for one in sessions) == sorted(
        [(daemon.address, 1), (address, 2)]
    )
    daemon("target", "remove-group", DISK, 2, "--close-sessions")
    with pytest.raises(AssertionError):
        second.luns()
    daemon("discovery", "chap", "--off")
