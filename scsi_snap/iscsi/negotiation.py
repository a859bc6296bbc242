"""The rules of text negotiation in every phase, over the table in `keys` (RFC 7143, 6.2).

The answer to an offer is a value, or one of the reserved words:

    NotUnderstood   no such key (also X- keys: none is implemented)
    Reject          the offer is outside the key's range or list, or the key has no place in this
                    phase; what was in force stays so

What is sent is right by the letter; what is taken may be spelled otherwise where it can mean one
thing only: `yes`, `none`, `CRC32C, None`, a segment length beyond what there is.

A key is negotiated once: a second offer in the same stage is refused (6.3), as is a changed one in
any. What was offered in one stage of a login may be offered again in the other, and has the same
answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from scsi_snap.iscsi.errors import LoginRefused
from scsi_snap.iscsi.keys import KEYS, Key, Result, Use, ValueType
from scsi_snap.iscsi.status import LoginStatus
from scsi_snap.iscsi.text import Pairs, list_values, parse_number

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
            ours = {value.casefold(): value for value in _ours(key).split(",")}
            known = (ours.get(value) for value in list_values(offered))
            return next((value for value in known if value is not None), REJECT)
        case Result.OBSOLETE_NO:
            return "No"
        case Result.OBSOLETE_REJECT:
            return REJECT
        case Result.DECLARED | Result.AUTHENTICATION:
            raise AssertionError(f"{key.name} is not negotiated by value")


def _boolean_answer(key: Key, offered: str) -> str:
    if offered.casefold() not in ("yes", "no"):
        return REJECT
    theirs, ours = offered.casefold() == "yes", _ours(key) == "Yes"
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
    Reject. One who can take more than there is can take all that there is."""
    if key.type is not ValueType.NUMBER:
        return value
    number = parse_number(value)
    if number is None or number < key.low:
        raise LoginRefused(
            LoginStatus.INITIATOR_ERROR,
            f"{key.name}={value[:40]} is not between {key.low} and {key.high}",
        )
    return str(min(number, key.high))


@dataclass(slots=True)
class Negotiation:
    """What one login, or one exchange in full-feature phase, has declared and agreed so far.

    `declared` is what the initiator stated, `agreed` the results in force by an answer of ours,
    `sent` the names of our own declarations.
    """

    declared: dict[str, str] = field(default_factory=dict)
    agreed: dict[str, str] = field(default_factory=dict)
    sent: set[str] = field(default_factory=set)
    _seen: dict[str, tuple[str, Use]] = field(default_factory=dict)

    def handle(self, offers: Pairs, phase: Use) -> Pairs:
        """Answers to the pairs of one request, in its order. What authenticates is not for this
        function: CHAP keys in the security stage, AuthMethod in a login. LoginRefused when a rule
        is broken that has no answer."""
        answers = {name: self._answer(name, value, phase) for name, value in offers}
        self._bound_first_burst(answers)
        for name, value in answers.items():
            if value is not None and value not in RESERVED_ANSWERS:
                self.agreed[name] = value
        return [(name, value) for name, value in answers.items() if value is not None]

    def note(self, name: str, value: str, phase: Use) -> bool:
        """Remembers that `name` was sent. True when it is a harmless repetition."""
        if name not in self._seen:
            self._seen[name] = (value, phase)
            return False
        before, when = self._seen[name]
        key = KEYS.get(name)
        may_repeat = when is not phase or (key is not None and key.repeatable)
        if may_repeat and before == value:
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

    def _answer(self, name: str, value: str, phase: Use) -> str | None:
        if value in RESERVED_ANSWERS:
            # An initiator may say that it has no use for what we declare.
            if name in self.sent:
                return None
            raise LoginRefused(LoginStatus.INITIATOR_ERROR, f"{name}={value} answers no offer")
        key = KEYS.get(name)
        if key is not None and not key.may_come_in(phase):
            return REJECT
        repeated = self.note(name, value, phase)
        if key is None:
            return NOT_UNDERSTOOD
        if key.declarative:
            if not repeated:
                self.declared[name] = declared_value(key, value)
            return None
        return answer(key, value)

    def _bound_first_burst(self, answers: dict[str, str | None]) -> None:
        """FirstBurstLength must not exceed MaxBurstLength (13.14)."""
        first = answers.get("FirstBurstLength")
        if first is None or first in RESERVED_ANSWERS:
            return
        max_burst = answers.get("MaxBurstLength")
        if max_burst is None or max_burst in RESERVED_ANSWERS:
            max_burst = self.value("MaxBurstLength")
        answers["FirstBurstLength"] = str(min(int(first), int(max_burst)))
