"""The rules of text negotiation, over the table in `keys` (RFC 7143, 6.2).

The answer to an offer is a value, or one of the reserved words:

    NotUnderstood   no such key (also X- keys: none is implemented)
    Irrelevant      the key means nothing in this session
    Reject          the offer is outside the key's range or list; the default stays in force

A key is negotiated once: a second offer is refused (6.3), as is a change of a declaration.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from scsi_snap.iscsi.errors import LoginRefused
from scsi_snap.iscsi.keys import KEYS, Key, Result, Sender, Use, ValueType
from scsi_snap.iscsi.status import LoginStatus
from scsi_snap.iscsi.text import Pairs, parse_number

NOT_UNDERSTOOD = "NotUnderstood"
IRRELEVANT = "Irrelevant"
REJECT = "Reject"
RESERVED_ANSWERS = frozenset((NOT_UNDERSTOOD, IRRELEVANT, REJECT))


def answer(key: Key, offered: str) -> str:
    """Our answer to an offer of a negotiated key: the result itself, or `Reject`.

    The offer's own bounds are the key's, not the session's: FirstBurstLength against
    MaxBurstLength is `Negotiation`'s concern.
    """
    match key.result:
        case Result.AND | Result.OR:
            return _boolean_answer(key, offered)
        case Result.MINIMUM | Result.MAXIMUM:
            return _number_answer(key, offered)
        case Result.CHOICE:
            ours = _ours(key).split(",")
            return next((value for value in offered.split(",") if value in ours), REJECT)
        case Result.OBSOLETE_NO:
            return "No"
        case Result.OBSOLETE_REJECT:
            return REJECT
        case Result.DECLARED | Result.AUTHENTICATION:
            raise AssertionError(f"{key.name} is not negotiated by value")


def _boolean_answer(key: Key, offered: str) -> str:
    if offered not in ("Yes", "No"):
        return REJECT
    theirs, ours = offered == "Yes", _ours(key) == "Yes"
    result = (theirs and ours) if key.result is Result.AND else (theirs or ours)
    return "Yes" if result else "No"


def _number_answer(key: Key, offered: str) -> str:
    theirs, ours = parse_number(offered), int(_ours(key))
    if theirs is None or not key.low <= theirs <= key.high:
        return REJECT
    return str(min(theirs, ours) if key.result is Result.MINIMUM else max(theirs, ours))


def _ours(key: Key) -> str:
    assert key.ours is not None, key.name
    return key.ours


def declared_value(key: Key, value: str) -> str:
    """A declaration in canonical form, or LoginRefused: a declaration has no answer to carry a
    Reject."""
    if key.type is not ValueType.NUMBER:
        return value
    number = parse_number(value)
    if number is None or not key.low <= number <= key.high:
        raise LoginRefused(
            LoginStatus.INITIATOR_ERROR,
            f"{key.name}={value[:40]} is not between {key.low} and {key.high}",
        )
    return str(number)


@dataclass(slots=True)
class Negotiation:
    """What one login has declared and agreed so far.

    `declared` is what the initiator stated, `agreed` the results in force by an answer of ours,
    `sent` the names of our own declarations.
    """

    discovery: bool = False
    declared: dict[str, str] = field(default_factory=dict)
    agreed: dict[str, str] = field(default_factory=dict)
    sent: set[str] = field(default_factory=set)
    _seen: dict[str, str] = field(default_factory=dict)

    def handle(self, offers: Pairs, stage: Use) -> Pairs:
        """Answers to the pairs of one request, in its order. CHAP keys and AuthMethod are not
        for this function. LoginRefused when a rule is broken that has no answer."""
        answers = {name: self._answer(name, value, stage) for name, value in offers}
        self._bound_first_burst(answers)
        self._drop_irrelevant_first_burst(answers)
        for name, value in answers.items():
            if value is not None and value not in RESERVED_ANSWERS:
                self.agreed[name] = value
        return [(name, value) for name, value in answers.items() if value is not None]

    def note(self, name: str, value: str) -> bool:
        """Remembers that `name` was sent. True when it is a harmless repetition."""
        if name not in self._seen:
            self._seen[name] = value
            return False
        key = KEYS.get(name)
        if key is not None and key.repeatable and self._seen[name] == value:
            return True
        raise LoginRefused(LoginStatus.INITIATOR_ERROR, f"{name} sent a second time")

    def value(self, name: str) -> str:
        """The value in force: agreed or declared, else the default."""
        default = KEYS[name].default
        found = self.agreed.get(name, self.declared.get(name, default))
        assert found is not None, f"{name} has no default"
        return found

    def number(self, name: str) -> int:
        """The value in force of a number."""
        return int(self.value(name))

    def flag(self, name: str) -> bool:
        """The value in force of a boolean."""
        return self.value(name) == "Yes"

    def _answer(self, name: str, value: str, stage: Use) -> str | None:
        if value in RESERVED_ANSWERS:
            # An initiator may say that it has no use for what we declare.
            if name in self.sent:
                return None
            raise LoginRefused(LoginStatus.INITIATOR_ERROR, f"{name}={value} answers no offer")
        repeated = self.note(name, value)
        key = KEYS.get(name)
        if key is None:
            return NOT_UNDERSTOOD
        self._check_place(key, stage)
        if key.declarative:
            if not repeated:
                self.declared[name] = declared_value(key, value)
            return None
        if self.discovery and key.irrelevant_in_discovery:
            return IRRELEVANT
        return answer(key, value)

    @staticmethod
    def _check_place(key: Key, stage: Use) -> None:
        if Sender.INITIATOR not in key.senders:
            raise LoginRefused(
                LoginStatus.INITIATOR_ERROR, f"{key.name} is for targets to send, not initiators"
            )
        if not key.use & stage:
            raise LoginRefused(
                LoginStatus.INITIATOR_ERROR, f"{key.name} has no place in the {stage.name} stage"
            )

    def _bound_first_burst(self, answers: dict[str, str | None]) -> None:
        """FirstBurstLength must not exceed MaxBurstLength (13.14)."""
        first = answers.get("FirstBurstLength")
        if first is None or first in RESERVED_ANSWERS:
            return
        max_burst = answers.get("MaxBurstLength")
        if max_burst is None or max_burst in RESERVED_ANSWERS:
            max_burst = self.value("MaxBurstLength")
        answers["FirstBurstLength"] = str(min(int(first), int(max_burst)))

    def _drop_irrelevant_first_burst(self, answers: dict[str, str | None]) -> None:
        """Without unsolicited data there is no first burst (13.14)."""
        if answers.get("FirstBurstLength") in (None, IRRELEVANT):
            return
        initial_r2t = answers.get("InitialR2T") or self.value("InitialR2T")
        immediate_data = answers.get("ImmediateData") or self.value("ImmediateData")
        if initial_r2t == "Yes" and immediate_data == "No":
            answers["FirstBurstLength"] = IRRELEVANT
