"""The ways in which a login ends without a session (RFC 7143, 11.13.5)."""

from __future__ import annotations

from scsi_snap.iscsi.directory import Redirect, spelled
from scsi_snap.iscsi.errors import LoginRefused
from scsi_snap.iscsi.status import LoginStatus


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
