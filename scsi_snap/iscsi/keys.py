"""The table of text keys: every fact about a login or text key, once (RFC 7143, 12 and 13).

Negotiation, discovery, the session parameters and docs/protocols/iscsi-keys.md all read `KEYS`.

Primer. A *declarative* key states a fact and gets no answer. A *negotiated* key is offered by
one side and answered by the other; the result function makes one result of the two values.
`ours` is what this target puts in: the limit of what the native session implements.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, Flag, auto


class ValueType(Enum):
    """The form of a value (RFC 7143, 6.1)."""

    TEXT = "text"
    NAME = "iSCSI name"
    BOOLEAN = "boolean"
    NUMBER = "number"
    LIST = "list of values"
    BINARY = "binary"


class Result(Enum):
    """How the result comes from the offer and our value."""

    DECLARED = "declared"
    AND = "AND"
    OR = "OR"
    MINIMUM = "minimum"
    MAXIMUM = "maximum"
    CHOICE = "first in the offer that we support"
    AUTHENTICATION = "by the authentication method"
    OBSOLETE_NO = "obsolete: No"
    OBSOLETE_REJECT = "obsolete: Reject"


class Use(Flag):
    """When a key may be sent unasked, as RFC 7143 abbreviates it (introduction of section 13)."""

    SECURITY = auto()
    OPERATIONAL = auto()
    FULL_FEATURE = auto()
    LEADING_ONLY = auto()
    """During the leading login only; every session here has one connection."""


class Sender(Flag):
    """Who may send a key unasked."""

    INITIATOR = auto()
    TARGET = auto()


LOGIN = Use.SECURITY | Use.OPERATIONAL
BOTH = Sender.INITIATOR | Sender.TARGET
INFINITE = 2**24 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One row.

    `default` and `ours` are values as they stand in text, `low` and `high` the inclusive range of
    a number. `repeatable`: libiscsi and others state it with each request of a login; the same
    value again is let pass.
    """

    name: str
    type: ValueType
    result: Result
    senders: Sender
    use: Use
    section: str
    default: str | None = None
    ours: str | None = None
    low: int = 0
    high: int = 0
    repeatable: bool = False

    @property
    def declarative(self) -> bool:
        """Whether it states a fact and gets no answer."""
        return self.result is Result.DECLARED

    def may_come_in(self, phase: Use) -> bool:
        """Whether an initiator may send it there. In a login both stages take the keys of either,
        as many an initiator states all that it has in each; CHAP has its own."""
        phases = self.use
        if phases & LOGIN and self.result is not Result.AUTHENTICATION:
            phases |= LOGIN
        return bool(phases & phase) and Sender.INITIATOR in self.senders


def _declared(
    name: str,
    value_type: ValueType,
    senders: Sender,
    use: Use,
    section: str,
    *,
    repeatable: bool = False,
    default: str | None = None,
) -> Key:
    return Key(
        name=name,
        type=value_type,
        result=Result.DECLARED,
        senders=senders,
        use=use,
        section=section,
        repeatable=repeatable,
        default=default,
    )


def _boolean(name: str, result: Result, section: str, *, default: str, ours: str) -> Key:
    return Key(
        name=name,
        type=ValueType.BOOLEAN,
        result=result,
        senders=BOTH,
        use=Use.OPERATIONAL | Use.LEADING_ONLY,
        section=section,
        default=default,
        ours=ours,
    )


def _number(
    name: str,
    result: Result,
    section: str,
    *,
    low: int,
    high: int,
    default: int,
    ours: int,
) -> Key:
    return Key(
        name=name,
        type=ValueType.NUMBER,
        result=result,
        senders=BOTH,
        use=Use.OPERATIONAL | Use.LEADING_ONLY,
        section=section,
        default=str(default),
        ours=str(ours),
        low=low,
        high=high,
    )


def _list(name: str, use: Use, section: str, *, default: str, ours: str) -> Key:
    return Key(
        name=name,
        type=ValueType.LIST,
        result=Result.CHOICE,
        senders=BOTH,
        use=use,
        section=section,
        default=default,
        ours=ours,
    )


def _chap(name: str, value_type: ValueType) -> Key:
    return Key(
        name=name,
        type=value_type,
        result=Result.AUTHENTICATION,
        senders=BOTH,
        use=Use.SECURITY,
        section="12.1.3",
    )


def _obsolete(name: str, result: Result) -> Key:
    return Key(
        name=name,
        type=ValueType.TEXT,
        result=result,
        senders=BOTH,
        use=Use.OPERATIONAL,
        section="13.25",
    )


