"""Addresses as users type them, `ADDRESS[:PORT]`, in one canonical spelling."""

from __future__ import annotations

import ipaddress
import re

from scsi_snap.errors import InvalidArgument
from scsi_snap.iscsi.directory import PortalAddress, spelled

ANY_ADDRESS = "0.0.0.0"
DEFAULT_PORT = 3260
"""iSCSI's (RFC 7143, 13.8)."""
PORT_MAX = 0xFFFF

_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


def parse(text: str) -> tuple[str, int]:
    """`127.0.0.1:3260`, `[::1]:3260`, `host.example:3260` or `:3260` (every IPv4 address); without
    a port the default one, and then IPv6 needs no brackets: `127.0.0.1`, `::1`, `host.example`."""
    if _is_ipv6(text):
        _refuse_ambiguous(text)
        return _host(text, text, numeric=True), DEFAULT_PORT
    host, colon, port = text.rpartition(":")
    if text.endswith("]") or (text and not colon):
        host, port = text, str(DEFAULT_PORT)
    if not port.isascii() or not port.isdigit() or int(port[:6]) > PORT_MAX:
        raise InvalidArgument(f"{text!r} is not an address", "write ADDRESS:PORT")
    if host.startswith("[") and host.endswith("]"):
        return _host(host[1:-1], text, numeric=True), int(port)
    if ":" in host:
        raise InvalidArgument(
            f"{text!r} is not an address", "write IPv6 in brackets, like [::1]:3260"
        )
    return _host(host or ANY_ADDRESS, text, numeric=False), int(port)


def is_wildcard(host: str) -> bool:
    """Whether it stands for every address of the machine."""
    return PortalAddress(host, DEFAULT_PORT).is_wildcard


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _refuse_ambiguous(text: str) -> None:
    """`::1:3260` is an address as a whole, and may have been meant as one with a port."""
    host, _, port = text.rpartition(":")
    if port.isdigit() and _is_ipv6(host):
        raise InvalidArgument(
            f"{text!r} may be an address with a port or without",
            f"write IPv6 in brackets: [{host}]:{port}, or [{text}]:{DEFAULT_PORT}",
        )


def parse_fixed(text: str) -> tuple[str, int]:
    """The same with a port of its own: what is on record must be found again."""
    host, port = parse(text)
    if port == 0:
        raise InvalidArgument(
            f"{text!r} has no port",
            "name one, like 3260; only `daemon --listen` takes whichever is free",
        )
    return host, port


def canonical(text: str) -> str:
    """`parse_fixed`, spelled again."""
    return spelled(*parse_fixed(text))


def _host(host: str, text: str, *, numeric: bool) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        if numeric or not _HOST_NAME.fullmatch(host) or host.replace(".", "").isdigit():
            raise InvalidArgument(
                f"{text!r} is not an address", "write ADDRESS:PORT, like 192.0.2.1:3260"
            ) from None
        return host.lower()
