"""The portal over real sockets: hand-over, reinstatement, limits, hostile peers, `iscsi-ls`."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from scsi_snap.iscsi.chap import Challenges, ChapCredentials
from scsi_snap.iscsi.directory import Redirect, TargetDescription
from scsi_snap.iscsi.framing import PduReader
from scsi_snap.iscsi.pdu import LoginRequest, LoginResponse, LogoutRequest, Pdu, TextRequest
from scsi_snap.iscsi.portal import Adoption, Portal, PortalLimits
from scsi_snap.iscsi.refusals import RefusedLogin
from scsi_snap.iscsi.sessions import SessionTable
from scsi_snap.iscsi.status import LoginStatus
from scsi_snap.iscsi.text import Pairs, decode_text
from tests.t7_iscsi.initiator import (
    CREDENTIALS,
    DISCOVERY_NAMES,
    DISK,
    INITIATOR,
    ISID,
    MUTUAL,
    NAMES,
    PRIVATE,
    STRANGER,
    TAPE,
    Directory,
    request,
)

GUARD_S = 60
"""A test that hangs fails; none waits for it."""


@dataclass
class FakeSession:
    """A session that ends when told to, or never."""

    adoption: Adoption
    ends: bool = True
    ended: bool = False

    def closed(self) -> bool:
        return self.ended

    async def end(self) -> None:
        while not self.ends:
            await asyncio.sleep(3600)
        self.ended = True
        self.adoption.connection.close()


@dataclass
class Controller:
    """What is above a portal."""

    directory: Directory = field(default_factory=Directory)
    table: SessionTable = field(default_factory=SessionTable)
    sessions: list[FakeSession] = field(default_factory=list)
    refused: list[RefusedLogin] = field(default_factory=list)
    adopted: asyncio.Event = field(default_factory=asyncio.Event)
    fails: bool = False
    ends: bool = True
    may_adopt: asyncio.Event = field(default_factory=asyncio.Event)

    async def adopt(self, adoption: Adoption) -> FakeSession:
        await self.may_adopt.wait()
        if self.fails:
            raise RuntimeError("no thread to run it")
        session = FakeSession(adoption, self.ends)
        self.sessions.append(session)
        self.adopted.set()
        return session

    def __post_init__(self) -> None:
        self.may_adopt.set()

    async def wait_adopted(self) -> FakeSession:
        await self.adopted.wait()
        self.adopted.clear()
        return self.sessions[-1]


class Peer:
    """An initiator's connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.pdus = PduReader(1 << 24)

    async def send(self, *pdus: Pdu, behind: bytes = b"") -> None:
        self.writer.write(b"".join(pdu.encode() for pdu in pdus) + behind)  # type: ignore[union-attr]
        await self.writer.drain()

    async def receive(self) -> Pdu | None:
        """The next PDU, or None at the end of the connection."""
        while (pdu := self.pdus.next_pdu()) is None:
            try:
                data = await self.reader.read(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                return None
            self.pdus.receive(data)
        return pdu

    async def log_in(self, sent: LoginRequest, behind: bytes = b"") -> LoginResponse:
        await self.send(sent, behind=behind)
        received = await self.receive()
        assert isinstance(received, LoginResponse)
        return received

    def close(self) -> None:
        self.writer.close()


@asynccontextmanager
async def serving(
    controller: Controller, limits: PortalLimits | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[Portal]:
    portal = Portal(
        host,
        0,
        directory=controller.directory,
        sessions=controller.table,
        adopt=controller.adopt,
        refused=controller.refused.append,
        limits=limits,
    )
    await portal.start()
    try:
        yield portal
    finally:
        await portal.close()
        for session in controller.sessions:
            session.adoption.connection.close()


@asynccontextmanager
async def connected(portal: Portal) -> AsyncIterator[Peer]:
    peer = Peer(*await asyncio.open_connection(portal.address.host, portal.address.port))
    try:
        yield peer
    finally:
        peer.close()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def guarded() -> None:
        async with asyncio.timeout(GUARD_S):
            await test()

    asyncio.run(guarded())


def login(isid: bytes = ISID, tsih: int = 0) -> LoginRequest:
    return request(1, 3, NAMES, isid=isid, tsih=tsih)


def test_a_session_leaves_with_its_socket_and_the_bytes_behind() -> None:
    async def test() -> None:
        controller = Controller()
        async with serving(controller) as portal, connected(portal) as peer:
            received = await peer.log_in(login(), behind=b"command")
            session = await controller.wait_adopted()
            assert received.status == 0
            assert received.tsih == session.adoption.parameters.tsih != 0
            assert session.adoption.received == b"command"
            # asyncio has let go: what comes now is read by whoever took the socket.
            taken = socket.socket(fileno=session.adoption.connection.detach())
            peer.writer.write(b"more")
            await peer.writer.drain()
            taken.setblocking(True)
            assert await asyncio.to_thread(taken.recv, 100) == b"more"
            await asyncio.to_thread(taken.sendall, b"answer")
            assert await peer.reader.readexactly(6) == b"answer"
            taken.close()

    run(test)


def test_an_adopted_session_outlives_the_portal() -> None:
    async def test() -> None:
        controller = Controller()
        async with serving(controller) as portal, connected(portal) as peer:
            await peer.log_in(login())
            session = await controller.wait_adopted()
            await portal.close()
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(session.adoption.connection, b"still here")
            assert await peer.reader.readexactly(10) == b"still here"

    run(test)


def test_reinstatement_ends_the_old_session_first() -> None:
    async def test() -> None:
        controller = Controller()
        async with (
            serving(controller) as portal,
            connected(portal) as old,
            connected(portal) as new,
        ):
            first = await old.log_in(login())
            session = await controller.wait_adopted()
            second = await new.log_in(login())
            assert session.ended
            assert second.tsih not in (0, first.tsih)
            await controller.wait_adopted()
            assert await old.receive() is None
            assert len(controller.table) == 1

    run(test)


def test_logins_of_the_same_ends_take_turns() -> None:
    async def test() -> None:
        controller = Controller()
        controller.may_adopt.clear()
        async with (
            serving(controller) as portal,
            connected(portal) as one,
            connected(portal) as two,
            connected(portal) as bystander,
        ):
            await one.log_in(login())
            await two.send(login())
            # Once the bystander is answered, the portal has seen the second login too.
            assert (await bystander.log_in(request(0, None, NAMES))).status == 0
            controller.may_adopt.set()
            assert isinstance(await two.receive(), LoginResponse)
            await controller.wait_adopted()
            while len(controller.sessions) < 2:
                await controller.wait_adopted()
            assert [session.ended for session in controller.sessions] == [True, False]
            assert len(controller.table) == 1

    run(test)


def test_reinstatement_of_a_session_that_does_not_end() -> None:
    async def test() -> None:
        controller = Controller(ends=False)
        limits = PortalLimits(reinstatement_timeout_s=0.05)
        async with (
            serving(controller, limits) as portal,
            connected(portal) as old,
            connected(portal) as new,
        ):
            await old.log_in(login())
            await controller.wait_adopted()
            assert (await new.log_in(login())).status == LoginStatus.SERVICE_UNAVAILABLE
            assert await new.receive() is None
            assert not controller.sessions[0].ended

    run(test)


def test_sessions_of_other_initiator_ports_live_side_by_side() -> None:
    async def test() -> None:
        controller = Controller()
        async with (
            serving(controller) as portal,
            connected(portal) as one,
            connected(portal) as two,
            connected(portal) as three,
        ):
            first = await one.log_in(login())
            await controller.wait_adopted()
            second = await two.log_in(login(bytes(6)))
            await controller.wait_adopted()
            assert first.tsih != second.tsih
            assert len(controller.table) == 2
            again = await three.log_in(login(tsih=first.tsih))
            assert again.status == LoginStatus.CANNOT_INCLUDE_IN_SESSION
            await controller.sessions[0].end()
            assert len(controller.table) == 1

    run(test)


def test_too_many_sessions() -> None:
    async def test() -> None:
        controller = Controller(table=SessionTable(max_sessions=1))
        async with (
            serving(controller) as portal,
            connected(portal) as one,
            connected(portal) as two,
        ):
            await one.log_in(login())
            await controller.wait_adopted()
            received = await two.log_in(login(bytes(6)))
            assert received.status == LoginStatus.OUT_OF_RESOURCES

    run(test)


def test_an_adoption_that_fails_closes_the_connection() -> None:
    async def test() -> None:
        controller = Controller(fails=True)
        async with serving(controller) as portal:
            async with connected(portal) as peer:
                await peer.log_in(login())
                assert await peer.receive() is None
            assert len(controller.table) == 0
            controller.fails = False
            async with connected(portal) as peer:
                assert (await peer.log_in(login())).status == 0

    run(test)


def test_a_portal_deleted_while_a_session_is_handed_over_lists_it() -> None:
    """Else nothing would end it when its initiator port logs in again, by another portal."""

    async def test() -> None:
        controller = Controller()
        controller.may_adopt.clear()
        async with serving(controller) as portal, connected(portal) as peer:
            assert (await peer.log_in(login())).status == 0
            closing = asyncio.create_task(portal.close())
            await asyncio.sleep(0)
            controller.may_adopt.set()
            await closing
            assert len(controller.sessions) == len(controller.table) == 1
            assert not controller.sessions[0].ended
            async with serving(controller) as other, connected(other) as again:
                assert (await again.log_in(login())).status == 0
                assert controller.sessions[0].ended

    run(test)


@pytest.mark.parametrize(
    ("pairs", "who", "what", "reason"),
    [
        (
            [("InitiatorName", STRANGER), ("TargetName", DISK)],
            STRANGER,
            DISK,
            f"{STRANGER} may not log in to {DISK} (0202h)",
        ),
        (
            [("InitiatorName", INITIATOR), ("TargetName", DISK + "x")],
            INITIATOR,
            DISK + "x",
            f"no target {DISK}x at this portal (0203h)",
        ),
        (
            [("InitiatorName", "a\x1b[2J\u202e"), ("TargetName", DISK)],
            "a\\x1b[2J\\u202e",
            DISK,
            "InitiatorName: an iSCSI name cannot have U+001B, which cannot be shown (0200h)",
        ),
        (
            [("SessionType", "Discovery")],
            "an initiator",
            "discovery",
            "no InitiatorName (0207h)",
        ),
    ],
)
def test_a_refused_login_is_told_with_who_where_and_why(
    pairs: Pairs, who: str, what: str, reason: str
) -> None:
    async def test() -> None:
        controller = Controller()
        async with serving(controller) as portal, connected(portal) as peer:
            await peer.log_in(request(1, 3, pairs))
            assert await peer.receive() is None
        said = f"{who} at 127.0.0.1 was refused {what}: {reason}"
        assert [str(one) for one in controller.refused] == [said]

    run(test)


def test_who_is_sent_on_is_not_refused() -> None:
    async def test() -> None:
        moved = TargetDescription(DISK, redirect=Redirect("192.0.2.9", 3260))
        controller = Controller(Directory(targets={DISK: moved}))
        async with serving(controller) as portal, connected(portal) as peer:
            received = await peer.log_in(login())
            assert received.status == LoginStatus.TARGET_MOVED_TEMPORARILY
        assert controller.refused == []

    run(test)


def test_a_portal_deleted_in_the_middle_of_logins_ends_them() -> None:
    async def test() -> None:
        controller = Controller(directory=Directory(MUTUAL))
        challenges = Challenges()
        portal = Portal(
            "127.0.0.1",
            0,
            directory=controller.directory,
            sessions=controller.table,
            adopt=controller.adopt,
            refused=controller.refused.append,
            challenges=challenges,
        )
        await portal.start()
        async with connected(portal) as silent, connected(portal) as asked:
            silent.writer.write(login().encode()[:20])
            asking = [*NAMES, ("AuthMethod", "CHAP"), ("CHAP_A", "7,5")]
            assert (await asked.log_in(request(0, None, asking))).status == 0
            assert len(challenges) == 1
            await portal.close()
            assert await silent.receive() is None and await asked.receive() is None
        assert len(challenges) == 0 and not controller.sessions

    run(test)


def test_many_wrong_answers_and_half_open_logins_leave_nothing() -> None:
    async def test() -> None:
        controller = Controller(directory=Directory(CREDENTIALS))
        challenges = Challenges()
        limits = PortalLimits(logins=16, logins_per_address=16, login_timeout_s=GUARD_S)
        portal = Portal(
            "127.0.0.1",
            0,
            directory=controller.directory,
            sessions=controller.table,
            adopt=controller.adopt,
            refused=controller.refused.append,
            challenges=challenges,
            limits=limits,
        )
        await portal.start()
        asking = request(0, None, [*NAMES, ("AuthMethod", "CHAP"), ("CHAP_A", "5")])
        guess = request(0, 3, [("CHAP_N", "alice"), ("CHAP_R", "0x" + "00" * 16)])
        for _ in range(40):
            async with connected(portal) as peer:
                assert (await peer.log_in(asking)).status == 0
                refused = await peer.log_in(guess)
                assert refused.status == LoginStatus.AUTHENTICATION_FAILURE
                assert await peer.receive() is None
        half_open = [
            Peer(*await asyncio.open_connection(portal.address.host, portal.address.port))
            for _ in range(40)
        ]
        for peer in half_open:
            peer.writer.write(asking.encode()[:30])
        # Beyond the limit they are hung up on; below it they wait.
        assert [await peer.receive() for peer in half_open[16:]] == [None] * 24
        for peer in half_open:
            peer.close()
        await portal.close()
        assert len(challenges) == 0 and not controller.sessions

    run(test)


def test_a_refused_login_is_told_why_and_closed() -> None:
    async def test() -> None:
        async with serving(Controller()) as portal, connected(portal) as peer:
            refused = request(1, 3, [*NAMES[:1], ("TargetName", PRIVATE)])
            received = await peer.log_in(refused, behind=b"x" * 100_000)
            assert received.status == LoginStatus.AUTHORIZATION_FAILURE
            assert await peer.reader.read() == b"", "an orderly end, no reset"

    run(test)


@pytest.mark.parametrize("garbage", [b"", b"GET / HTTP/1.0\r\n\r\n" * 4, b"\xff" * 5000])
def test_a_hostile_peer_harms_nobody_else(garbage: bytes) -> None:
    async def test() -> None:
        controller = Controller()
        async with (
            serving(controller) as portal,
            connected(portal) as hostile,
            connected(portal) as peer,
        ):
            hostile.writer.write(garbage)
            hostile.writer.write_eof()
            assert await hostile.receive() is None
            assert (await peer.log_in(login())).status == 0

    run(test)


def test_a_login_that_stalls_is_ended() -> None:
    async def test() -> None:
        limits = PortalLimits(login_timeout_s=0.05)
        async with serving(Controller(), limits) as portal, connected(portal) as peer:
            peer.writer.write(login().encode()[:60])
            assert await peer.receive() is None

    run(test)


@pytest.mark.parametrize(
    "limits",
    [
        PortalLimits(logins=1, login_timeout_s=2 * GUARD_S),
        PortalLimits(logins_per_address=1, login_timeout_s=2 * GUARD_S),
    ],
    ids=["all", "address"],
)
def test_too_many_logins_at_once(limits: PortalLimits) -> None:
    async def test() -> None:
        controller = Controller()
        async with serving(controller, limits) as portal:
            async with connected(portal) as idle:
                # Answered, so it has been accepted and counted.
                await idle.log_in(request(0, None, NAMES))
                async with connected(portal) as peer:
                    assert await peer.receive() is None
            while True:
                async with connected(portal) as peer:
                    await peer.send(login())
                    if await peer.receive() is not None:
                        break

    run(test)


def send_targets(cmd_sn: int = 77) -> TextRequest:
    return TextRequest(
        final=True,
        initiator_task_tag=1,
        cmd_sn=cmd_sn,
        exp_stat_sn=0,
        data=b"SendTargets=All\0",
    )


def test_a_discovery_session_from_login_to_logout() -> None:
    async def test() -> None:
        controller = Controller()
        async with serving(controller) as portal, connected(portal) as peer:
            await peer.send(request(1, 3, DISCOVERY_NAMES), send_targets())
            assert isinstance(await peer.receive(), LoginResponse)
            told = await peer.receive()
            assert told is not None
            host, port = portal.address.host, portal.address.port
            assert decode_text(told.data)[:2] == [
                ("TargetName", DISK),
                ("TargetAddress", f"{host}:{port},1"),
            ]
            await peer.send(LogoutRequest(reason=0, initiator_task_tag=2, cmd_sn=78, exp_stat_sn=0))
            assert await peer.receive() is not None
            assert await peer.receive() is None
            assert not controller.sessions

    run(test)


def test_discovery_sessions_are_bounded_in_number() -> None:
    async def test() -> None:
        limits = PortalLimits(discovery_sessions=1)
        async with serving(Controller(), limits) as portal, connected(portal) as one:
            await one.log_in(request(1, 3, DISCOVERY_NAMES))
            await one.send(send_targets())
            assert await one.receive() is not None
            async with connected(portal) as two:
                received = await two.log_in(request(1, 3, DISCOVERY_NAMES))
                assert received.status == LoginStatus.OUT_OF_RESOURCES

    run(test)


def test_a_silent_discovery_session_is_ended() -> None:
    async def test() -> None:
        limits = PortalLimits(discovery_idle_timeout_s=0.05)
        async with serving(Controller(), limits) as portal, connected(portal) as peer:
            await peer.log_in(request(1, 3, DISCOVERY_NAMES))
            assert await peer.receive() is None

    run(test)


def test_ipv6() -> None:
    async def test() -> None:
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            pytest.skip("no IPv6 here")
        async with serving(Controller(), host="::1") as portal, connected(portal) as peer:
            await peer.send(request(1, 3, DISCOVERY_NAMES), send_targets())
            await peer.receive()
            told = await peer.receive()
            assert told is not None
            assert f"TargetAddress=[::1]:{portal.address.port},1".encode() in told.data

    run(test)


def test_an_address_that_is_taken() -> None:
    async def test() -> None:
        async with serving(Controller()) as portal:
            controller = Controller()
            second = Portal(
                "127.0.0.1",
                portal.address.port,
                directory=controller.directory,
                sessions=controller.table,
                adopt=controller.adopt,
                refused=controller.refused.append,
            )
            with pytest.raises(OSError, match="in use"):
                await second.start()
            await second.close()

    run(test)


async def iscsi_ls(url: str, **environment: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        "iscsi-ls",
        url,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **environment},
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


MUTUAL_ENVIRONMENT = {
    "LIBISCSI_CHAP_TARGET_USERNAME": "the disk",
    "LIBISCSI_CHAP_TARGET_PASSWORD": "quite another secret",
}


@pytest.mark.skipif(shutil.which("iscsi-ls") is None, reason="libiscsi-bin is not installed")
@pytest.mark.parametrize(
    ("asked", "user", "environment", "succeeds"),
    [
        (None, "", {}, True),
        (None, "alice%twelvebytesand", {}, True),
        (CREDENTIALS, "", {}, False),
        (ChapCredentials("alice", b"twelvebytesand"), "alice%twelvebytesand", {}, True),
        (ChapCredentials("alice", b"twelvebytesand"), "alice%twelvebytesnot", {}, False),
        (ChapCredentials("alice", b"twelvebytesand"), "malice%twelvebytesand", {}, False),
        (
            ChapCredentials("alice", b"twelvebytesand", "the disk", MUTUAL.mutual_secret),
            "alice%twelvebytesand",
            MUTUAL_ENVIRONMENT,
            True,
        ),
        (
            ChapCredentials("alice", b"twelvebytesand", "the disk", b"the wrong secret"),
            "alice%twelvebytesand",
            MUTUAL_ENVIRONMENT,
            False,
        ),
        (
            ChapCredentials("alice", b"twelvebytesand"),
            "alice%twelvebytesand",
            MUTUAL_ENVIRONMENT,
            False,
        ),
    ],
)
def test_iscsi_ls(
    asked: ChapCredentials | None, user: str, environment: dict[str, str], succeeds: bool
) -> None:
    async def test() -> None:
        controller = Controller(directory=Directory(asked))
        async with serving(controller) as portal:
            address = f"{portal.address.host}:{portal.address.port}"
            code, output = await iscsi_ls(
                f"iscsi://{user}{'@' if user else ''}{address}", **environment
            )
            assert (code == 0) == succeeds, output
            if succeeds:
                assert f"Target:{DISK} Portal:{address},1" in output
                assert f"Target:{TAPE} Portal:192.0.2.7:3260,2" in output
                assert PRIVATE not in output
            else:
                assert DISK not in output

    run(test)
