"""The ways in which a login ends without a session (RFC 7143, 11.13.5)."""

from __future__ import annotations

from dataclasses import dataclass

from scsi_snap.iscsi.directory import Redirect, spelled
from scsi_snap.iscsi.errors import LoginRefused
from scsi_snap.iscsi.status import LoginStatus


@dataclass(frozen=True, slots=True)
class RefusedLogin:
    """What an operator has to know of one. The names are those that the initiator gave, None where
    it had not come to that; `target` is None in a discovery session too. `host` is where it came
    from, without its port."""

    host: str
    initiator: str | None
    target: str | None
    status: LoginStatus
    reason: str

    def __str__(self) -> str:
        to = "discovery" if self.target is None else self.target
        who = "an initiator" if self.initiator is None else self.initiator
        text = f"{who} at {self.host} was refused {to}: {self.reason} ({self.status:04X}h)"
        return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def protocol_error(reason: str) -> LoginRefused:
    """The initiator's error, of no kind that has a status of its own."""
    return LoginRefused(LoginStatus.INITIATOR_ERROR, reason)


def unauthenticated(reason: str) -> LoginRefused:
    """It is not told which check failed."""
    return LoginRefused(LoginStatus.AUTHENTICATION_FAILURE, reason)


def no_session(tsih: int) -> LoginRefused:
    """For a TSIH that names no session between these ends."""
    return LoginRefused(
        LoginStatus.SESSION_DOES_NOT_EXIST, f"no session with TSIH {tsih} between these ends"
    )


def moved(redirect: Redirect) -> LoginRefused:
    """Sends the initiator on. The address has no portal group tag in a redirection (13.8)."""
    address = spelled(redirect.host, redirect.port)
    return LoginRefused(
        LoginStatus.TARGET_MOVED_PERMANENTLY
        if redirect.permanent
        else LoginStatus.TARGET_MOVED_TEMPORARILY,
        f"sent on to {address}",
        (("TargetAddress", address),),
    )
