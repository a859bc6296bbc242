"""A network portal: listens, drives logins, hands sessions over. The only sockets on this floor.

A connection is a plain non-blocking socket, never an asyncio stream: nothing but this task reads
it, so at the end of a login it can go to another thread as it is, together with the bytes that
came behind the last Login Request. asyncio keeps no trace of it then.

    accept ─ login ─┬─ normal session ──── `adopt`(socket, parameters, received): no longer ours
                    ├─ discovery session ─ stays here to its end
                    ├─ refused ─────────── closed; `refused` says why
                    └─ timed out, gone ─── closed

Rules are in `login`, `discovery` and `sessions`; here are the system calls, the timeouts and the
number of connections that may be under way. A peer that hurts itself hurts nobody else: every
connection has its own task, and whatever ends it is caught there.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeAlias

from scsi_snap.iscsi.chap import Challenges
from scsi_snap.iscsi.directory import NexusKey, PortalAddress, TargetDirectory, of_socket
from scsi_snap.iscsi.discovery import DiscoverySession
from scsi_snap.iscsi.errors import LoginRefused
from scsi_snap.iscsi.limits import (
    DISCOVERY_IDLE_TIMEOUT_S,
    LOGIN_TIMEOUT_S,
    MAX_CONCURRENT_LOGINS,
    MAX_CONCURRENT_LOGINS_PER_ADDRESS,
    MAX_DISCOVERY_SESSIONS,
    RECEIVE_BYTES,
    REINSTATEMENT_TIMEOUT_S,
)
from scsi_snap.iscsi.login import Login, State
from scsi_snap.iscsi.parameters import SessionParameters
from scsi_snap.iscsi.refusals import RefusedLogin
from scsi_snap.iscsi.sessions import AdoptedSession, SessionTable
from scsi_snap.iscsi.status import LoginStatus

_log = logging.getLogger(__name__)

_DISCOVERY_TSIH = 1
"""Discovery sessions are never looked up by TSIH, so they share one."""


@dataclass(frozen=True, slots=True)
class Adoption:
    """A normal session that has just logged in. Who takes it owns `connection` (non-blocking;
    `detach()` gives its descriptor away), must treat `received` as the first bytes read from it,
    and must close it in the end."""

    connection: socket.socket
    parameters: SessionParameters
    received: bytes


Adopt: TypeAlias = Callable[[Adoption], Awaitable[AdoptedSession]]
"""When it raises, the connection is closed here and the failure logged."""


TellRefused: TypeAlias = Callable[[RefusedLogin], None]
"""Called from the event loop for each one, however many there are; returns at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalLimits:
    """The bounds of one portal; tests take smaller ones."""

    logins: int = MAX_CONCURRENT_LOGINS
    logins_per_address: int = MAX_CONCURRENT_LOGINS_PER_ADDRESS
    discovery_sessions: int = MAX_DISCOVERY_SESSIONS
    login_timeout_s: float = LOGIN_TIMEOUT_S
    reinstatement_timeout_s: float = REINSTATEMENT_TIMEOUT_S
    discovery_idle_timeout_s: float = DISCOVERY_IDLE_TIMEOUT_S


