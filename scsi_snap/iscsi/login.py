"""The target's side of a login, as a state machine that never sees a socket (RFC 7143, 6.3).

Theory of operation. A login is a conversation of Login Requests and Responses in stages:
SecurityNegotiation (CSG 0), LoginOperationalNegotiation (1), then the full-feature phase (3). A
request states the stage it is in (CSG) and may ask to go on (T bit) to another (NSG); the stage
changes when our response grants it with its own T bit. `TRANSITIONS` lists every step there is,
by state, CSG and the NSG asked for (None: no T bit). What it does not list ends the login. A step
that is listed is granted when the stage's guard agrees; else the row without a T bit applies: the
conversation stays where it is and the initiator tries again.

    START          nothing received; the first request names the initiator, the target, the type
    SECURITY       AuthMethod, CHAP
    OPERATIONAL    every other key
    ESTABLISHING   all is agreed; the caller must end a session that this one replaces, then call
                   `establish` with a TSIH, or `refuse`
    FULL_FEATURE   over: `parameters`, `discovery` and `trailing_data` say how to go on
    REFUSED        over: `refusal` says why; the caller sends what it was given and closes

Text longer than a PDU travels with the C bit: parts of a request are joined before anything is
looked at and answered by empty responses; parts of our answer are fetched by empty requests.

Implementation. `receive(bytes)` returns the bytes to send, `establish` and `refuse` likewise. No
input makes them raise, other than by a defect here: a peer's error becomes REFUSED. A peer that
does not even begin with a Login Request gets no answer (6.3), only the end of the connection.

WARNING. Everything before FULL_FEATURE comes from a peer that may be anyone: what is held is
bounded by `limits`, and a session counts as authenticated in one place, `_may_leave_security`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, IntEnum

from scsi_snap.iscsi.chap import Challenges, ChapCredentials, ChapTarget
from scsi_snap.iscsi.directory import (
    NexusKey,
    PortalAddress,
    SessionLookup,
    TargetDescription,
    TargetDirectory,
)
from scsi_snap.iscsi.errors import InvalidName, LoginRefused, ProtocolError
from scsi_snap.iscsi.framing import PduReader
from scsi_snap.iscsi.keys import KEYS, Use
from scsi_snap.iscsi.limits import DEFAULT_DATA_SEGMENT_BYTES, MAX_LOGIN_REQUESTS
from scsi_snap.iscsi.names import initiator_name, target_name
from scsi_snap.iscsi.negotiation import Negotiation
from scsi_snap.iscsi.parameters import SessionParameters
from scsi_snap.iscsi.pdu import LoginRequest, LoginResponse, Pdu
from scsi_snap.iscsi.refusals import moved, no_session, protocol_error, unauthenticated
from scsi_snap.iscsi.status import LoginStatus
from scsi_snap.iscsi.text import Pairs, TextJoiner, decode_text, encode_text, list_values


class State(Enum):
    """Where a login is; the module's head says what each means."""

    START = "START"
    SECURITY = "SECURITY"
    OPERATIONAL = "OPERATIONAL"
    ESTABLISHING = "ESTABLISHING"
    FULL_FEATURE = "FULL_FEATURE"
    REFUSED = "REFUSED"


class Stage(IntEnum):
    """CSG and NSG (RFC 7143, 11.12.3); 2 is reserved."""

    SECURITY = 0
    OPERATIONAL = 1
    FULL_FEATURE = 3


TRANSITIONS: dict[State, dict[tuple[int, int | None], State]] = {
    State.START: {
        (Stage.SECURITY, None): State.SECURITY,
        (Stage.SECURITY, Stage.OPERATIONAL): State.OPERATIONAL,
        (Stage.SECURITY, Stage.FULL_FEATURE): State.ESTABLISHING,
        (Stage.OPERATIONAL, None): State.OPERATIONAL,
        (Stage.OPERATIONAL, Stage.FULL_FEATURE): State.ESTABLISHING,
    },
    State.SECURITY: {
        (Stage.SECURITY, None): State.SECURITY,
        (Stage.SECURITY, Stage.OPERATIONAL): State.OPERATIONAL,
        (Stage.SECURITY, Stage.FULL_FEATURE): State.ESTABLISHING,
    },
    State.OPERATIONAL: {
        (Stage.OPERATIONAL, None): State.OPERATIONAL,
        (Stage.OPERATIONAL, Stage.FULL_FEATURE): State.ESTABLISHING,
    },
}

