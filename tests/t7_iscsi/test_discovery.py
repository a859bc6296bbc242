"""Discovery sessions: what each request is answered, whole and byte by byte."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import strategies as st

from scsi_snap.iscsi.directory import PortalAddress, TargetDescription
from scsi_snap.iscsi.discovery import DiscoverySession
from scsi_snap.iscsi.framing import PduReader, write_pdu
from scsi_snap.iscsi.parameters import SessionParameters
from scsi_snap.iscsi.pdu import (
    NO_TASK_TAG,
    LogoutRequest,
    LogoutResponse,
    NopIn,
    NopOut,
    Pdu,
    Reject,
    TextRequest,
    TextResponse,
)
from scsi_snap.iscsi.text import Pairs, decode_text, encode_text
from tests.t7_iscsi.given import given
from tests.t7_iscsi.initiator import (
    DISCOVERY_NAMES,
    DISK,
    PRIVATE,
    STRANGER,
    TAPE,
    Directory,
    exchange,
    login_for,
    request,
)

HERE = PortalAddress("192.0.2.1", 3260)
DISK_LINES = [("TargetName", DISK), ("TargetAddress", "192.0.2.1:3260,1")]
TAPE_LINES = [("TargetName", TAPE), ("TargetAddress", "192.0.2.7:3260,2")]


def parameters() -> SessionParameters:
    login = login_for()
    exchange(login, request(1, 3, DISCOVERY_NAMES))
    assert login.parameters is not None
    return login.parameters


PARAMETERS = parameters()


class Initiator:
    """The other end of one session; numbers its commands."""

    def __init__(self, directory: Directory | None = None, **changed: object) -> None:
        self.parameters = replace(PARAMETERS, **changed)  # type: ignore[arg-type]
        self.session = DiscoverySession(
            self.parameters, directory=directory or Directory(), connected_to=HERE
        )
        self.cmd_sn = self.parameters.cmd_sn
        self.digests = {
            "header_digest": self.parameters.header_digest,
            "data_digest": self.parameters.data_digest,
        }
        self.reader = PduReader(1 << 24, **self.digests)

    def send(self, pdu: Pdu, step: int = 1 << 20) -> list[Pdu]:
        wire = write_pdu(pdu, **self.digests)  # type: ignore[arg-type]
        for at in range(0, len(wire), step):
            self.reader.receive(self.session.receive(wire[at : at + step]))
        received = []
        while (answer := self.reader.next_pdu()) is not None:
            received.append(answer)
        return received

    def text(
        self,
        pairs: Pairs | bytes,
        *,
        final: bool = True,
        continues: bool = False,
        tag: int = NO_TASK_TAG,
        step: int = 1 << 20,
    ) -> TextResponse | Reject:
        pdu = TextRequest(
            final=final,
            continues=continues,
            initiator_task_tag=8,
            target_transfer_tag=tag,
            cmd_sn=self.cmd_sn,
            exp_stat_sn=0,
            data=pairs if isinstance(pairs, bytes) else encode_text(pairs),
        )
        self.cmd_sn += 1
        (received,) = self.send(pdu, step)
        assert isinstance(received, TextResponse | Reject)
        return received


def test_the_tag_that_is_none_is_no_request_s() -> None:
    initiator = Initiator()
    text = TextRequest(
        final=True,
        initiator_task_tag=NO_TASK_TAG,
        cmd_sn=PARAMETERS.cmd_sn,
        exp_stat_sn=0,
        data=encode_text([("SendTargets", "All")]),
    )
    logout = LogoutRequest(
        reason=0, initiator_task_tag=NO_TASK_TAG, cmd_sn=PARAMETERS.cmd_sn + 1, exp_stat_sn=0
    )
    for pdu in (text, logout):
        (rejected,) = initiator.send(pdu)
        assert isinstance(rejected, Reject) and rejected.reason == 0x09
    assert not initiator.session.finished


@pytest.mark.parametrize("digests", [False, True])
@pytest.mark.parametrize("step", [1, 1 << 20])
@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("All", [*DISK_LINES, *TAPE_LINES]),
        (DISK, DISK_LINES),
        (DISK.upper(), DISK_LINES),
        ("", []),
        (PRIVATE, []),
        (DISK + "x", []),
        ("no name at all", []),
        ("all", []),
    ],
)
def test_send_targets(asked: str, told: Pairs, step: int, digests: bool) -> None:
    initiator = Initiator(header_digest=digests, data_digest=digests)
    received = initiator.text([("SendTargets", asked)], step=step)
    assert isinstance(received, TextResponse)
    assert decode_text(received.data) == told
    assert (received.final, received.continues) == (True, False)
    assert (received.initiator_task_tag, received.target_transfer_tag) == (8, NO_TASK_TAG)
    assert received.stat_sn == PARAMETERS.stat_sn
    assert received.exp_cmd_sn == received.max_cmd_sn == PARAMETERS.cmd_sn + 1


def test_only_what_the_initiator_may_see() -> None:
    received = Initiator(initiator_name=STRANGER).text([("SendTargets", "All")])
    assert received.data == b""


@pytest.mark.parametrize(
    ("portal", "line"),
    [
        (PortalAddress("0.0.0.0", 3261, 4), "192.0.2.1:3261,4"),
        (PortalAddress("::", 3261, 4), "192.0.2.1:3261,4"),
        (PortalAddress("2001:db8::1", 3260, 1), "[2001:db8::1]:3260,1"),
        (PortalAddress("array.example.org", 3260, 1), "array.example.org:3260,1"),
    ],
)
def test_addresses(portal: PortalAddress, line: str) -> None:
    directory = Directory(targets={DISK: TargetDescription(DISK, portals=(portal, HERE))})
    received = Initiator(directory).text([("SendTargets", "All")])
    assert decode_text(received.data) == [
        ("TargetName", DISK),
        ("TargetAddress", line),
        ("TargetAddress", "192.0.2.1:3260,1"),
    ]


LOOPBACK = (PortalAddress("127.0.0.1", 3260), PortalAddress("::1", 3260))


@pytest.mark.parametrize(
    ("here", "portals", "told"),
    [
        # Loopback leads another machine to itself.
        (HERE, (*LOOPBACK, HERE), ["192.0.2.1:3260,1"]),
        (LOOPBACK[0], (*LOOPBACK, HERE), ["127.0.0.1:3260,1", "[::1]:3260,1", "192.0.2.1:3260,1"]),
        # Every IPv4 address is no IPv6 address; every IPv6 address takes IPv4 as well.
        (
            PortalAddress("2001:db8::1", 3260),
            (PortalAddress("0.0.0.0", 3261), PortalAddress("::", 3262)),
            ["[2001:db8::1]:3262,1"],
        ),
        # Said once, though two portals come to the same.
        (HERE, (HERE, PortalAddress("0.0.0.0", 3260)), ["192.0.2.1:3260,1"]),
        # Reached at no address: not there.
        (HERE, LOOPBACK, []),
    ],
)
def test_only_addresses_that_lead_here_from_there(
    here: PortalAddress, portals: tuple[PortalAddress, ...], told: list[str]
) -> None:
    directory = Directory(targets={DISK: TargetDescription(DISK, portals=portals)})
    initiator = Initiator(directory)
    initiator.session = DiscoverySession(PARAMETERS, directory=directory, connected_to=here)
    lines = decode_text(initiator.text([("SendTargets", "All")]).data)
    names = [("TargetName", DISK)] if told else []
    assert lines == [*names, *(("TargetAddress", address) for address in told)]


def test_a_long_answer_comes_in_parts() -> None:
    names = [f"iqn.2026-11.org.example:{number:04}" for number in range(500)]
    directory = Directory(targets={name: TargetDescription(name) for name in names})
    initiator = Initiator(directory, max_send_data_segment_length=512)
    received = initiator.text([("SendTargets", "All")])
    text = received.data
    while isinstance(received, TextResponse) and received.continues:
        assert len(received.data) == 512
        assert not received.final
        received = initiator.text(b"", tag=received.target_transfer_tag)
        text += received.data
    assert isinstance(received, TextResponse)
    assert received.final
    lines = text.decode().split("\0")
    assert [line.removeprefix("TargetName=") for line in lines[:-1:2]] == names


def test_a_request_in_parts() -> None:
    initiator = Initiator()
    first = initiator.text(b"SendTar", final=False, continues=True)
    assert isinstance(first, TextResponse)
    assert (first.final, first.data) == (False, b"")
    last = initiator.text(b"gets=All\0", tag=first.target_transfer_tag)
    assert decode_text(last.data) == [*DISK_LINES, *TAPE_LINES]


def test_a_new_request_ends_the_one_under_way() -> None:
    initiator = Initiator(max_send_data_segment_length=16)
    initiator.text([("SendTargets", "All")])
    received = initiator.text([("SendTargets", "")])
    assert isinstance(received, TextResponse)
    assert (received.final, received.data) == (True, b"")


def test_other_keys() -> None:
    initiator = Initiator()
    received = initiator.text([("MaxRecvDataSegmentLength", "512"), ("X-a", "1")])
    assert decode_text(received.data) == [("X-a", "NotUnderstood")]
    long = initiator.text([(f"X-{number:02}" + "b" * 50, "1") for number in range(20)])
    assert isinstance(long, TextResponse)
    assert (len(long.data), long.continues) == (512, True)


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        (b"SendTargets\0", 0x04),
        ([("SendTargets", "All"), ("SendTargets", "All")], 0x04),
        ([("MaxRecvDataSegmentLength", "512"), ("MaxRecvDataSegmentLength", "512")], 0x04),
        ([("MaxRecvDataSegmentLength", "1")], 0x04),
    ],
)
def test_bad_text_is_rejected_and_the_session_goes_on(pairs: Pairs | bytes, reason: int) -> None:
    initiator = Initiator()
    received = initiator.text(pairs)
    assert isinstance(received, Reject)
    assert received.reason == reason
    assert received.data[0] == TextRequest.OPCODE
    assert len(received.data) == 48
    assert decode_text(initiator.text([("SendTargets", DISK)]).data) == DISK_LINES


def test_final_and_continues_together_is_rejected() -> None:
    received = Initiator().text(b"A", final=True, continues=True)
    assert isinstance(received, Reject)


def test_a_transfer_tag_that_is_not_ours_is_rejected() -> None:
    received = Initiator().text(b"", tag=1)
    assert isinstance(received, Reject)
    assert received.reason == 0x09


def test_more_text_than_is_taken_is_rejected() -> None:
    initiator = Initiator()
    tag = NO_TASK_TAG
    for _ in range(2):
        part = initiator.text(b"A" * 8192, final=False, continues=True, tag=tag)
        assert isinstance(part, TextResponse)
        tag = part.target_transfer_tag
    assert isinstance(initiator.text(b"A", final=False, continues=True, tag=tag), Reject)


def ping(cmd_sn: int, tag: int = 3, *, immediate: bool = False) -> NopOut:
    return NopOut(
        immediate=immediate, initiator_task_tag=tag, cmd_sn=cmd_sn, exp_stat_sn=0, data=b"ping"
    )


def test_ping() -> None:
    initiator = Initiator()
    (received,) = initiator.send(ping(initiator.cmd_sn))
    assert isinstance(received, NopIn)
    assert (received.initiator_task_tag, received.data) == (3, b"ping")
    assert received.exp_cmd_sn == initiator.cmd_sn + 1
    (received,) = initiator.send(ping(0, immediate=True))
    assert isinstance(received, NopIn)
    assert received.exp_cmd_sn == initiator.cmd_sn + 1
    assert initiator.send(ping(0, NO_TASK_TAG, immediate=True)) == []


def test_a_command_outside_the_window_is_ignored() -> None:
    initiator = Initiator()
    assert initiator.send(ping(initiator.cmd_sn + 1)) == []
    assert initiator.send(ping(initiator.cmd_sn - 1)) == []
    assert len(initiator.send(ping(initiator.cmd_sn))) == 1


def test_serial_numbers_wrap() -> None:
    initiator = Initiator(cmd_sn=0xFFFFFFFF, stat_sn=0xFFFFFFFF)
    (first,) = initiator.send(ping(0xFFFFFFFF))
    (second,) = initiator.send(ping(0))
    assert isinstance(first, NopIn)
    assert isinstance(second, NopIn)
    assert (first.stat_sn, first.exp_cmd_sn, second.stat_sn) == (0xFFFFFFFF, 0, 0)


@pytest.mark.parametrize(
    ("reason", "cid", "response"),
    [(0, 0, 0), (0, 9, 0), (1, 0, 0), (1, 9, 1), (2, 0, 2)],
)
def test_logout(reason: int, cid: int, response: int) -> None:
    initiator = Initiator()
    (received,) = initiator.send(
        LogoutRequest(
            reason=reason, initiator_task_tag=3, cid=cid, cmd_sn=initiator.cmd_sn, exp_stat_sn=0
        )
    )
    assert isinstance(received, LogoutResponse)
    assert received.response == response
    assert initiator.session.finished == (response == 0)
    assert initiator.session.failure is None


@pytest.mark.parametrize("reason", [3, 64, 127])
def test_a_reserved_reason_does_not_end_the_session(reason: int) -> None:
    initiator = Initiator()
    (received,) = initiator.send(
        LogoutRequest(
            reason=reason, initiator_task_tag=3, cid=0, cmd_sn=initiator.cmd_sn, exp_stat_sn=0
        )
    )
    assert isinstance(received, Reject)
    assert received.reason == 0x09
    assert not initiator.session.finished


@pytest.mark.parametrize(
    ("opcode", "reason"), [(0x01, 0x05), (0x02, 0x05), (0x03, 0x04), (0x24, 0x04)]
)
def test_other_pdus_are_rejected(opcode: int, reason: int) -> None:
    initiator = Initiator()
    header = bytes([0x40 | opcode]) + bytes(range(1, 4)) + bytes(44)
    initiator.reader.receive(initiator.session.receive(header))
    received = initiator.reader.next_pdu()
    assert isinstance(received, Reject)
    assert (received.reason, received.data) == (reason, header)


def test_a_stream_that_cannot_be_followed_ends_the_session() -> None:
    initiator = Initiator()
    assert initiator.session.receive(b"\x40\0\0\0\0\xff\xff\xff" + bytes(40)) == b""
    assert initiator.session.finished
    assert initiator.session.failure is not None
    assert initiator.session.receive(bytes(48)) == b""


def test_bytes_behind_the_login_come_first() -> None:
    wire = ping(PARAMETERS.cmd_sn).encode()
    session = DiscoverySession(
        PARAMETERS, directory=Directory(), connected_to=HERE, received=wire[:20]
    )
    assert session.receive(wire[20:])[0] == NopIn.OPCODE


@given(st.lists(st.binary(max_size=120), max_size=8))
def test_arbitrary_bytes(chunks: list[bytes]) -> None:
    initiator = Initiator()
    for chunk in chunks:
        initiator.reader.receive(initiator.session.receive(chunk))
        while initiator.reader.next_pdu() is not None:
            pass
    assert initiator.reader.trailing_data == b""


@given(
    st.lists(
        st.builds(
            TextRequest,
            immediate=st.just(True),
            final=st.booleans(),
            continues=st.booleans(),
            initiator_task_tag=st.just(1),
            target_transfer_tag=st.sampled_from([NO_TASK_TAG, 1, 2]),
            cmd_sn=st.just(0),
            exp_stat_sn=st.just(0),
            data=st.sampled_from([b"", b"SendTargets=All\0", b"X-a=1\0", b"Send", b"\xff"]),
        ),
        max_size=8,
    )
)
def test_arbitrary_text_requests_each_get_one_answer(requests: list[TextRequest]) -> None:
    initiator = Initiator(max_send_data_segment_length=64)
    for pdu in requests:
        (received,) = initiator.send(pdu)
        assert isinstance(received, TextResponse | Reject)
        if isinstance(received, TextResponse):
            assert len(received.data) <= 64
            assert not (received.final and received.continues)
            assert received.final == (received.target_transfer_tag == NO_TASK_TAG)
