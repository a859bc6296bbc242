"""Text Requests after the login: one table of keys, whether the session is Python's (discovery) or
the data path's (normal)."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from scsi_snap import _native
from scsi_snap.iscsi.directory import PortalAddress, TargetDescription
from scsi_snap.iscsi.discovery import DiscoverySession
from scsi_snap.iscsi.errors import ProtocolError
from scsi_snap.iscsi.framing import PduReader
from scsi_snap.iscsi.full_feature_text import FullFeatureText, NormalSessionText
from scsi_snap.iscsi.limits import MAX_NEGOTIATION_TEXT_BYTES
from scsi_snap.iscsi.pdu import NO_TASK_TAG, Pdu, Reject, TextRequest, TextResponse
from scsi_snap.iscsi.text import Pairs, decode_text, encode_text
from scsi_snap.scsi.nexus import TargetPort
from scsi_snap.scsi.target import Target
from tests.native import runtime
from tests.t6_scsi import wire
from tests.t7_iscsi.initiator import DISK, PRIVATE, TAPE, Directory

HERE = PortalAddress("192.0.2.1", 3260)
OWN = [("TargetName", DISK), ("TargetAddress", "192.0.2.1:3260,1")]
NEXUS = 77_000
PARAMETERS = replace(wire.PARAMETERS, max_recv_data_segment_length=8192)

Send = Callable[[bytes], bytes]


class Initiator:
    """Sends Text Requests over whatever carries bytes to a session and its answers back."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._reader = PduReader(1 << 24)
        self._cmd_sn = PARAMETERS.cmd_sn

    def text(
        self, text: bytes, *, final: bool = True, continues: bool = False, tag: int = NO_TASK_TAG
    ) -> TextResponse | Reject:
        pdu = TextRequest(
            final=final,
            continues=continues,
            initiator_task_tag=8,
            target_transfer_tag=tag,
            cmd_sn=self._cmd_sn,
            exp_stat_sn=0,
            data=text,
        )
        self._cmd_sn += 1
        self._reader.receive(self._send(pdu.encode()))
        received: Pdu | None = None
        while (received := self._reader.next_pdu()) is None:
            more = self._send(b"")
            assert more, "the session has ended"
            self._reader.receive(more)
        assert isinstance(received, TextResponse | Reject)
        return received


@contextmanager
def discovery_session() -> Iterator[Initiator]:
    parameters = replace(PARAMETERS, target_name="")
    session = DiscoverySession(parameters, directory=Directory(), connected_to=HERE)
    yield Initiator(session.receive)


@contextmanager
def normal_session() -> Iterator[Initiator]:
    parameters = replace(PARAMETERS, target_name=DISK)
    target = Target(TargetPort(DISK))
    native = _native.Target(runtime(), target)
    text = NormalSessionText(parameters, directory=Directory(), connected_to=HERE)
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    near.settimeout(wire.ANSWER_SECONDS)
    session = native.adopt(far.detach(), NEXUS, parameters, text, b"")

    def send(data: bytes) -> bytes:
        near.sendall(data)
        return b"" if data else near.recv(1 << 16)

    with near:
        yield Initiator(send)
    assert session.wait_closed(wire.ANSWER_SECONDS)


SESSIONS = {"discovery": discovery_session, "normal": normal_session}
both = pytest.mark.parametrize("session", SESSIONS.values(), ids=SESSIONS)
MakeSession = Callable[[], "contextmanager[Initiator]"]

ANSWERS: list[tuple[bytes | Pairs, Pairs]] = [
    (b"", []),
    ([("MaxRecvDataSegmentLength", "0x1000")], []),
    ([("MaxRecvDataSegmentLength", "16777216")], []),
    ([("InitiatorAlias", "gr\u00f6\u00dfer")], []),
    ([("TaskReporting", "RFC3720")], [("TaskReporting", "Reject")]),
    ([("iSCSIProtocolLevel", "2")], [("iSCSIProtocolLevel", "Reject")]),
    ([("InitiatorName", DISK)], [("InitiatorName", "Reject")]),
    ([("TargetName", DISK)], [("TargetName", "Reject")]),
    ([("AuthMethod", "None")], [("AuthMethod", "Reject")]),
    ([("CHAP_A", "5")], [("CHAP_A", "Reject")]),
    ([("InitialR2T", "No")], [("InitialR2T", "Reject")]),
    ([("TargetPortalGroupTag", "1")], [("TargetPortalGroupTag", "Reject")]),
    ([("X-a", "b")], [("X-a", "NotUnderstood")]),
    (
        [("X-a", "b"), ("ErrorRecoveryLevel", "0"), ("X-c", "d")],
        [("X-a", "NotUnderstood"), ("ErrorRecoveryLevel", "Reject"), ("X-c", "NotUnderstood")],
    ),
    (b"X-a=1", [("X-a", "NotUnderstood")]),
    ([("X" * 63, "b")], [("X" * 63, "NotUnderstood")]),
]