_PHASES: dict[int, Use] = {Stage.SECURITY: Use.SECURITY, Stage.OPERATIONAL: Use.OPERATIONAL}
_VERSION = 0x00
_FIRST_STAT_SN = 1
_OPEN = (State.START, State.SECURITY, State.OPERATIONAL)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who logs in, and where. `target` is None in a discovery session."""

    initiator_name: str
    target: TargetDescription | None
    credentials: ChapCredentials | None


class Login:
    """One connection's login.

    Read `state` after each `receive`, and `close` it when it is over. `connected_to` is where the
    initiator has come to, with the group of the portal that accepted it; `random_bytes` is the
    source of CHAP challenges, `challenges` those of all logins of this controller.
    """

    def __init__(
        self,
        *,
        directory: TargetDirectory,
        sessions: SessionLookup,
        connected_to: PortalAddress,
        challenges: Challenges,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self.state = State.START
        self.refusal: LoginRefused | None = None
        self.parameters: SessionParameters | None = None
        self._directory = directory
        self._sessions = sessions
        self._connected_to = connected_to
        self._portal_group_tag = connected_to.portal_group_tag
        self._challenges = challenges
        self._random_bytes = random_bytes
        self._reader = PduReader(DEFAULT_DATA_SEGMENT_BYTES)
        self._joiner = TextJoiner()
        self._negotiation = Negotiation()
        self._identity: Identity | None = None
        self._discovery = False
        self._named: dict[str, str] = {}
        self._chap: ChapTarget | None = None
        self._first: LoginRequest | None = None
        self._last: LoginRequest | None = None
        self._requests = 0
        self._stat_sn = _FIRST_STAT_SN
        self._unsent_text = b""

    @property
    def discovery(self) -> bool:
        """Whether a discovery session is asked for."""
        return self._discovery

    @property
    def claims(self) -> tuple[str | None, str | None]:
        """The initiator's and the target's name as they came, as far as they have come."""
        return self._named.get("InitiatorName"), self._named.get("TargetName")

    @property
    def trailing_data(self) -> bytes:
        """Bytes received behind the last Login Request."""
        return self._reader.trailing_data

    @property
    def settled(self) -> bool:
        """Whether the initiator has nothing more to say in this login."""
        return self.state not in _OPEN

    @property
    def nexus_key(self) -> NexusKey | None:
        """The ends of the session; None for a discovery session or before they are known."""
        if self._identity is None or self._identity.target is None:
            return None
        return self._key(self._identity.initiator_name, self._identity.target.name)

    def receive(self, data: bytes) -> bytes:
        """Takes bytes off the connection; returns those to send."""
        self._reader.receive(data)
        sent = []
        # Ends: each round takes a PDU out of the buffer or leaves the open states.
        while self.state in _OPEN:
            try:
                pdu = self._reader.next_pdu()
                if pdu is None:
                    break
                sent.append(self._handle(pdu))
            except LoginRefused as refused:
                sent.append(self._refuse(refused))
            except ProtocolError as error:
                sent.append(self._refuse(LoginRefused(LoginStatus.INITIATOR_ERROR, str(error))))
        return b"".join(sent)

    def establish(self, tsih: int) -> bytes:
        """Grants the full-feature phase to the session that is now `tsih`; or refuses it when
        the target has gone, or is no longer this initiator's, since the login began."""
        assert self.state is State.ESTABLISHING and 0 < tsih < 1 << 16
        try:
            self._check_still_there()
        except LoginRefused as refused:
            return self._refuse(refused)
        response = replace(self._respond(transit=True), tsih=tsih)
        self.parameters = self._session_parameters(tsih)
        self.state = State.FULL_FEATURE
        return response.encode()

    def refuse(self, status: LoginStatus, reason: str) -> bytes:
        """Ends an unfinished login from outside."""
        assert self.state in (*_OPEN, State.ESTABLISHING)
        return self._refuse(LoginRefused(status, reason))

    def close(self) -> None:
        """It is over, or given up; once or more often."""
        if self._chap is not None:
            self._chap.close()

    def _handle(self, pdu: Pdu) -> bytes:
        if not isinstance(pdu, LoginRequest):
            raise LoginRefused(LoginStatus.INVALID_DURING_LOGIN, "a PDU that is no Login Request")
        self._last = pdu
        self._check_header(pdu)
        if self._unsent_text:
            if pdu.data or pdu.continues:
                raise protocol_error("new text before all of our answer was fetched")
            return self._send_or_conclude(pdu)
        text = self._joiner.add(pdu.data, continues=pdu.continues)
        if text is None:
            return self._respond(transit=False).encode()
        pairs = decode_text(text)
        declarations: Pairs = []
        if self._identity is None:
            self._identity = self._identify(pairs, pdu)
            declarations = self._target_declarations(self._identity.target)
        if pdu.current_stage == Stage.SECURITY:
            answers = self._negotiate_security(pairs)
        else:
            answers = self._negotiate_operational(pairs)
        self._unsent_text = encode_text(declarations + answers)
        return self._send_or_conclude(pdu)

    def _check_header(self, request: LoginRequest) -> None:
        self._requests += 1
        if self._requests > MAX_LOGIN_REQUESTS:
            raise protocol_error(f"more than {MAX_LOGIN_REQUESTS} Login Requests")
        if request.version_min > _VERSION:
            raise LoginRefused(
                LoginStatus.UNSUPPORTED_VERSION,
                f"version {request.version_min} or later is asked for; this is {_VERSION}",
            )
        if request.transit and request.continues:
            raise protocol_error("T and C bit in one request")
        first = self._first = self._first or request
        if (request.isid, request.tsih, request.cid) != (first.isid, first.tsih, first.cid):
            raise protocol_error("ISID, TSIH or CID changed within a login")
        if self._step(request) is None:
            raise protocol_error(
                f"CSG {request.current_stage}, T {request.transit:d}, NSG {request.next_stage} "
                f"in state {self.state.value}"
            )

    def _step(self, request: LoginRequest, *, granted: bool = True) -> State | None:
        """Where TRANSITIONS leads, with the T bit of the request granted or not."""
        next_stage = request.next_stage if request.transit and granted else None
        return TRANSITIONS[self.state].get((request.current_stage, next_stage))

    def _send_or_conclude(self, request: LoginRequest) -> bytes:
        """Sends the next part of our answer; with the last one, takes the step asked for."""
        granted = request.transit and (
            request.current_stage != Stage.SECURITY or self._may_leave_security()
        )
        more = len(self._unsent_text) > DEFAULT_DATA_SEGMENT_BYTES
        step = self._step(request, granted=granted and not more)
        assert step is not None, "checked with the header"
        self.state = step
        if step is State.ESTABLISHING:
            return b""
        return self._respond(transit=granted and not more, continues=more).encode()

    def _respond(self, *, transit: bool, continues: bool = False) -> LoginResponse:
        """A successful response to the last request, with what of our text fits into it."""
        request = self._last
        assert request is not None
        part = self._unsent_text[:DEFAULT_DATA_SEGMENT_BYTES]
        self._unsent_text = self._unsent_text[DEFAULT_DATA_SEGMENT_BYTES:]
        return LoginResponse(
            transit=transit,
            continues=continues,
            current_stage=request.current_stage,
            next_stage=request.next_stage if transit else 0,
            version_max=_VERSION,
            version_active=_VERSION,
            isid=request.isid,
            tsih=request.tsih,
            initiator_task_tag=request.initiator_task_tag,
            stat_sn=self._next_stat_sn(),
            exp_cmd_sn=request.cmd_sn,
            max_cmd_sn=request.cmd_sn,
            data=part,
        )

    def _refuse(self, refusal: LoginRefused) -> bytes:
        self.state = State.REFUSED
        self.refusal = refusal
        if self._last is None:
            return b""
        self._unsent_text = encode_text(list(refusal.answer))
        return replace(self._respond(transit=False), status=refusal.status).encode()

    def _next_stat_sn(self) -> int:
        stat_sn = self._stat_sn
        self._stat_sn += 1
        return stat_sn

    # Who, and where: the first request's text.

    def _identify(self, pairs: Pairs, request: LoginRequest) -> Identity:
        keys = self._named = dict(pairs)
        initiator = self._initiator_name(keys)
        self._discovery = self._is_discovery(keys, _PHASES[request.current_stage])
        if self._discovery:
            if request.tsih:
                raise no_session(request.tsih)
            target = None
        else:
            target = self._target(keys, initiator)
            self._check_session(self._key(initiator, target.name), request)
        credentials = self._directory.credentials(initiator, target.name if target else None)
        return Identity(initiator, target, credentials)

    @staticmethod
    def _initiator_name(keys: dict[str, str]) -> str:
        if "InitiatorName" not in keys:
            raise LoginRefused(LoginStatus.MISSING_PARAMETER, "no InitiatorName")
        try:
            return initiator_name(keys["InitiatorName"])
        except InvalidName as error:
            raise protocol_error(f"InitiatorName: {error}") from None

    def _is_discovery(self, keys: dict[str, str], phase: Use) -> bool:
        session_type = keys.get("SessionType")
        if session_type is None:
            # From now on it is known: stating another one later is refused as a second offer.
            session_type = "Normal"
            self._negotiation.note("SessionType", session_type, phase)
        if session_type.casefold() not in ("normal", "discovery"):
            raise LoginRefused(
                LoginStatus.SESSION_TYPE_NOT_SUPPORTED, f"SessionType={session_type[:40]}"
            )
        return session_type.casefold() == "discovery"

    def _target(self, keys: dict[str, str], initiator: str) -> TargetDescription:
        if "TargetName" not in keys:
            raise LoginRefused(LoginStatus.MISSING_PARAMETER, "no TargetName")
        try:
            name = target_name(keys["TargetName"])
        except InvalidName as error:
            raise LoginRefused(LoginStatus.NOT_FOUND, f"TargetName: {error}") from None
        target = self._directory.find(name)
        if target is None or not target.in_portal_group(self._portal_group_tag):
            raise LoginRefused(LoginStatus.NOT_FOUND, f"no target {name} at this portal")
        if not self._directory.may_log_in(initiator, name):
            raise LoginRefused(
                LoginStatus.AUTHORIZATION_FAILURE, f"{initiator} may not log in to {name}"
            )
        here, to = self._connected_to, target.redirect
        # Whoever has come to where the redirection leads is where it is to be.
        if to is not None and (to.host, to.port) != (here.host, here.port):
            raise moved(to)
        return target

    def _check_still_there(self) -> None:
        identity = self._identity
        assert identity is not None
        if identity.target is None:
            return
        target = self._directory.find(identity.target.name)
        if target is None or not target.in_portal_group(self._portal_group_tag):
            raise LoginRefused(
                LoginStatus.TARGET_REMOVED, f"{identity.target.name} was removed meanwhile"
            )
        if not self._directory.may_log_in(identity.initiator_name, identity.target.name):
            raise LoginRefused(
                LoginStatus.AUTHORIZATION_FAILURE, "the right to log in was withdrawn meanwhile"
            )

    def _check_session(self, key: NexusKey, request: LoginRequest) -> None:
        """TSIH 0 makes a new session or, if these ends have one, replaces it (6.3.1). Any other
        TSIH names a session to add a connection to, and a session has one connection here."""
        if request.tsih == 0:
            return
        found = self._sessions.find(key)
        if found is None or found[0] != request.tsih:
            raise no_session(request.tsih)
        if found[1] == request.cid:
            raise LoginRefused(
                LoginStatus.CANNOT_INCLUDE_IN_SESSION,
                "a connection is not reinstated; log in with TSIH 0 to replace the session",
            )
        raise LoginRefused(
            LoginStatus.TOO_MANY_CONNECTIONS, "a second connection, and MaxConnections is 1"
        )

    def _key(self, initiator_name: str, target_name: str) -> NexusKey:
        assert self._first is not None
        return NexusKey(initiator_name, self._first.isid, target_name, self._portal_group_tag)

    def _target_declarations(self, target: TargetDescription | None) -> Pairs:
        """What the first response says of the target (13.6, 13.9)."""
        if target is None:
            return []
        pairs = [("TargetPortalGroupTag", str(self._portal_group_tag))]
        if target.alias:
            pairs.append(("TargetAlias", target.alias))
        return self._sent(pairs)

    def _sent(self, declarations: Pairs) -> Pairs:
        self._negotiation.sent.update(name for name, _ in declarations)
        return declarations

    # The two stages.

    def _negotiate_security(self, pairs: Pairs) -> Pairs:
        chap_pairs = [pair for pair in pairs if pair[0].startswith("CHAP_")]
        others = [pair for pair in pairs if not pair[0].startswith("CHAP_")]
        answers = self._negotiate(others, Use.SECURITY)
        if chap_pairs:
            if len(dict(chap_pairs)) != len(chap_pairs):
                raise protocol_error("a CHAP key twice in one request")
            if self._chap is None:
                raise unauthenticated("CHAP keys where CHAP was not agreed")
            answers += self._chap.handle(chap_pairs)
        return answers

    def _negotiate(self, pairs: Pairs, phase: Use) -> Pairs:
        """What either stage takes. AuthMethod is one of these: an initiator that has nothing to
        prove may begin with the operational stage and state it there."""
        answers: Pairs = []
        for name, value in pairs:
            if name == _METHOD:
                repeated = self._negotiation.note(name, value, phase)
                answers.append((name, self._method if repeated else self._choose_method(value)))
        others = [pair for pair in pairs if pair[0] != _METHOD]
        return answers + self._negotiation.handle(others, phase)

    @property
    def _method(self) -> str:
        """CHAP where credentials are asked for, None where not; there is no third way."""
        return "None" if self._credentials is None else "CHAP"

    def _choose_method(self, offered: str) -> str:
        if self._method.casefold() not in list_values(offered):
            raise unauthenticated(f"{self._method} is not among AuthMethod={offered[:80]}")
        if self._credentials is not None:
            self._chap = ChapTarget(self._credentials, self._random_bytes, self._challenges)
        return self._method

    def _may_leave_security(self) -> bool:
        """The only place where a login counts as authenticated."""
        if self._credentials is None:
            return True
        if self._chap is None:
            raise unauthenticated("authentication is required, and none was begun")
        return self._chap.done

    def _negotiate_operational(self, pairs: Pairs) -> Pairs:
        if not self._may_leave_security():
            raise unauthenticated("authentication is required, and was not finished")
        answers = self._negotiate(pairs, Use.OPERATIONAL)
        if not self.discovery and _OUR_LIMIT not in self._negotiation.sent:
            answers += self._sent([(_OUR_LIMIT, _ours(_OUR_LIMIT))])
        return answers

    @property
    def _credentials(self) -> ChapCredentials | None:
        assert self._identity is not None
        return self._identity.credentials

    def _session_parameters(self, tsih: int) -> SessionParameters:
        identity, first, last, agreed = self._identity, self._first, self._last, self._negotiation
        assert identity is not None and first is not None and last is not None
        declared = _OUR_LIMIT in agreed.sent
        max_burst = agreed.number("MaxBurstLength")
        return SessionParameters(
            initiator_name=identity.initiator_name,
            target_name=identity.target.name if identity.target else "",
            isid=first.isid,
            tsih=tsih,
            cid=first.cid,
            target_portal_group_tag=self._portal_group_tag,
            cmd_sn=last.cmd_sn,
            stat_sn=self._stat_sn,
            header_digest=agreed.value("HeaderDigest") == "CRC32C",
            data_digest=agreed.value("DataDigest") == "CRC32C",
            max_recv_data_segment_length=(
                int(_ours(_OUR_LIMIT)) if declared else DEFAULT_DATA_SEGMENT_BYTES
            ),
            max_send_data_segment_length=agreed.number(_OUR_LIMIT),
            max_burst_length=max_burst,
            first_burst_length=min(agreed.number("FirstBurstLength"), max_burst),
            initial_r2t=agreed.flag("InitialR2T"),
            immediate_data=agreed.flag("ImmediateData"),
            max_outstanding_r2t=agreed.number("MaxOutstandingR2T"),
            protocol_level=agreed.number("iSCSIProtocolLevel"),
        )


_OUR_LIMIT = "MaxRecvDataSegmentLength"
_METHOD = "AuthMethod"


def _ours(name: str) -> str:
    value = KEYS[name].ours
    assert value is not None
    return value
