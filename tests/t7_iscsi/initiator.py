"""An initiator's half of a login and the directory it finds: plain values, no sockets."""

from __future__ import annotations

from dataclasses import dataclass, field

from scsi_snap.iscsi.chap import Challenges, ChapCredentials, response
from scsi_snap.iscsi.directory import NexusKey, PortalAddress, TargetDescription
from scsi_snap.iscsi.framing import PduReader
from scsi_snap.iscsi.login import Login
from scsi_snap.iscsi.pdu import LoginRequest, LoginResponse
from scsi_snap.iscsi.text import Pairs, decode_binary, decode_text, encode_binary, encode_text

INITIATOR = "iqn.2026-11.org.example:initiator"
STRANGER = "iqn.2026-11.org.example:stranger"
DISK = "iqn.2026-11.org.example:disk"
TAPE = "iqn.2026-11.org.example:tape"
PRIVATE = "iqn.2026-11.org.example:private"
ISID = bytes.fromhex("800000000001")
CMD_SN = 77
CREDENTIALS = ChapCredentials("alice", b"twelve bytes and more")
MUTUAL = ChapCredentials("alice", b"twelve bytes and more", "the disk", b"quite another secret")

NAMES = [("InitiatorName", INITIATOR), ("TargetName", DISK), ("SessionType", "Normal")]
DISCOVERY_NAMES = [("InitiatorName", INITIATOR), ("SessionType", "Discovery")]


@dataclass
class Directory:
    """Three targets; `private` lets nobody in; `tape` is only in portal group 2."""

    asked: ChapCredentials | None = None
    removed: set[str] = field(default_factory=set)
    targets: dict[str, TargetDescription] = field(
        default_factory=lambda: {
            DISK: TargetDescription(DISK, alias="a disk"),
            TAPE: TargetDescription(
                TAPE, tags=(2,), portals=(PortalAddress("192.0.2.7", 3260, 2),)
            ),
            PRIVATE: TargetDescription(PRIVATE),
        }
    )

    def find(self, target_name: str) -> TargetDescription | None:
        return None if target_name in self.removed else self.targets.get(target_name)

    def may_log_in(self, initiator_name: str, target_name: str) -> bool:
        return initiator_name != STRANGER and target_name != PRIVATE

    def visible_to(self, initiator_name: str) -> list[TargetDescription]:
        return [
            target for name, target in self.targets.items() if self.may_log_in(initiator_name, name)
        ]

    def credentials(self, initiator_name: str, target_name: str | None) -> ChapCredentials | None:
        return self.asked


@dataclass
class Sessions:
    """A fixed set of sessions: key to TSIH and CID."""

    open: dict[NexusKey, tuple[int, int]] = field(default_factory=dict)

    def find(self, key: NexusKey) -> tuple[int, int] | None:
        return self.open.get(key)


def counting_bytes(length_bytes: int) -> bytes:
    """A random source that is not one."""
    return bytes(range(0x41, 0x41 + length_bytes))


def login_for(
    directory: Directory | None = None,
    sessions: Sessions | None = None,
    tag: int = 1,
    challenges: Challenges | None = None,
) -> Login:
    return Login(
        directory=directory or Directory(),
        sessions=sessions or Sessions(),
        connected_to=PortalAddress("192.0.2.1", 3260, tag),
        challenges=challenges or Challenges(),
        random_bytes=counting_bytes,
    )


def request(
    csg: int,
    nsg: int | None,
    pairs: Pairs | bytes = b"",
    *,
    continues: bool = False,
    tsih: int = 0,
    cid: int = 0,
    isid: bytes = ISID,
    version_min: int = 0,
) -> LoginRequest:
    """A Login Request; `nsg` None leaves the T bit out."""
    return LoginRequest(
        transit=nsg is not None,
        continues=continues,
        current_stage=csg,
        next_stage=nsg or 0,
        version_min=version_min,
        isid=isid,
        tsih=tsih,
        cid=cid,
        initiator_task_tag=5,
        cmd_sn=CMD_SN,
        exp_stat_sn=0,
        data=pairs if isinstance(pairs, bytes) else encode_text(pairs),
    )


def responses(data: bytes) -> list[LoginResponse]:
    """All PDUs in `data`, which must be whole Login Responses."""
    reader = PduReader(1 << 24)
    reader.receive(data)
    found = []
    while (pdu := reader.next_pdu()) is not None:
        assert isinstance(pdu, LoginResponse)
        found.append(pdu)
    assert reader.trailing_data == b""
    return found


def exchange(login: Login, sent: LoginRequest) -> LoginResponse:
    """One request and its one response; a login that is ready is established with TSIH 9."""
    answer = login.receive(sent.encode())
    if login.state.value == "ESTABLISHING":
        answer += login.establish(9)
    (received,) = responses(answer)
    return received


def chap_answer(
    credentials: ChapCredentials, challenge: LoginResponse, secret: bytes | None = None
) -> Pairs:
    """CHAP_N and CHAP_R for the challenge in a Login Response."""
    keys = dict(decode_text(challenge.data))
    asked = decode_binary(keys["CHAP_C"])
    assert asked is not None
    digest = response(int(keys["CHAP_A"]), int(keys["CHAP_I"]), secret or credentials.secret, asked)
    return [("CHAP_N", credentials.user), ("CHAP_R", encode_binary(digest))]