_ROWS = (
    _list("AuthMethod", Use.SECURITY, "12", default="None", ours="CHAP,None"),
    _chap("CHAP_A", ValueType.LIST),
    _chap("CHAP_I", ValueType.NUMBER),
    _chap("CHAP_C", ValueType.BINARY),
    _chap("CHAP_N", ValueType.TEXT),
    _chap("CHAP_R", ValueType.BINARY),
    _list(
        "HeaderDigest",
        Use.OPERATIONAL,
        "13.1",
        default="None",
        ours="None,CRC32C",
    ),
    _list(
        "DataDigest",
        Use.OPERATIONAL,
        "13.1",
        default="None",
        ours="None,CRC32C",
    ),
    _number("MaxConnections", Result.MINIMUM, "13.2", low=1, high=65535, default=1, ours=1),
    _declared("SendTargets", ValueType.TEXT, Sender.INITIATOR, Use.FULL_FEATURE, "13.3"),
    _declared(
        "TargetName",
        ValueType.NAME,
        BOTH,
        LOGIN,
        "13.4",
        repeatable=True,
    ),
    _declared("InitiatorName", ValueType.NAME, Sender.INITIATOR, LOGIN, "13.5", repeatable=True),
    _declared("TargetAlias", ValueType.TEXT, Sender.TARGET, LOGIN | Use.FULL_FEATURE, "13.6"),
    _declared(
        "InitiatorAlias",
        ValueType.TEXT,
        Sender.INITIATOR,
        LOGIN | Use.FULL_FEATURE,
        "13.7",
        repeatable=True,
    ),
    _declared("TargetAddress", ValueType.TEXT, Sender.TARGET, LOGIN | Use.FULL_FEATURE, "13.8"),
    _declared("TargetPortalGroupTag", ValueType.NUMBER, Sender.TARGET, LOGIN, "13.9"),
    _boolean("InitialR2T", Result.OR, "13.10", default="Yes", ours="No"),
    _boolean("ImmediateData", Result.AND, "13.11", default="Yes", ours="Yes"),
    Key(
        name="MaxRecvDataSegmentLength",
        type=ValueType.NUMBER,
        result=Result.DECLARED,
        senders=BOTH,
        use=Use.OPERATIONAL | Use.FULL_FEATURE,
        section="13.12",
        default="8192",
        ours="262144",
        low=512,
        high=INFINITE,
    ),
    _number(
        "MaxBurstLength",
        Result.MINIMUM,
        "13.13",
        low=512,
        high=INFINITE,
        default=262144,
        ours=1048576,
    ),
    _number(
        "FirstBurstLength",
        Result.MINIMUM,
        "13.14",
        low=512,
        high=INFINITE,
        default=65536,
        ours=262144,
    ),
    _number(
        "DefaultTime2Wait",
        Result.MAXIMUM,
        "13.15",
        low=0,
        high=3600,
        default=2,
        ours=0,
    ),
    _number(
        "DefaultTime2Retain",
        Result.MINIMUM,
        "13.16",
        low=0,
        high=3600,
        default=20,
        ours=0,
    ),
    _number("MaxOutstandingR2T", Result.MINIMUM, "13.17", low=1, high=65535, default=1, ours=8),
    _boolean("DataPDUInOrder", Result.OR, "13.18", default="Yes", ours="Yes"),
    _boolean("DataSequenceInOrder", Result.OR, "13.19", default="Yes", ours="Yes"),
    _number(
        "ErrorRecoveryLevel",
        Result.MINIMUM,
        "13.20",
        low=0,
        high=2,
        default=0,
        ours=0,
    ),
    _declared(
        "SessionType",
        ValueType.TEXT,
        Sender.INITIATOR,
        LOGIN | Use.LEADING_ONLY,
        "13.21",
        repeatable=True,
        default="Normal",
    ),
    _list(
        "TaskReporting",
        Use.OPERATIONAL | Use.LEADING_ONLY,
        "13.23",
        default="RFC3720",
        ours="RFC3720",
    ),
    _number("iSCSIProtocolLevel", Result.MINIMUM, "13.24", low=0, high=31, default=1, ours=2),
    _obsolete("IFMarker", Result.OBSOLETE_NO),
    _obsolete("OFMarker", Result.OBSOLETE_NO),
    _obsolete("IFMarkInt", Result.OBSOLETE_REJECT),
    _obsolete("OFMarkInt", Result.OBSOLETE_REJECT),
    _declared(
        "X#NodeArchitecture",
        ValueType.TEXT,
        BOTH,
        LOGIN | Use.LEADING_ONLY,
        "13.26",
        repeatable=True,
    ),
)

KEYS: dict[str, Key] = {row.name: row for row in _ROWS}
"""By name, in the order of the RFC. Level 2 of iSCSIProtocolLevel is that of RFC 7144.

`DefaultTime2Wait` is ours=0 and `DefaultTime2Retain` ours=0 because at error recovery level 0
nothing is retained and a reconnect may come at once. IFMarker and OFMarker are answered `No`, which
13.25 allows in place of `Reject`: initiators older than RFC 7143 take a Reject for a failed
negotiation. `Irrelevant` is never answered, not in a discovery session either: 6.2 leaves that to
us, a value is as right, and some initiators take nothing else. `X-` keys (13.22) have no row:
NotUnderstood. X#NodeArchitecture is for people to read, and is not sent by us."""
