"""Logins as conversations: each whole and byte by byte; each failure with the status of the RFC."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from scsi_snap.iscsi.chap import ChapCredentials
from scsi_snap.iscsi.directory import NexusKey, Redirect, TargetDescription
from scsi_snap.iscsi.limits import MAX_LOGIN_REQUESTS, MAX_NEGOTIATION_TEXT_BYTES
from scsi_snap.iscsi.login import TRANSITIONS, Login, Stage, State
from scsi_snap.iscsi.parameters import SessionParameters
from scsi_snap.iscsi.pdu import LoginRequest, LogoutRequest
from scsi_snap.iscsi.status import LoginStatus
from scsi_snap.iscsi.text import Pairs, decode_text
from tests.t7_iscsi.given import given
from tests.t7_iscsi.initiator import (
    CMD_SN,
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
    Sessions,
    chap_answer,
    exchange,
    login_for,
    request,
    responses,
)

SEC, OP, FULL = Stage.SECURITY, Stage.OPERATIONAL, Stage.FULL_FEATURE
TAG = [("TargetPortalGroupTag", "1"), ("TargetAlias", "a disk")]
LIMIT = [("MaxRecvDataSegmentLength", "262144")]

# What libiscsi and open-iscsi send in their operational stage, in their order.
LIBISCSI = [
    ("InitiatorName", INITIATOR),
    ("TargetName", DISK),
    ("SessionType", "Normal"),
    ("HeaderDigest", "None,CRC32C"),
    ("DataDigest", "None"),
    ("InitialR2T", "No"),
    ("ImmediateData", "Yes"),
    ("MaxBurstLength", "262144"),
    ("FirstBurstLength", "262144"),
    ("DefaultTime2Wait", "2"),
    ("DefaultTime2Retain", "0"),
    ("MaxOutstandingR2T", "1"),
    ("ErrorRecoveryLevel", "0"),
    ("IFMarker", "No"),
    ("OFMarker", "No"),
    ("MaxConnections", "1"),
    ("MaxRecvDataSegmentLength", "262144"),
    ("DataPDUInOrder", "Yes"),
    ("DataSequenceInOrder", "Yes"),
]
OPEN_ISCSI = [
    ("HeaderDigest", "None"),
    ("DataDigest", "None"),
    ("DefaultTime2Wait", "2"),
    ("DefaultTime2Retain", "0"),
    ("IFMarker", "No"),
    ("OFMarker", "No"),
    ("ErrorRecoveryLevel", "0"),
    ("InitialR2T", "No"),
    ("ImmediateData", "Yes"),
    ("MaxBurstLength", "16776192"),
    ("FirstBurstLength", "262144"),
    ("MaxOutstandingR2T", "1"),
    ("MaxConnections", "1"),
    ("DataPDUInOrder", "Yes"),
    ("DataSequenceInOrder", "Yes"),
    ("MaxRecvDataSegmentLength", "262144"),
]


def answered(offers: Pairs, **changed: str) -> Pairs:
    """The negotiated keys of `offers` as they come back, but for those in `changed`."""
    declared = (*dict(NAMES), "MaxRecvDataSegmentLength")
    return [(name, changed.get(name, value)) for name, value in offers if name not in declared]


# Requests as (CSG, NSG or None, pairs); responses as (CSG, NSG or None, pairs).
Turn = tuple[tuple[int, int | None, Pairs], tuple[int, int | None, Pairs]]
CONVERSATIONS: dict[str, list[Turn]] = {
    "the shortest there is": [((OP, FULL, NAMES), (OP, FULL, [*TAG, *LIMIT]))],
    "security only, so that our limit stays at its default": [
        (
            (SEC, FULL, [*NAMES, ("AuthMethod", "None")]),
            (SEC, FULL, [*TAG, ("AuthMethod", "None")]),
        )
    ],
    "security without any key": [
        ((SEC, OP, NAMES), (SEC, OP, TAG)),
        ((OP, FULL, []), (OP, FULL, LIMIT)),
    ],
    "stage by stage": [
        ((SEC, None, NAMES), (SEC, None, TAG)),
        ((SEC, None, [("AuthMethod", "CHAP,None")]), (SEC, None, [("AuthMethod", "None")])),
        ((SEC, OP, []), (SEC, OP, [])),
        ((OP, None, [("ImmediateData", "No")]), (OP, None, [("ImmediateData", "No"), *LIMIT])),
        ((OP, None, [("X-a", "1")]), (OP, None, [("X-a", "NotUnderstood")])),
        ((OP, FULL, []), (OP, FULL, [])),
    ],
    "libiscsi": [
        (
            (OP, FULL, LIBISCSI),
            (OP, FULL, [*TAG, *answered(LIBISCSI, HeaderDigest="None"), *LIMIT]),
        ),
    ],
    "libiscsi that could do CHAP": [
        (
            (SEC, OP, [*NAMES, ("AuthMethod", "CHAP,None")]),
            (SEC, OP, [*TAG, ("AuthMethod", "None")]),
        ),
        (
            (OP, FULL, LIBISCSI),
            (OP, FULL, [*answered(LIBISCSI, HeaderDigest="None"), *LIMIT]),
        ),
    ],
    "open-iscsi": [
        (
            (SEC, OP, [*NAMES, ("AuthMethod", "None")]),
            (SEC, OP, [*TAG, ("AuthMethod", "None")]),
        ),
        (
            (OP, FULL, OPEN_ISCSI),
            (OP, FULL, [*answered(OPEN_ISCSI, MaxBurstLength="1048576"), *LIMIT]),
        ),
    ],
    "discovery": [
        (
            (OP, FULL, [*DISCOVERY_NAMES, ("MaxBurstLength", "512"), ("ErrorRecoveryLevel", "0")]),
            (OP, FULL, [("MaxBurstLength", "512"), ("ErrorRecoveryLevel", "0")]),
        )
    ],
}


@pytest.mark.parametrize("step", [1, 48, 1 << 20])
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_conversations(name: str, step: int) -> None:
    login = login_for()
    for turn, ((csg, nsg, pairs), (csg_back, nsg_back, answers)) in enumerate(CONVERSATIONS[name]):
        wire = request(csg, nsg, pairs).encode()
        sent = b"".join(login.receive(wire[at : at + step]) for at in range(0, len(wire), step))
        if login.state is State.ESTABLISHING:
            sent = login.establish(9)
        (received,) = responses(sent)
        assert decode_text(received.data) == answers
        assert (received.current_stage, received.transit) == (csg_back, nsg_back is not None)
        assert received.next_stage == (nsg_back or 0)
        assert received.status == LoginStatus.SUCCESS
        assert (received.stat_sn, received.exp_cmd_sn) == (1 + turn, CMD_SN)
        assert (received.isid, received.initiator_task_tag) == (ISID, 5)
        assert received.tsih == (9 if nsg_back == FULL else 0)
    assert login.state is State.FULL_FEATURE
    assert login.refusal is None


def logged_in(*turns: tuple[int, int | None, Pairs]) -> SessionParameters:
    login = login_for()
    for turn in turns:
        exchange(login, request(*turn))
    assert login.parameters is not None
    return login.parameters


def test_parameters_by_default() -> None:
    assert logged_in((SEC, FULL, NAMES)) == SessionParameters(
        initiator_name=INITIATOR,
        target_name=DISK,
        isid=ISID,
        tsih=9,
        cid=0,
        target_portal_group_tag=1,
        cmd_sn=CMD_SN,
        stat_sn=2,
        header_digest=False,
        data_digest=False,
        max_recv_data_segment_length=8192,
        max_send_data_segment_length=8192,
        max_burst_length=262144,
        first_burst_length=65536,
        initial_r2t=True,
        immediate_data=True,
        max_outstanding_r2t=1,
        protocol_level=1,
    )


def test_parameters_negotiated() -> None:
    offers = [
        ("HeaderDigest", "CRC32C"),
        ("DataDigest", "CRC32C,None"),
        ("MaxRecvDataSegmentLength", "65536"),
        ("MaxBurstLength", "32768"),
        ("InitialR2T", "No"),
        ("ImmediateData", "No"),
        ("MaxOutstandingR2T", "4"),
        ("iSCSIProtocolLevel", "2"),
    ]
    found = logged_in((OP, None, NAMES), (OP, None, offers), (OP, FULL, []))
    assert (found.header_digest, found.data_digest) == (True, True)
    assert found.max_recv_data_segment_length == 262144
    assert found.max_send_data_segment_length == 65536
    assert (found.max_burst_length, found.first_burst_length) == (32768, 32768)
    assert (found.initial_r2t, found.immediate_data) == (False, False)
    assert found.max_outstanding_r2t == 4
    assert found.protocol_level == 2
    assert found.stat_sn == 4


def test_names_are_compared_in_canonical_form() -> None:
    found = logged_in(
        (OP, FULL, [("InitiatorName", INITIATOR.upper()), ("TargetName", DISK.upper())])
    )
    assert (found.initiator_name, found.target_name) == (INITIATOR, DISK)


def test_bytes_behind_the_last_request_go_along() -> None:
    login = login_for()
    assert login.receive(request(OP, FULL, NAMES).encode() + b"a command") == b""
    assert login.receive(b" and more") == b""
    login.establish(1)
    assert login.trailing_data == b"a command and more"


def test_two_requests_at_once_are_answered_in_order() -> None:
    login = login_for()
    both = request(SEC, OP, NAMES).encode() + request(OP, None, [("X-a", "1")]).encode()
    assert [pdu.current_stage for pdu in responses(login.receive(both))] == [SEC, OP]


# -- continuation ---------------------------------------------------------------------------


def test_a_request_in_parts() -> None:
    login = login_for()
    text = request(OP, FULL, LIBISCSI).data
    for at in range(0, len(text) - 40, 40):
        part = exchange(login, request(OP, None, text[at : at + 40], continues=True))
        assert (part.data, part.transit, part.continues) == (b"", False, False)
        rest = text[at + 40 :]
    last = exchange(login, request(OP, FULL, rest))
    assert last.transit
    assert ("MaxBurstLength", "262144") in decode_text(last.data)


def test_our_answer_in_parts() -> None:
    login = login_for()
    unknown = [(f"X-{number:03}" + "y" * 58, "1") for number in range(110)]
    sent = responses(login.receive(request(OP, FULL, [*NAMES, *unknown]).encode()))
    text = sent[0].data
    assert (len(text), sent[0].continues, sent[0].transit) == (8192, True, False)
    last = exchange(login, request(OP, FULL))
    assert (last.continues, last.transit) == (False, True)
    answers = decode_text(text + last.data)
    assert [pair for pair in answers if pair[0].startswith("X-")] == [
        (name, "NotUnderstood") for name, _ in unknown
    ]
    assert login.state is State.FULL_FEATURE


def test_new_text_before_our_answer_is_fetched_is_refused() -> None:
    login = login_for()
    unknown = [(f"X-{number:03}" + "y" * 58, "1") for number in range(110)]
    login.receive(request(OP, FULL, [*NAMES, *unknown]).encode())
    status = exchange(login, request(OP, FULL, [("ImmediateData", "No")])).status
    assert status == LoginStatus.INITIATOR_ERROR


# -- authentication -------------------------------------------------------------------------


@pytest.mark.parametrize("nsg", [OP, FULL])
@pytest.mark.parametrize("algorithm", ["5", "7,5", "8"])
@pytest.mark.parametrize("names", [NAMES, DISCOVERY_NAMES])
def test_chap(nsg: Stage, algorithm: str, names: Pairs) -> None:
    login = login_for(Directory(CREDENTIALS))
    first = exchange(login, request(SEC, nsg, [*names, ("AuthMethod", "CHAP,None")]))
    assert not first.transit, "not yet"
    assert dict(decode_text(first.data))["AuthMethod"] == "CHAP"
    challenge = exchange(login, request(SEC, None, [("CHAP_A", algorithm)]))
    last = exchange(login, request(SEC, nsg, chap_answer(CREDENTIALS, challenge)))
    assert (last.status, last.transit, last.next_stage) == (0, True, nsg)


def test_mutual_chap() -> None:
    login = login_for(Directory(MUTUAL))
    exchange(login, request(SEC, None, [*NAMES, ("AuthMethod", "CHAP")]))
    challenge = exchange(login, request(SEC, None, [("CHAP_A", "5")]))
    answer = [*chap_answer(MUTUAL, challenge), ("CHAP_I", "1"), ("CHAP_C", "0x0102")]
    last = exchange(login, request(SEC, OP, answer))
    assert [name for name, _ in decode_text(last.data)] == ["CHAP_N", "CHAP_R"]
    assert last.transit


CHAP_BEGUN: list[tuple[int, int | None, Pairs]] = [
    (SEC, None, [*NAMES, ("AuthMethod", "CHAP")]),
    (SEC, None, [("CHAP_A", "5")]),
]
UNAUTHENTICATED: dict[str, list[tuple[int, int | None, Pairs]]] = {
    "straight to the operational stage": [(OP, None, NAMES)],
    "straight to full feature": [(OP, FULL, NAMES)],
    "security stage left without a method": [(SEC, OP, NAMES)],
    "security stage left for full feature": [(SEC, FULL, NAMES)],
    "None only": [(SEC, None, [*NAMES, ("AuthMethod", "None")])],
    "methods we have not": [(SEC, None, [*NAMES, ("AuthMethod", "KRB5,SRP")])],
    "CHAP without its being agreed": [(SEC, None, [*NAMES, ("CHAP_A", "5")])],
    "no algorithm in common": [*CHAP_BEGUN[:1], (SEC, None, [("CHAP_A", "6")])],
    "a wrong response": [*CHAP_BEGUN, (SEC, OP, [("CHAP_N", "alice"), ("CHAP_R", "0x00")])],
}


@pytest.mark.parametrize("name", UNAUTHENTICATED)
def test_nobody_gets_past_authentication(name: str) -> None:
    login = login_for(Directory(CREDENTIALS))
    *before, last = UNAUTHENTICATED[name]
    for turn in before:
        assert exchange(login, request(*turn)).status == LoginStatus.SUCCESS
    assert exchange(login, request(*last)).status == LoginStatus.AUTHENTICATION_FAILURE
    assert login.state is State.REFUSED


def test_a_stage_is_not_left_in_the_middle_of_chap() -> None:
    login = login_for(Directory(CREDENTIALS))
    for turn in CHAP_BEGUN:
        exchange(login, request(*turn))
    for nsg in (OP, FULL):
        assert not exchange(login, request(SEC, nsg)).transit
    assert login.state is State.SECURITY
    assert exchange(login, request(OP, FULL)).status == LoginStatus.INITIATOR_ERROR


def test_chap_alone_where_nothing_is_asked_fails() -> None:
    status = exchange(login_for(), request(SEC, None, [*NAMES, ("AuthMethod", "CHAP")])).status
    assert status == LoginStatus.AUTHENTICATION_FAILURE


# -- statuses -------------------------------------------------------------------------------


def named(initiator: str | None = INITIATOR, target: str | None = DISK, **more: str) -> Pairs:
    pairs = [("InitiatorName", initiator), ("TargetName", target), *more.items()]
    return [(name, value) for name, value in pairs if value is not None]


FIRST_REQUESTS: dict[str, tuple[LoginRequest, LoginStatus]] = {
    "no initiator name": (request(OP, FULL, named(None)), LoginStatus.MISSING_PARAMETER),
    "no target name": (request(OP, FULL, named(target=None)), LoginStatus.MISSING_PARAMETER),
    "nothing at all": (request(SEC, None), LoginStatus.MISSING_PARAMETER),
    "a name that cannot be shown": (
        request(OP, FULL, named("iqn.a\x1b[2J")),
        LoginStatus.INITIATOR_ERROR,
    ),
    "malformed target name": (request(OP, FULL, named(target="it")), LoginStatus.NOT_FOUND),
    "no such target": (request(OP, FULL, named(target=DISK + "x")), LoginStatus.NOT_FOUND),
    "target at another portal": (request(OP, FULL, named(target=TAPE)), LoginStatus.NOT_FOUND),
    "not allowed": (request(OP, FULL, named(STRANGER)), LoginStatus.AUTHORIZATION_FAILURE),
    "private": (request(OP, FULL, named(target=PRIVATE)), LoginStatus.AUTHORIZATION_FAILURE),
    "session type": (
        request(OP, FULL, named(SessionType="Boot")),
        LoginStatus.SESSION_TYPE_NOT_SUPPORTED,
    ),
    "version": (request(OP, FULL, NAMES, version_min=1), LoginStatus.UNSUPPORTED_VERSION),
    "a session that is not there": (
        request(OP, FULL, NAMES, tsih=4),
        LoginStatus.SESSION_DOES_NOT_EXIST,
    ),
    "a discovery session with a TSIH": (
        request(OP, FULL, DISCOVERY_NAMES, tsih=3),
        LoginStatus.SESSION_DOES_NOT_EXIST,
    ),
    "a second connection": (
        request(OP, FULL, NAMES, tsih=3, cid=1),
        LoginStatus.TOO_MANY_CONNECTIONS,
    ),
    "the same connection again": (
        request(OP, FULL, NAMES, tsih=3),
        LoginStatus.CANNOT_INCLUDE_IN_SESSION,
    ),
    "another ISID's session": (
        request(OP, FULL, NAMES, tsih=3, isid=bytes(6)),
        LoginStatus.SESSION_DOES_NOT_EXIST,
    ),
    "CSG 2": (request(2, None, NAMES), LoginStatus.INITIATOR_ERROR),
    "CSG 3": (request(FULL, None, NAMES), LoginStatus.INITIATOR_ERROR),
    "NSG 2": (request(OP, 2, NAMES), LoginStatus.INITIATOR_ERROR),
    "NSG the same stage": (request(OP, OP, NAMES), LoginStatus.INITIATOR_ERROR),
    "NSG backwards": (request(OP, SEC, NAMES), LoginStatus.INITIATOR_ERROR),
    "T and C": (request(OP, FULL, NAMES, continues=True), LoginStatus.INITIATOR_ERROR),
    "no text": (request(OP, FULL, b"InitiatorName\0"), LoginStatus.INITIATOR_ERROR),
    "a key twice": (
        request(OP, FULL, [*NAMES, ("MaxBurstLength", "512"), ("MaxBurstLength", "512")]),
        LoginStatus.INITIATOR_ERROR,
    ),
}


@pytest.mark.parametrize("name", FIRST_REQUESTS)
def test_refusals(name: str) -> None:
    sent, status = FIRST_REQUESTS[name]
    sessions = Sessions({NexusKey(INITIATOR, ISID, DISK, 1): (3, 0)})
    login = login_for(sessions=sessions)
    received = exchange(login, sent)
    assert received.status == status
    assert not received.transit
    assert received.data == b""
    assert login.state is State.REFUSED
    assert login.refusal is not None
    assert login.refusal.status is status
    assert login.receive(request(OP, FULL, NAMES).encode()) == b"", "it is over"
    assert login.parameters is None


def test_tsih_0_replaces_a_session() -> None:
    key = NexusKey(INITIATOR, ISID, DISK, 1)
    login = login_for(sessions=Sessions({key: (3, 0)}))
    login.receive(request(OP, FULL, NAMES).encode())
    assert login.state is State.ESTABLISHING
    assert login.nexus_key == key


def test_a_target_of_another_portal_group() -> None:
    login = login_for(tag=2)
    received = exchange(login, request(OP, FULL, named(target=TAPE)))
    assert ("TargetPortalGroupTag", "2") in decode_text(received.data)


LOGOUT = LogoutRequest(reason=0, initiator_task_tag=1, cmd_sn=1, exp_stat_sn=1).encode()


@pytest.mark.parametrize(
    ("permanent", "status"),
    [
        (False, LoginStatus.TARGET_MOVED_TEMPORARILY),
        (True, LoginStatus.TARGET_MOVED_PERMANENTLY),
    ],
)
@pytest.mark.parametrize("host", ["192.0.2.9", "2001:db8::9", "array.example.org"])
def test_a_redirection_is_the_first_answer(permanent: bool, status: LoginStatus, host: str) -> None:
    """RFC 7143, 11.13.5; 13.8: without a portal group tag. Nothing is asked before."""
    target = TargetDescription(DISK, redirect=Redirect(host, 3261, permanent))
    login = login_for(Directory(CREDENTIALS, targets={DISK: target}))
    received = exchange(login, request(SEC, OP, [*NAMES, ("AuthMethod", "CHAP,None")]))
    assert received.status == status and not received.transit
    where = f"[{host}]:3261" if ":" in host else f"{host}:3261"
    assert decode_text(received.data) == [("TargetAddress", where)]
    assert login.refusal is not None and login.refusal.status is status


def test_a_redirection_ends_where_it_leads() -> None:
    here = TargetDescription(DISK, redirect=Redirect("192.0.2.1", 3260))
    received = exchange(login_for(Directory(targets={DISK: here})), request(OP, FULL, NAMES))
    assert received.status == LoginStatus.SUCCESS


def test_who_may_not_log_in_is_not_told_where_to_go() -> None:
    target = TargetDescription(DISK, redirect=Redirect("192.0.2.9", 3260))
    names = [("InitiatorName", STRANGER), *NAMES[1:]]
    received = exchange(login_for(Directory(targets={DISK: target})), request(OP, FULL, names))
    assert (received.status, received.data) == (LoginStatus.AUTHORIZATION_FAILURE, b"")


def test_a_target_that_leaves_the_group_meanwhile() -> None:
    directory = Directory()
    login = login_for(directory)
    login.receive(request(OP, FULL, NAMES).encode())
    directory.targets[DISK] = TargetDescription(DISK, tags=(2,))
    (received,) = responses(login.establish(9))
    assert received.status == LoginStatus.TARGET_REMOVED


def test_another_pdu_during_login() -> None:
    login = login_for()
    login.receive(request(SEC, None, NAMES).encode())
    (received,) = responses(login.receive(LOGOUT))
    assert received.status == LoginStatus.INVALID_DURING_LOGIN


@pytest.mark.parametrize(
    "first", [LOGOUT, b"\x7f" + bytes(47), b"GET / HTTP/1.1\r\n" * 3, b"\x43" + b"\xff" * 47]
)
def test_who_does_not_begin_with_a_login_gets_no_answer(first: bytes) -> None:
    login = login_for()
    assert login.receive(first) == b""
    assert login.state is State.REFUSED


@pytest.mark.parametrize(
    "changed", [{"isid": bytes(6)}, {"tsih": 1}, {"cid": 1}], ids=["ISID", "TSIH", "CID"]
)
def test_what_must_stay_within_a_login(changed: dict[str, int]) -> None:
    login = login_for()
    exchange(login, request(SEC, None, NAMES))
    received = exchange(login, request(SEC, None, **changed))  # type: ignore[arg-type]
    assert received.status == LoginStatus.INITIATOR_ERROR


def test_backwards_is_refused() -> None:
    login = login_for()
    exchange(login, request(SEC, OP, NAMES))
    assert exchange(login, request(SEC, None)).status == LoginStatus.INITIATOR_ERROR


@pytest.mark.parametrize("later", [("SessionType", "Discovery"), ("TargetName", TAPE)])
def test_who_and_where_cannot_change(later: tuple[str, str]) -> None:
    login = login_for()
    exchange(login, request(SEC, None, named()))
    assert exchange(login, request(SEC, None, [later])).status == LoginStatus.INITIATOR_ERROR


def test_a_target_removed_meanwhile() -> None:
    directory = Directory()
    login = login_for(directory)
    login.receive(request(OP, FULL, NAMES).encode())
    directory.removed.add(DISK)
    (received,) = responses(login.establish(1))
    assert received.status == LoginStatus.TARGET_REMOVED
    assert login.parameters is None


def test_refused_from_outside() -> None:
    login = login_for()
    login.receive(request(OP, FULL, NAMES).encode())
    (received,) = responses(login.refuse(LoginStatus.OUT_OF_RESOURCES, "full"))
    assert received.status == LoginStatus.OUT_OF_RESOURCES


# -- limits ---------------------------------------------------------------------------------


def test_requests_are_counted() -> None:
    login = login_for()
    for _ in range(MAX_LOGIN_REQUESTS):
        assert exchange(login, request(SEC, None, NAMES)).status == LoginStatus.SUCCESS
    assert exchange(login, request(SEC, None)).status == LoginStatus.INITIATOR_ERROR


def test_text_is_bounded() -> None:
    login = login_for()
    statuses = [
        exchange(login, request(SEC, None, b"A" * 8192, continues=True)).status
        for _ in range(MAX_NEGOTIATION_TEXT_BYTES // 8192 + 1)
    ]
    assert statuses == [0, 0, LoginStatus.INITIATOR_ERROR]


def test_a_pdu_is_bounded() -> None:
    login = login_for()
    exchange(login, request(SEC, None, NAMES))
    (received,) = responses(login.receive(request(SEC, None, bytes(8193)).encode()))
    assert received.status == LoginStatus.INITIATOR_ERROR


# -- any input ------------------------------------------------------------------------------

BOUND = 48 + 8192 + 4
KEYS_AND_VALUES = st.tuples(
    st.sampled_from([*dict(LIBISCSI), "AuthMethod", "CHAP_A", "CHAP_N", "CHAP_R", "X-a", "?"]),
    st.sampled_from(["Yes", "None", "5", "0x", "CHAP", INITIATOR, DISK, "Discovery", "\xe9", ""]),
)
REQUESTS = st.builds(
    request,
    st.integers(0, 3),
    st.none() | st.integers(0, 3),
    st.lists(KEYS_AND_VALUES, max_size=4).map(lambda pairs: [*NAMES, *pairs])
    | st.binary(max_size=40),
    continues=st.booleans(),
    version_min=st.sampled_from([0, 0, 0, 1]),
    tsih=st.sampled_from([0, 0, 0, 3]),
)


def check_invariants(login: Login, sent: bytes) -> None:
    responses(sent)
    if login.state is State.ESTABLISHING:
        responses(login.establish(1))
        assert login.state is State.FULL_FEATURE
    assert (login.state is State.REFUSED) == (login.refusal is not None)
    assert (login.state is State.FULL_FEATURE) == (login.parameters is not None)


@given(st.lists(st.binary(max_size=200), max_size=8))
def test_arbitrary_bytes(chunks: list[bytes]) -> None:
    login = login_for()
    for chunk in chunks:
        check_invariants(login, login.receive(chunk))
        if login.state is State.START:
            assert len(login.trailing_data) < BOUND


@given(st.lists(REQUESTS, max_size=6), st.sampled_from([None, CREDENTIALS]))
def test_arbitrary_requests(sent: list[LoginRequest], asked: ChapCredentials | None) -> None:
    login = login_for(Directory(asked))
    for pdu in sent:
        check_invariants(login, login.receive(pdu.encode()))
    assert asked is None or login.parameters is None, "nobody here knows the secret"


def test_the_table_leads_forward_and_every_stage_may_be_kept() -> None:
    rank = list(State)
    for state, steps in TRANSITIONS.items():
        for (csg, nsg), after in steps.items():
            assert rank.index(after) >= rank.index(state)
            assert (csg, None) in steps
            assert nsg is None or nsg > csg
