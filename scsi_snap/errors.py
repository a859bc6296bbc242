"""What a verb of the control plane may fail with.

    ScsiSnapError
        InvalidArgument     invalid-argument    an argument is wrong; the message names it
        NotFound            not-found           no thing of that name
        Exists              exists              a thing of that name is there, and is another one
        Busy                busy                something still uses it; the message says what
        LimitReached        limit-reached       a bound of `limits` would be passed
        NoSpace             no-space            the pool has no room
        StoreFull           store-full          the exception store is full (policy fail-write)
        MemberRefused       member-refused      a member cannot be used; the message says why
        PoolUnavailable     pool-unavailable    too few members, or none can be trusted
        Damaged             damaged             what is on disk is damaged
        IoFailed            io-error            a read, write or flush failed
        ReadOnly            read-only           the device may not be written
        NotPermitted        not-permitted       the operating system forbids it to this user
        SnapshotInvalid     snapshot-invalid    the snapshot was given up
        OutsideSnapshot     outside-snapshot    the range is not part of the snapshot
        Closed              closed              the device was closed or deleted
        StateDamaged        state-damaged       the controller's own catalog cannot be trusted
        StateLocked         state-locked        another daemon uses the state directory
        DaemonUnreachable   daemon-unreachable  nobody answers on the control socket
        Unsupported         unsupported         it cannot be done here, or in that way
        Refused             refused             the request is not one that the API serves
        InternalError       internal-error      a broken invariant, seen from outside

`code` is stable: scripts, HTTP statuses and exit codes hang on it. `message` says what is wrong,
`hint` what to do next (empty where there is nothing to say). SCSI failures are none of these:
they are completions with sense data.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ScsiSnapError(Exception):
    """A verb failed; nothing was changed unless the message says so."""

    code = "internal-error"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InvalidArgument(ScsiSnapError):
    code = "invalid-argument"


class NotFound(ScsiSnapError):
    code = "not-found"

    @classmethod
    def named(cls, kind: str, name: str, existing: Iterable[str], how_to_list: str) -> NotFound:
        """No `kind` is called `name`; the hint offers the nearest of `existing`."""
        near = difflib.get_close_matches(name, sorted(existing), n=1, cutoff=0.6)
        hint = f"did you mean {near[0]!r}?" if near else f"`{how_to_list}` shows what there is"
        return cls(f"no {kind} named {name!r}", hint)


class Exists(ScsiSnapError):
    code = "exists"


class Busy(ScsiSnapError):
    code = "busy"


class LimitReached(ScsiSnapError):
    code = "limit-reached"


class NoSpace(ScsiSnapError):
    code = "no-space"


class StoreFull(ScsiSnapError):
    code = "store-full"


class MemberRefused(ScsiSnapError):
    code = "member-refused"


class PoolUnavailable(ScsiSnapError):
    code = "pool-unavailable"


class Damaged(ScsiSnapError):
    code = "damaged"


class IoFailed(ScsiSnapError):
    code = "io-error"


class ReadOnly(ScsiSnapError):
    code = "read-only"


class NotPermitted(ScsiSnapError):
    code = "not-permitted"


class SnapshotInvalid(ScsiSnapError):
    code = "snapshot-invalid"


class OutsideSnapshot(ScsiSnapError):
    code = "outside-snapshot"


class Closed(ScsiSnapError):
    code = "closed"


class StateDamaged(ScsiSnapError):
    code = "state-damaged"


class StateLocked(ScsiSnapError):
    code = "state-locked"


class DaemonUnreachable(ScsiSnapError):
    code = "daemon-unreachable"


class Unsupported(ScsiSnapError):
    code = "unsupported"


class Refused(ScsiSnapError):
    code = "refused"


class InternalError(ScsiSnapError):
    code = "internal-error"


BY_CODE: dict[str, type[ScsiSnapError]] = {
    kind.code: kind for kind in ScsiSnapError.__subclasses__()
}


def error_of(code: str, message: str, hint: str = "") -> ScsiSnapError:
    """The error that `code` stands for; a code that this version does not know is internal."""
    return BY_CODE.get(code, InternalError)(message, hint)
