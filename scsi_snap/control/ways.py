"""What the kernel's target cannot do, whatever the verb: asked before anything is written.

Its names are those that rtslib takes; its CHAP settings take what begins with `NULL` as "none".
"""

from __future__ import annotations

import ipaddress
import re

from scsi_snap.control.views import Session
from scsi_snap.errors import InvalidArgument, Unsupported
from scsi_snap.inventory import addresses
from scsi_snap.inventory.exporters import Exporters
from scsi_snap.inventory.records import ChapRecord, TargetRecord
from scsi_snap.inventory.target_records import LIO, PORTAL, Via

_NAME = re.compile(r"iqn\.\d{4}-[01]\d\.[^ _]*\.[^ _]*|eui\.[0-9a-f]{16}|naa\.[125c-f][0-9a-f]{15}")
"""Of what is an iSCSI name in its canonical spelling."""

_NONE = "NULL"


def refuse_unusable(exporters: Exporters, via: Via) -> None:
    """Raises `Unsupported` with what is missing."""
    reason = exporters.obstacle(via)
    if reason is not None:
        raise Unsupported(
            f"the kernel's target cannot be used: {reason}",
            "start the daemon again when that is put right; --via portal needs neither root nor a"
            " kernel module",
        )


def check_name(via: Via, name: str) -> None:
    """Of a target, or of an initiator that it lists."""
    if via == LIO and not (name.isascii() and _NAME.fullmatch(name)):
        raise InvalidArgument(
            f"the kernel's target does not take the name {name}",
            "write a domain with a dot in it, like iqn.2026-11.org.example:disk, without blanks and"
            " '_' (naa.: 16 digits, the first of them 1, 2, 5 or c to f); --via portal takes it",
        )


def check_chap(via: Via, chap: ChapRecord | None) -> None:
    if via == LIO and chap is not None:
        texts = (chap.user, chap.secret, chap.mutual_user, chap.mutual_secret)
        if any(text.startswith(_NONE) for text in texts):
            raise InvalidArgument(
                f"to the kernel's target a user or secret that begins with {_NONE} is none",
                "choose another one",
            )


def check_address(via: Via, address: str) -> None:
    """Of a portal."""
    host, _ = addresses.parse_fixed(address)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if via == LIO:
            raise InvalidArgument(
                f"the kernel's target cannot listen on {address}",
                "name an IP address, like 192.0.2.1:3260",
            ) from None


def refuse_redirect(record: TargetRecord) -> None:
    if record.via == LIO:
        raise Unsupported(
            f"the kernel's target cannot redirect logins, and {record.name} is via {LIO}",
            f"only a target made by `scsi-snap target create --via {PORTAL}` can be redirected",
        )


def refuse_close(session: Session) -> None:
    if session.via == LIO:
        raise Unsupported(
            f"the kernel's target cannot close one session, and {session.id} is via {LIO}",
            f"log out on {session.initiator}, or let only others log in"
            f" (`scsi-snap target allow {session.target} ...`, `target deny`)",
        )


def refuse_other(record: TargetRecord, via: Via | None) -> None:
    """`via` was named for a target that is there."""
    if via not in (None, record.via):
        raise InvalidArgument(
            f"{record.name} is via {record.via}, not via {via}",
            "a target keeps its way: leave --via out, or make another target by"
            f" `scsi-snap target create --via {via} IQN`",
        )