class Portal:
    """One listening address. `start` and `close` from the same event loop."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        directory: TargetDirectory,
        sessions: SessionTable,
        adopt: Adopt,
        refused: TellRefused,
        portal_group_tag: int = 1,
        challenges: Challenges | None = None,
        limits: PortalLimits | None = None,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._host = host
        self._port = port
        self._directory = directory
        self._sessions = sessions
        self._adopt = adopt
        self._refused = refused
        self._portal_group_tag = portal_group_tag
        self._challenges = challenges if challenges is not None else Challenges()
        self._limits = limits or PortalLimits()
        self._random_bytes = random_bytes
        self._listener: socket.socket | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._logins: Counter[str] = Counter()
        self._discovery_sessions = 0

    @property
    def address(self) -> PortalAddress:
        """Where it listens: the real port when 0 was asked for."""
        assert self._listener is not None, "not started"
        host, port = self._listener.getsockname()[:2]
        return PortalAddress(host, port, self._portal_group_tag)

    async def start(self) -> None:
        """Listens. OSError when the address is taken or is not one of this machine's."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(self._limits.logins)
            listener.setblocking(False)
        except BaseException:
            listener.close()
            raise
        self._listener = listener
        self._watch()

    async def close(self) -> None:
        """Stops listening and ends every login and discovery session. Adopted sessions go on."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _watch(self) -> None:
        if self._listener is not None:
            loop = asyncio.get_running_loop()
            loop.add_reader(self._listener, self._accept, self._listener)

    def _accept(self, listener: socket.socket) -> None:
        """Somebody has connected. No task waits for it, so that none is cancelled with a connection
        in its hands."""
        try:
            connection, peer = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            # The process is out of descriptors, which passes.
            _log.warning("accept on %s failed: %s", self.address, error)
            loop = asyncio.get_running_loop()
            loop.remove_reader(listener)
            loop.call_later(_ACCEPT_RETRY_S, self._watch)
            return
        peer_host = str(peer[0])
        if not self._may_begin(peer_host):
            connection.close()
            status = LoginStatus.OUT_OF_RESOURCES
            refused = RefusedLogin(peer_host, None, None, status, "too many logins under way")
            self._refused(refused)
            return
        self._logins[peer_host] += 1
        conversation = _Conversation(connection)
        task = asyncio.create_task(self._serve(conversation, peer_host))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        # Also where the task is cancelled before it begins.
        task.add_done_callback(lambda _: conversation.close())

    def _may_begin(self, peer_host: str) -> bool:
        return (
            self._logins.total() < self._limits.logins
            and self._logins[peer_host] < self._limits.logins_per_address
        )

    async def _serve(self, conversation: _Conversation, peer_host: str) -> None:
        """One connection from accept to its end or to its adoption."""
        try:
            conversation.prepare()
            try:
                login = await self._log_in(conversation)
                if login is not None and login.refusal is not None:
                    self._tell_refused(peer_host, login, login.refusal)
                    await conversation.linger()
            finally:
                self._logins[peer_host] -= 1
                if not self._logins[peer_host]:
                    del self._logins[peer_host]
            if login is not None and login.discovery and login.parameters is not None:
                await self._discover(conversation, login, login.parameters)
        except OSError as error:
            # TimeoutError is one as well.
            _log.debug("connection from %s ended: %r", peer_host, error)
        except Exception:  # noqa: BLE001
            # One connection's defect must not take the others with it.
            _log.exception("connection from %s failed", peer_host)

    def _tell_refused(self, peer_host: str, login: Login, refusal: LoginRefused) -> None:
        """Nothing of one that is sent on, as it is to be."""
        if refusal.status.status_class > _REDIRECTION:
            initiator, target = login.claims
            reason = RefusedLogin(peer_host, initiator, target, refusal.status, str(refusal))
            self._refused(reason)

    async def _log_in(self, conversation: _Conversation) -> Login | None:
        """The login at its end, or None when the peer hung up before."""
        login = Login(
            directory=self._directory,
            sessions=self._sessions,
            connected_to=conversation.local_address(self._portal_group_tag),
            challenges=self._challenges,
            random_bytes=self._random_bytes,
        )
        try:
            return await self._converse(conversation, login)
        finally:
            login.close()

    async def _converse(self, conversation: _Conversation, login: Login) -> Login | None:
        async with asyncio.timeout(self._limits.login_timeout_s):
            while not login.settled:
                data = await conversation.receive()
                if not data:
                    return None
                await conversation.send(login.receive(data))
        if login.state is State.ESTABLISHING:
            if login.nexus_key is None:
                await self._establish_discovery(conversation, login)
            else:
                await self._establish_normal(conversation, login, login.nexus_key)
        return login

    async def _establish_discovery(self, conversation: _Conversation, login: Login) -> None:
        if self._discovery_sessions >= self._limits.discovery_sessions:
            answer = login.refuse(LoginStatus.OUT_OF_RESOURCES, "too many discovery sessions")
        else:
            answer = login.establish(_DISCOVERY_TSIH)
        async with asyncio.timeout(self._limits.login_timeout_s):
            await conversation.send(answer)

    async def _establish_normal(
        self, conversation: _Conversation, login: Login, key: NexusKey
    ) -> None:
        """Ends the session between the same ends, if any, then hands this one over."""
        async with self._sessions.turn(key):
            answer = await self._replace_session(login, key)
            async with asyncio.timeout(self._limits.login_timeout_s):
                await conversation.send(answer)
            parameters = login.parameters
            if parameters is None:
                return
            adoption = Adoption(conversation.connection, parameters, login.trailing_data)
            await _to_the_end(self._hand_over(conversation, key, adoption))

    async def _hand_over(
        self, conversation: _Conversation, key: NexusKey, adoption: Adoption
    ) -> None:
        session = await self._adopt(adoption)
        conversation.release()
        self._sessions.add(key, adoption.parameters.tsih, adoption.parameters.cid, session)

    async def _replace_session(self, login: Login, key: NexusKey) -> bytes:
        """The last response of the login: full feature, or why not."""
        try:
            async with asyncio.timeout(self._limits.reinstatement_timeout_s):
                await self._sessions.end(key)
        except TimeoutError:
            return login.refuse(
                LoginStatus.SERVICE_UNAVAILABLE, "the session to be replaced does not end"
            )
        tsih = self._sessions.new_tsih()
        if tsih is None:
            return login.refuse(LoginStatus.OUT_OF_RESOURCES, "too many sessions")
        return login.establish(tsih)

    async def _discover(
        self, conversation: _Conversation, login: Login, parameters: SessionParameters
    ) -> None:
        session = DiscoverySession(
            parameters,
            directory=self._directory,
            connected_to=conversation.local_address(self._portal_group_tag),
            received=login.trailing_data,
        )
        self._discovery_sessions += 1
        try:
            data = b""
            # Ends: with a Logout, a broken PDU, the peer's hanging up, or its silence.
            while True:
                async with asyncio.timeout(self._limits.discovery_idle_timeout_s):
                    await conversation.send(session.receive(data))
                    if session.finished:
                        break
                    data = await conversation.receive()
                if not data:
                    return
            await conversation.linger()
        finally:
            self._discovery_sessions -= 1


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Cancelled (the portal is deleted), it still waits for the end of `work`: a session that has
    been adopted must be listed, or nothing would end it when it is replaced."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


class _Conversation:
    """A connected socket until it is closed or released."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._released = False

    def prepare(self) -> None:
        self.connection.setblocking(False)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def receive(self) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self.connection, RECEIVE_BYTES)

    async def send(self, data: bytes) -> None:
        if data:
            await asyncio.get_running_loop().sock_sendall(self.connection, data)

    async def linger(self) -> None:
        """Lets the peer read our last words: closing with bytes unread would reset the
        connection and take them back."""
        self.connection.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(_LINGER_TIMEOUT_S):
            # Ends: with the peer's closing, or with the timeout.
            while await self.receive():
                pass

    def local_address(self, portal_group_tag: int) -> PortalAddress:
        return PortalAddress(*of_socket(self.connection.getsockname()), portal_group_tag)

    def release(self) -> None:
        """The socket is somebody else's from now on."""
        self._released = True

    def close(self) -> None:
        if not self._released:
            self.connection.close()


_REDIRECTION = 1
_ACCEPT_RETRY_S = 1.0
"""And so a line a second in the log, as long as it lasts."""
_LINGER_TIMEOUT_S = 1.0
