"""CHAP: known vectors, both directions, and every way to get it wrong."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import strategies as st

from scsi_snap.iscsi.chap import ALGORITHMS, Challenges, ChapCredentials, ChapTarget, response
from scsi_snap.iscsi.errors import InvalidCredentials, LoginRefused
from scsi_snap.iscsi.status import LoginStatus
from scsi_snap.iscsi.text import Pairs, decode_binary, encode_binary
from tests.t7_iscsi.given import given
from tests.t7_iscsi.initiator import CREDENTIALS, MUTUAL, counting_bytes

CHALLENGE = counting_bytes(32)
IDENTIFIER = counting_bytes(1)[0]
THEIRS = b"challenge of the initiator"


def challenged(credentials: ChapCredentials = CREDENTIALS, offer: str = "5") -> ChapTarget:
    chap = ChapTarget(credentials, counting_bytes, Challenges())
    assert dict(chap.handle([("CHAP_A", offer)]))["CHAP_I"] == str(IDENTIFIER)
    return chap


def proof(algorithm: int = 5, user: str = "alice", secret: bytes = CREDENTIALS.secret) -> Pairs:
    digest = response(algorithm, IDENTIFIER, secret, CHALLENGE)
    return [("CHAP_N", user), ("CHAP_R", encode_binary(digest))]


def refused(chap: ChapTarget, pairs: Pairs) -> str:
    with pytest.raises(LoginRefused) as caught:
        chap.handle(pairs)
    assert caught.value.status is LoginStatus.AUTHENTICATION_FAILURE
    assert not chap.done
    return str(caught.value)


VECTORS = {
    5: "46e47770030e2b4e26a0db72a7efec00",
    7: "2dfa0526f4764864b7c3c5bc6596bcead3d8dbd984f4fc1d9f330299f0beced4",
    8: "9444877c4dff778ed2add0f102dcd561e11944e7e948ee1b89508451a9e680ad",
}
"""Identifier 1, secret `secret`, challenge `challenge`, by md5sum, sha256sum and openssl."""


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_vectors(algorithm: int) -> None:
    assert response(algorithm, 1, b"secret", b"challenge").hex() == VECTORS[algorithm]


@pytest.mark.parametrize(
    ("offer", "chosen"),
    [("5", 5), ("7,5", 7), ("5,7", 7), ("5,7,8", 8), ("6,7", 7), ("0x7", 7), ("99,5", 5)],
)
def test_the_strongest_algorithm_is_chosen(offer: str, chosen: int) -> None:
    chap = ChapTarget(CREDENTIALS, counting_bytes, Challenges())
    assert chap.handle([("CHAP_A", offer)]) == [
        ("CHAP_A", str(chosen)),
        ("CHAP_I", str(IDENTIFIER)),
        ("CHAP_C", encode_binary(CHALLENGE)),
    ]
    assert chap.handle(proof(chosen)) == []
    assert chap.done


@pytest.mark.parametrize("offer", ["6", "", "MD5", "5x", "-5"])
def test_no_algorithm_in_common(offer: str) -> None:
    assert "algorithm" in refused(
        ChapTarget(CREDENTIALS, counting_bytes, Challenges()), [("CHAP_A", offer)]
    )


def test_base64_is_read_too() -> None:
    digest = response(5, IDENTIFIER, CREDENTIALS.secret, CHALLENGE)
    encoded = "0b" + base64.b64encode(digest).decode()
    chap = challenged()
    chap.handle([("CHAP_N", "alice"), ("CHAP_R", encoded)])
    assert chap.done


@pytest.mark.parametrize(
    "pairs",
    [
        proof(user="mallory"),
        proof(user=""),
        proof(secret=b"not the right secret"),
        proof(algorithm=7),
        [("CHAP_N", "alice"), ("CHAP_R", "0x00")],
        [("CHAP_N", "alice"), ("CHAP_R", "0x")],
        [("CHAP_N", "alice"), ("CHAP_R", "none")],
        [("CHAP_N", "alice")],
        [("CHAP_R", "0x00")],
        [("CHAP_A", "5")],
        [*proof(), ("CHAP_I", "3")],
        [*proof(), ("CHAP_C", "0x1234")],
        [*proof(), ("CHAP_Z", "1")],
    ],
)
def test_a_wrong_answer_is_refused(pairs: Pairs) -> None:
    refused(challenged(), pairs)


def test_an_answer_before_the_question_is_refused() -> None:
    refused(ChapTarget(CREDENTIALS, counting_bytes, Challenges()), proof())


def test_nothing_more_after_the_end() -> None:
    chap = challenged()
    chap.handle(proof())
    assert chap.handle([]) == []
    with pytest.raises(LoginRefused):
        chap.handle(proof())


@pytest.mark.parametrize("identifier", [0, IDENTIFIER, 255])
def test_mutual(identifier: int) -> None:
    chap = challenged(MUTUAL, "7")
    answers = dict(
        chap.handle([*proof(7), ("CHAP_I", str(identifier)), ("CHAP_C", encode_binary(THEIRS))])
    )
    assert MUTUAL.mutual_secret is not None
    expected = hashlib.sha256(bytes([identifier]) + MUTUAL.mutual_secret + THEIRS).digest()
    assert answers["CHAP_N"] == "the disk"
    assert decode_binary(answers["CHAP_R"]) == expected


def test_a_challenge_of_another_connection_does_not_come_back_either() -> None:
    """Two logins at a time: what the one is asked is not answered for it in the other."""
    challenges = Challenges()
    other = ChapTarget(MUTUAL, lambda length_bytes: b"o" * length_bytes, challenges)
    theirs = dict(other.handle([("CHAP_A", "5")]))["CHAP_C"]

    def reflect() -> Pairs:
        chap = ChapTarget(MUTUAL, counting_bytes, challenges)
        chap.handle([("CHAP_A", "5")])
        try:
            return chap.handle([*proof(), ("CHAP_I", "1"), ("CHAP_C", theirs)])
        finally:
            chap.close()

    with pytest.raises(LoginRefused, match="reflects"):
        reflect()
    other.close()
    assert dict(reflect())["CHAP_N"] == "the disk"
    assert len(challenges) == 0


def test_mutual_is_the_initiators_choice() -> None:
    chap = challenged(MUTUAL)
    assert chap.handle(proof()) == []
    assert chap.done


@pytest.mark.parametrize(
    ("credentials", "identifier", "challenge", "complaint"),
    [
        (CREDENTIALS, "1", encode_binary(THEIRS), "not set up"),
        (MUTUAL, "1", encode_binary(CHALLENGE), "reflects"),
        (MUTUAL, "256", encode_binary(THEIRS), "CHAP_I"),
        (MUTUAL, "one", encode_binary(THEIRS), "CHAP_I"),
        (MUTUAL, "1", "0x", "CHAP_C"),
        (MUTUAL, "1", "0x" + "00" * 1025, "CHAP_C"),
    ],
)
def test_mutual_that_is_refused(
    credentials: ChapCredentials, identifier: str, challenge: str, complaint: str
) -> None:
    chap = challenged(credentials)
    with pytest.raises(LoginRefused, match=complaint) as caught:
        chap.handle([*proof(), ("CHAP_I", identifier), ("CHAP_C", challenge)])
    assert caught.value.status is LoginStatus.AUTHENTICATION_FAILURE


def test_the_target_proves_nothing_to_who_has_not_proved_himself() -> None:
    pairs = [*proof(user="mallory"), ("CHAP_I", "1"), ("CHAP_C", encode_binary(THEIRS))]
    refused(challenged(MUTUAL), pairs)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("alice", b"eleven byte"), "12 to 255"),
        (("alice", b"x" * 256), "12 to 255"),
        (("", b"twelve bytes!"), "CHAP user"),
        (("a\0b", b"twelve bytes!"), "CHAP user"),
        (("a" * 256, b"twelve bytes!"), "CHAP user"),
        (("alice", b"twelve bytes!", "disk", None), "both"),
        (("alice", b"twelve bytes!", None, b"another secret"), "both"),
        (("alice", b"twelve bytes!", "disk", b"twelve bytes!"), "share"),
        (("alice", b"twelve bytes!", "disk", b"short"), "12 to 255"),
    ],
)
def test_unfit_credentials(arguments: tuple[str, bytes], complaint: str) -> None:
    with pytest.raises(InvalidCredentials, match=complaint):
        ChapCredentials(*arguments)


def test_shortest_and_longest_secret() -> None:
    ChapCredentials("a", b"x" * 12)
    ChapCredentials("a" * 255, b"x" * 255)


def test_secrets_are_not_shown() -> None:
    assert "secret" not in repr(MUTUAL)
    assert "twelve" not in repr(MUTUAL)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["CHAP_A", "CHAP_N", "CHAP_R", "CHAP_I", "CHAP_C", "CHAP_X"]),
            st.text(max_size=12) | st.sampled_from(["5", "0x00", "0bAA==", "alice"]),
        ),
        max_size=5,
    ),
    st.booleans(),
)
def test_arbitrary_keys_are_refused_and_never_let_in(pairs: Pairs, begun: bool) -> None:
    chap = challenged(MUTUAL) if begun else ChapTarget(MUTUAL, counting_bytes, Challenges())
    try:
        chap.handle(pairs)
    except LoginRefused as refusal:
        assert refusal.status is LoginStatus.AUTHENTICATION_FAILURE
    assert not chap.done
