"""What may fail on this floor.

    IscsiError                  has a stable `code`
    ├── InvalidName             "invalid-name"         an iSCSI name is malformed
    ├── InvalidCredentials      "invalid-credentials"  a CHAP secret or name is unfit for use
    └── ProtocolError           "protocol-error"       the peer broke the protocol
        └── LoginRefused        "login-refused"        a login ends with this status

Everything that a peer sends ends in a PDU, a `ProtocolError` or nothing; any other error out of
`pdu`, `framing`, `text`, `negotiation`, `chap`, `login` or `discovery` is a defect of ours.
"""

from __future__ import annotations

from scsi_snap.iscsi.status import LoginStatus


class IscsiError(Exception):
    """Root of the tree; `code` is stable and fit for programs."""

    code = "iscsi-error"


class InvalidName(IscsiError):
    """A malformed iSCSI name; the message says in what way."""

    code = "invalid-name"


class InvalidCredentials(IscsiError):
    """A CHAP user or secret that must not be used; the message says why."""

    code = "invalid-credentials"


class ProtocolError(IscsiError):
    """The peer broke the protocol."""

    code = "protocol-error"


class LoginRefused(ProtocolError):
    """A login that ends here, with the status that the initiator is told (RFC 7143, 11.13.5)."""

    code = "login-refused"

    def __init__(
        self, status: LoginStatus, reason: str, answer: tuple[tuple[str, str], ...] = ()
    ) -> None:
        """`answer`: keys of the response; a redirection says where to go."""
        super().__init__(reason)
        self.status = status
        self.answer = answer
