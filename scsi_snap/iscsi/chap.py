"""CHAP as an iSCSI target does it (RFC 1994; RFC 7143, 12.1.3), sans-IO.

Primer. Four messages, all as keys of the security stage:

    initiator  CHAP_A=5,7                            the algorithms it knows
    target     CHAP_A=7 CHAP_I=<id> CHAP_C=<bytes>   the one chosen, an identifier, a challenge
    initiator  CHAP_N=<user> CHAP_R=<digest>         digest of identifier, secret, challenge
               [CHAP_I=<id> CHAP_C=<bytes>]          mutual: now prove yourself
    target     [CHAP_N=<user> CHAP_R=<digest>]       digest with the target's own secret

Nothing secret crosses the wire, but an eavesdropper may guess the secret off line; hence the
lower bound on its length. An attacker may also try to have us answer our own challenge: a
challenge that comes back is refused, whichever connection it was given to, and so is one secret
for both directions. An identifier that comes back is let pass: it has 256 values, and honest
initiators draw ours by chance.
The target chooses among the algorithms that it is offered (RFC 7143, 12.1.3), and takes the
strongest: initiators list MD5 first out of habit, not because they trust it most.
The random source is passed in. Which check failed is never told to the initiator.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from scsi_snap.iscsi.errors import InvalidCredentials, LoginRefused
from scsi_snap.iscsi.limits import (
    CHAP_CHALLENGE_BYTES,
    MAX_CHAP_CHALLENGE_BYTES,
    MAX_CHAP_NAME_BYTES,
    MAX_CHAP_SECRET_BYTES,
    MIN_CHAP_SECRET_BYTES,
)
from scsi_snap.iscsi.status import LoginStatus
from scsi_snap.iscsi.text import Pairs, decode_binary, encode_binary, list_values, parse_number

ALGORITHMS: dict[int, str] = {8: "sha3_256", 7: "sha256", 5: "md5"}
"""IANA's "PPP Authentication Algorithms" to hashlib's names, the strongest first. SHA-1 (6) is left
out: a peer that knows it knows MD5 or SHA-256 too."""


@dataclass(frozen=True, slots=True)
class ChapCredentials:
    """Whom the initiator must prove to be and, for mutual CHAP, whom the target proves to be.

    Raises InvalidCredentials for names and secrets that RFC 7143, 12.1.3 refuses.
    """

    user: str
    secret: bytes
    mutual_user: str | None = None
    mutual_secret: bytes | None = None

    def __post_init__(self) -> None:
        _check_user(self.user)
        _check_secret(self.secret)
        if (self.mutual_user is None) != (self.mutual_secret is None):
            raise InvalidCredentials("mutual CHAP needs both a user and a secret")
        if self.mutual_user is not None and self.mutual_secret is not None:
            _check_user(self.mutual_user)
            _check_secret(self.mutual_secret)
            if hmac.compare_digest(self.secret, self.mutual_secret):
                raise InvalidCredentials("the two directions of CHAP must not share a secret")

    def __repr__(self) -> str:
        return f"ChapCredentials(user={self.user!r}, mutual_user={self.mutual_user!r})"


def _check_user(user: str) -> None:
    if not 1 <= len(user.encode()) <= MAX_CHAP_NAME_BYTES or "\0" in user:
        raise InvalidCredentials(f"a CHAP user has 1 to {MAX_CHAP_NAME_BYTES} bytes and no NUL")


def _check_secret(secret: bytes) -> None:
    if not MIN_CHAP_SECRET_BYTES <= len(secret) <= MAX_CHAP_SECRET_BYTES:
        raise InvalidCredentials(
            f"a CHAP secret has {MIN_CHAP_SECRET_BYTES} to {MAX_CHAP_SECRET_BYTES} bytes, "
            f"this one {len(secret)}"
        )


def response(algorithm: int, identifier: int, secret: bytes, challenge: bytes) -> bytes:
    """CHAP_R: the digest over identifier, secret and challenge (RFC 1994, 4.1)."""
    # MD5 is the protocol's own choice; where the platform forbids it for security, so do we.
    return hashlib.new(ALGORITHMS[algorithm], bytes([identifier]) + secret + challenge).digest()


class Challenges:
    """Our challenges of logins that are under way, over all connections of a controller. Bounded
    by the number of logins: each settles its own in the end."""

    def __init__(self) -> None:
        self._open: set[bytes] = set()

    def issue(self, challenge: bytes) -> None:
        self._open.add(challenge)

    def settle(self, challenge: bytes) -> None:
        self._open.discard(challenge)

    def __contains__(self, challenge: bytes) -> bool:
        return challenge in self._open

    def __len__(self) -> int:
        return len(self._open)


class _State(Enum):
    AWAIT_ALGORITHM = auto()
    AWAIT_RESPONSE = auto()
    DONE = auto()


class ChapTarget:
    """One authentication. `handle` takes the CHAP keys of one request and gives the answers;
    `close` when the login is over, however it went."""

    def __init__(
        self,
        credentials: ChapCredentials,
        random_bytes: Callable[[int], bytes],
        challenges: Challenges,
    ) -> None:
        self._credentials = credentials
        self._random_bytes = random_bytes
        self._challenges = challenges
        self._state = _State.AWAIT_ALGORITHM
        self._algorithm = 0
        self._identifier = 0
        self._challenge = b""

    @property
    def done(self) -> bool:
        """Whether the initiator has proved who it is."""
        return self._state is _State.DONE

    def close(self) -> None:
        """Our challenge may come back from now on."""
        self._challenges.settle(self._challenge)

    def handle(self, pairs: Pairs) -> Pairs:
        """LoginRefused (authentication failure) for anything but the next right message."""
        keys = dict(pairs)
        if not keys:
            return []
        if self._state is _State.AWAIT_ALGORITHM and keys.keys() == {"CHAP_A"}:
            return self._challenge_initiator(keys["CHAP_A"])
        if self._state is _State.AWAIT_RESPONSE:
            if keys.keys() == {"CHAP_N", "CHAP_R"}:
                self._verify(keys)
                return []
            if keys.keys() == {"CHAP_N", "CHAP_R", "CHAP_I", "CHAP_C"}:
                self._verify(keys)
                return self._prove(keys)
        raise _failure(f"unexpected CHAP keys {', '.join(sorted(keys))}")

    def _challenge_initiator(self, offered: str) -> Pairs:
        numbers = {parse_number(value) for value in list_values(offered)}
        chosen = next((number for number in ALGORITHMS if number in numbers), None)
        if chosen is None:
            raise _failure(f"no CHAP algorithm in common: CHAP_A={offered[:80]}")
        self._algorithm = chosen
        self._identifier = self._random_bytes(1)[0]
        self._challenge = self._random_bytes(CHAP_CHALLENGE_BYTES)
        self._challenges.issue(self._challenge)
        self._state = _State.AWAIT_RESPONSE
        return [
            ("CHAP_A", str(chosen)),
            ("CHAP_I", str(self._identifier)),
            ("CHAP_C", encode_binary(self._challenge)),
        ]

    def _verify(self, keys: dict[str, str]) -> None:
        credentials = self._credentials
        expected = response(self._algorithm, self._identifier, credentials.secret, self._challenge)
        received = decode_binary(keys["CHAP_R"])
        if received is None:
            raise _failure("CHAP_R is not a binary value")
        right_user = hmac.compare_digest(keys["CHAP_N"].encode(), credentials.user.encode())
        right_response = hmac.compare_digest(received, expected)
        if not (right_user and right_response):
            raise _failure("CHAP user or response is wrong")
        self._state = _State.DONE

    def _prove(self, keys: dict[str, str]) -> Pairs:
        credentials = self._credentials
        if credentials.mutual_user is None or credentials.mutual_secret is None:
            raise _failure("the initiator asks for mutual CHAP, which is not set up for it")
        identifier = parse_number(keys["CHAP_I"])
        challenge = decode_binary(keys["CHAP_C"])
        if identifier is None or identifier > 255:
            raise _failure("CHAP_I is not a number from 0 to 255")
        if not challenge or len(challenge) > MAX_CHAP_CHALLENGE_BYTES:
            raise _failure(f"CHAP_C has not 1 to {MAX_CHAP_CHALLENGE_BYTES} bytes")
        if challenge in self._challenges:
            raise _failure("the initiator reflects a challenge of ours")
        proof = response(self._algorithm, identifier, credentials.mutual_secret, challenge)
        return [("CHAP_N", credentials.mutual_user), ("CHAP_R", encode_binary(proof))]


def _failure(reason: str) -> LoginRefused:
    return LoginRefused(LoginStatus.AUTHENTICATION_FAILURE, reason)
