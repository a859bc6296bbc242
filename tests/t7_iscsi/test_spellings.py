"""Every spelling of a login that RFC 7143 leaves to an initiator, and those that are harmless: each
ends in a session, and in the same one as the plain spelling has.

A row is the requests of one login: CSG, NSG (None: no T bit), pairs or bytes of text.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from scsi_snap.iscsi.login import Stage, State
from scsi_snap.iscsi.parameters import SessionParameters
from scsi_snap.iscsi.text import Pairs, decode_text, encode_text
from tests.t7_iscsi.initiator import (
    CREDENTIALS,
    DISCOVERY_NAMES,
    DISK,
    INITIATOR,
    NAMES,
    Directory,
    chap_answer,
    exchange,
    login_for,
    request,
)
from tests.t7_iscsi.test_login import LIBISCSI, OPEN_ISCSI

SEC, OP, FULL = Stage.SECURITY, Stage.OPERATIONAL, Stage.FULL_FEATURE
Turn = tuple[int, int | None, Pairs | bytes]

NO_AUTH = [("AuthMethod", "None")]
KEYS = [
    ("HeaderDigest", "CRC32C"),
    ("MaxRecvDataSegmentLength", "65536"),
    ("MaxBurstLength", "131072"),
    ("FirstBurstLength", "65536"),
    ("InitialR2T", "No"),
    ("ImmediateData", "Yes"),
]
TEXT = encode_text([*NAMES, *KEYS])


def spelled(**changed: str) -> list[Turn]:
    """The plain login with other values for some keys."""
    return [(OP, FULL, [(name, changed.get(name, value)) for name, value in [*NAMES, *KEYS]])]


def with_more(*more: tuple[str, str]) -> list[Turn]:
    return [(OP, FULL, [*NAMES, *KEYS, *more])]


SPELLINGS: dict[str, list[Turn]] = {
    # What the RFC leaves open.
    "straight to the operational stage": [(OP, FULL, [*NAMES, *KEYS])],
    "both stages": [(SEC, OP, [*NAMES, *NO_AUTH]), (OP, FULL, KEYS)],
    "a request for each step": [
        (SEC, None, NAMES),
        (SEC, None, NO_AUTH),
        (SEC, OP, []),
        (OP, None, KEYS[:3]),
        (OP, None, []),
        (OP, None, KEYS[3:]),
        (OP, FULL, []),
    ],
    "a security stage without a method": [(SEC, OP, NAMES), (OP, FULL, KEYS)],
    "a list of methods": [(SEC, OP, [*NAMES, ("AuthMethod", "CHAP,None")]), (OP, FULL, KEYS)],
    "methods that nobody has": [
        (SEC, OP, [*NAMES, ("AuthMethod", "KRB5,X-com.example,SRP,None")]),
        (OP, FULL, KEYS),
    ],
    "keys in another order": [(OP, FULL, [*reversed(KEYS), *reversed(NAMES)])],
    "no session type": [(OP, FULL, [*NAMES[:2], *KEYS])],
    "text over several PDUs": [
        *((OP, None, TEXT[at : at + 30]) for at in range(0, len(TEXT) - 30, 30)),
        (OP, FULL, TEXT[(len(TEXT) - 1) // 30 * 30 :]),
    ],
    "hexadecimal": spelled(MaxRecvDataSegmentLength="0x10000", MaxBurstLength="0X20000"),
    "hexadecimal with zeros": spelled(FirstBurstLength="0x00010000"),
    "digests in a list": spelled(HeaderDigest="CRC32C,None"),
    "digests that nobody has": spelled(HeaderDigest="X-com.example.md4,CRC32C"),
    "vendors' keys": with_more(("X-com.example.fast", "Yes"), ("X#NodeArchitecture", "Example OS")),
    "a key of another transport": with_more(("RDMAExtensions", "No")),
    "markers, which are obsolete": with_more(("IFMarker", "No"), ("OFMarkInt", "2048")),
    "an alias": with_more(("InitiatorAlias", "gr\u00f6\u00dfer")),
    "an empty alias": with_more(("InitiatorAlias", "")),
    "no use for what was declared": [
        (OP, None, [*NAMES, *KEYS]),
        (OP, FULL, [("TargetPortalGroupTag", "NotUnderstood"), ("TargetAlias", "Irrelevant")]),
    ],
    "names in capitals": spelled(InitiatorName=INITIATOR.upper(), TargetName=DISK.upper()),
    # What is harmless.
    "a method in the operational stage": with_more(*NO_AUTH),
    "methods in the operational stage": with_more(("AuthMethod", "CHAP,None")),
    "a method in both stages": [(SEC, OP, [*NAMES, *NO_AUTH]), (OP, FULL, [*NO_AUTH, *KEYS])],
    "everything in the security stage": [
        (SEC, OP, [*NAMES, *NO_AUTH, *KEYS]),
        (OP, FULL, []),
    ],
    "everything in both stages": [
        (SEC, OP, [*NAMES, *NO_AUTH, *KEYS]),
        (OP, FULL, [*NAMES, *NO_AUTH, *KEYS]),
    ],
    "names with every request": [
        (SEC, None, NAMES),
        (SEC, OP, [*NAMES, *NO_AUTH]),
        (OP, None, NAMES),
        (OP, FULL, [*NAMES, *KEYS]),
    ],
    "names twice": [(OP, FULL, [*NAMES, *NAMES, *KEYS])],
    "lower case": spelled(HeaderDigest="crc32c", InitialR2T="no", ImmediateData="YES"),
    "a session type in lower case": spelled(SessionType="normal"),
    "blanks in a list": spelled(HeaderDigest="CRC32C, None"),
    "empty places in a list": spelled(HeaderDigest=",CRC32C,"),
    "a key for full feature": with_more(("SendTargets", "All")),
    "our own key": with_more(("TargetPortalGroupTag", "1")),
    "a CHAP key where there is no CHAP": with_more(("CHAP_A", "5")),
    "NULs too many": [(OP, FULL, b"\0" + TEXT.replace(b"\0", b"\0\0") + b"\0")],
    "no NUL at the end": [(OP, FULL, TEXT.rstrip(b"\0"))],
    "an initiator that knows RFC 3720 alone": with_more(("iSCSIProtocolLevel", "1")),
    "blanks around its name": spelled(InitiatorName=f" {INITIATOR} "),
}


def log_in(turns: list[Turn]) -> tuple[SessionParameters, Pairs]:
    """The session, and all that was answered."""
    login = login_for()
    said: Pairs = []
    for csg, nsg, text in turns:
        continues = nsg is None and isinstance(text, bytes)
        received = exchange(login, request(csg, nsg, text, continues=continues))
        assert received.status == 0, login.refusal
        assert received.transit == (nsg is not None)
        said += decode_text(received.data)
    assert login.state is State.FULL_FEATURE
    assert login.parameters is not None
    return login.parameters, said


PLAIN, _ = log_in([(OP, FULL, [*NAMES, *KEYS])])


@pytest.mark.parametrize("name", SPELLINGS)
def test_each_spelling_makes_the_same_session(name: str) -> None:
    found, said = log_in(SPELLINGS[name])
    assert replace(found, stat_sn=PLAIN.stat_sn) == PLAIN
    assert "Irrelevant" not in dict(said).values()


@pytest.mark.parametrize(
    "name",
    [
        "iqn.2008-11.org.linux-kvm:Windows_11",
        "iqn.2008-11.org.linux-kvm:my machine",
        "iqn.org.example:no-date",
        "host1",
        "gr\u00f6\u00dfer",
    ],
)
def test_an_initiator_may_name_itself_as_it_likes(name: str) -> None:
    found, _ = log_in(spelled(InitiatorName=name))
    again, _ = log_in(spelled(InitiatorName=name.upper()))
    assert found == again == replace(PLAIN, initiator_name=found.initiator_name)


CHAP_SPELLINGS = {
    "a method, then an algorithm": [[*NAMES, ("AuthMethod", "CHAP")], [("CHAP_A", "5")]],
    "method and algorithm at once": [[*NAMES, ("AuthMethod", "CHAP"), ("CHAP_A", "7")]],
    "names, a method, an algorithm": [NAMES, [("AuthMethod", "CHAP,None")], [("CHAP_A", "5,7")]],
    "lower case and blanks": [[*NAMES, ("AuthMethod", "None, chap")], [("CHAP_A", "99, 5")]],
    "empty requests between": [[*NAMES, ("AuthMethod", "CHAP")], [], [("CHAP_A", "0x5")], []],
    "operational keys": [[*NAMES, ("AuthMethod", "CHAP"), *KEYS], [("CHAP_A", "5")]],
}


@pytest.mark.parametrize("then", [OP, FULL])
@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("name", CHAP_SPELLINGS)
def test_each_spelling_of_chap(name: str, upper: bool, then: Stage) -> None:
    login = login_for(Directory(CREDENTIALS))
    challenge = None
    for pairs in CHAP_SPELLINGS[name]:
        received = exchange(login, request(SEC, None, pairs))
        assert received.status == 0, login.refusal
        if "CHAP_C" in dict(decode_text(received.data)):
            challenge = received
    assert challenge is not None
    proof = dict(chap_answer(CREDENTIALS, challenge))
    if upper:
        proof["CHAP_R"] = "0X" + proof["CHAP_R"][2:].upper()
    assert exchange(login, request(SEC, then, [*reversed(proof.items())])).transit
    if then is OP:
        # The method again where it is proved already.
        said = [pair for pair in CHAP_SPELLINGS[name][0] if pair[0] == "AuthMethod"]
        assert exchange(login, request(OP, FULL, said)).transit
    assert login.state is State.FULL_FEATURE


@pytest.mark.parametrize(
    "offers", [LIBISCSI, [*NAMES, *OPEN_ISCSI]], ids=["libiscsi", "open-iscsi"]
)
def test_a_discovery_session_is_answered_with_values(offers: Pairs) -> None:
    """Some initiators take `Irrelevant` for a failure, in whichever session."""
    pairs = [*DISCOVERY_NAMES, *(pair for pair in offers if pair[0] not in dict(NAMES))]
    pairs += [("TaskReporting", "RFC3720"), ("iSCSIProtocolLevel", "1")]
    said = dict(log_in([(OP, FULL, pairs)])[1])
    negotiated = set(dict(pairs)) - set(dict(NAMES)) - {"MaxRecvDataSegmentLength"}
    assert negotiated <= set(said)
    assert not {"Irrelevant", "Reject", "NotUnderstood"} & set(said.values())


def test_first_burst_without_unsolicited_data_is_a_number_too() -> None:
    offers = [("InitialR2T", "Yes"), ("ImmediateData", "No"), ("FirstBurstLength", "65536")]
    assert dict(log_in([(OP, FULL, [*NAMES, *offers])])[1])["FirstBurstLength"] == "65536"