@both
@pytest.mark.parametrize(("text", "answers"), ANSWERS)
def test_answers(session: MakeSession, text: bytes | Pairs, answers: Pairs) -> None:
    with session() as initiator:
        received = initiator.text(text if isinstance(text, bytes) else encode_text(text))
        assert isinstance(received, TextResponse)
        assert decode_text(received.data) == answers
        assert received.final


REJECTED = [
    b"SendTargets\0",
    b"=b\0",
    b"X-a=\xff\0",
    b"X" * 64 + b"=b\0",
    b"X-a=" + b"b" * 2051 + b"\0",
    b"MaxRecvDataSegmentLength=+4096\0",
    b"MaxRecvDataSegmentLength=04096\0",
    b"MaxRecvDataSegmentLength=511\0",
    b"MaxRecvDataSegmentLength=4096\0MaxRecvDataSegmentLength=4096\0",
    b"X-a=1\0X-a=1\0",
    b"X-a=Irrelevant\0",
    b"X-a=1\0" * 129,
]


@both
@pytest.mark.parametrize("text", REJECTED)
def test_what_no_answer_could_carry_is_rejected(session: MakeSession, text: bytes) -> None:
    with session() as initiator:
        received = initiator.text(text)
        assert isinstance(received, Reject)
        assert (received.reason, received.data[0]) == (0x04, TextRequest.OPCODE)
        again = initiator.text(b"X-a=1\0")
        assert isinstance(again, TextResponse), "the session goes on"


@both
def test_a_key_once_in_an_exchange_and_again_in_the_next(session: MakeSession) -> None:
    with session() as initiator:
        text = b"MaxRecvDataSegmentLength=4096\0"
        first = initiator.text(text, final=False)
        assert isinstance(first, TextResponse)
        assert not first.final
        again = initiator.text(text, tag=first.target_transfer_tag)
        assert isinstance(again, Reject)
        assert isinstance(initiator.text(text), TextResponse)
        assert isinstance(initiator.text(text), TextResponse)


@both
def test_a_new_segment_length_holds_from_the_answer_on(session: MakeSession) -> None:
    unknown = [(f"X-{number:02}" + "b" * 50, "1") for number in range(10)]
    with session() as initiator:
        text = encode_text([*unknown, ("MaxRecvDataSegmentLength", "0x200")])
        received = initiator.text(text)
        assert isinstance(received, TextResponse)
        assert (len(received.data), received.continues) == (512, True)
        said = received.data
        while isinstance(received, TextResponse) and received.continues:
            received = initiator.text(b"", tag=received.target_transfer_tag)
            said += received.data
        assert decode_text(said) == [(name, "NotUnderstood") for name, _ in unknown]


@pytest.mark.parametrize("wanted", ["", DISK, DISK.upper()])
def test_a_normal_session_tells_of_its_own_target(wanted: str) -> None:
    with normal_session() as initiator:
        received = initiator.text(encode_text([("SendTargets", wanted)]))
        assert decode_text(received.data) == OWN


@pytest.mark.parametrize("wanted", ["All", TAPE, PRIVATE, "no name at all"])
def test_a_normal_session_tells_of_no_other_target(wanted: str) -> None:
    """Appendix C: All belongs to discovery; and not even that there is one is said."""
    with normal_session() as initiator:
        received = initiator.text(encode_text([("SendTargets", wanted)]))
        assert decode_text(received.data) == [("SendTargets", "Reject")]


def own(directory: Directory) -> FullFeatureText:
    parameters = replace(PARAMETERS, target_name=DISK)
    return FullFeatureText(parameters, directory=directory, connected_to=HERE)


def test_all_portals_of_the_own_target_are_named() -> None:
    portals = (PortalAddress("0.0.0.0", 3261, 2), HERE)
    text = own(Directory(targets={DISK: TargetDescription(DISK, portals=portals)}))
    lines = decode_text(text.answer(b"SendTargets=\0"))
    assert [value for _, value in lines] == [DISK, "192.0.2.1:3261,2", "192.0.2.1:3260,1"]


@pytest.mark.parametrize(
    "directory",
    [
        Directory(removed={DISK}),
        Directory(
            targets={DISK: TargetDescription(DISK, portals=(PortalAddress("127.0.0.1", 3260),))}
        ),
    ],
)
def test_a_session_knows_at_least_where_it_is(directory: Directory) -> None:
    assert decode_text(own(directory).answer(b"SendTargets=\0")) == OWN


def test_an_exchange_without_an_end_is_bounded() -> None:
    text = own(Directory())
    taken = 0
    for number in range(MAX_NEGOTIATION_TEXT_BYTES):
        request = f"X-{number}=1\0".encode()
        if taken + len(request) > MAX_NEGOTIATION_TEXT_BYTES:
            break
        text.answer(request)
        taken += len(request)
    with pytest.raises(ProtocolError, match="bytes of text"):
        text.answer(request)
    text.begin()
    assert text.answer(request)
