"""What login and discovery ask of the floors above: which targets there are, and for whom.

The rules themselves (access control lists, who has which secret) belong to the inventory; here
are only the questions. Names are asked and given in canonical form (`names`). Every
question is answered at once, from memory: a login never waits for it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from scsi_snap.iscsi.chap import ChapCredentials


@dataclass(frozen=True, slots=True)
class PortalAddress:
    """A network portal as TargetAddress names it: a numeric IPv4 or IPv6 address, or a host
    name, the TCP port, and the tag of its portal group."""

    host: str
    port: int
    portal_group_tag: int = 1

    @property
    def is_wildcard(self) -> bool:
        """Whether it stands for every address of the machine."""
        try:
            return ipaddress.ip_address(self.host).is_unspecified
        except ValueError:
            return False

    @property
    def is_loopback(self) -> bool:
        """Whether it is reached from this machine alone."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def endpoint(self) -> str:
        """ADDRESS:PORT, IPv6 in brackets."""
        return spelled(self.host, self.port)

    def __str__(self) -> str:
        return f"{self.endpoint},{self.portal_group_tag}"


def spelled(host: str, port: int) -> str:
    """ADDRESS:PORT as TargetAddress has it (RFC 7143, 13.8): IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def of_socket(address: tuple[Any, ...]) -> tuple[str, int]:
    """Host and port of a socket's address; what IPv4 it stands for where it is a mapped one."""
    host, port = address[:2]
    mapped = getattr(ipaddress.ip_address(host), "ipv4_mapped", None)
    return str(mapped or host), port


@dataclass(frozen=True, slots=True)
class Redirect:
    """Where a target's initiators are sent on to."""

    host: str
    port: int
    permanent: bool = False


@dataclass(frozen=True, slots=True)
class TargetDescription:
    """A target as an initiator sees it: in the portal groups `tags`, whose portals listen at
    `portals`. None named: discovery tells the address that the initiator has connected to."""

    name: str
    alias: str | None = None
    tags: tuple[int, ...] = (1,)
    portals: tuple[PortalAddress, ...] = ()
    redirect: Redirect | None = None

    def in_portal_group(self, tag: int) -> bool:
        """Whether it may be reached through a portal of the group `tag`."""
        return tag in self.tags


class TargetDirectory(Protocol):
    """The targets of this controller, and who may do what with them."""

    def find(self, target_name: str) -> TargetDescription | None:
        """The target of that name."""
        ...

    def may_log_in(self, initiator_name: str, target_name: str) -> bool:
        """Whether the target's access control lets that initiator in, once authenticated."""
        ...

    def visible_to(self, initiator_name: str) -> Iterable[TargetDescription]:
        """The targets that `initiator_name` may log in to."""
        ...

    def credentials(self, initiator_name: str, target_name: str | None) -> ChapCredentials | None:
        """What `initiator_name` must prove to reach a target, or (None) to hold a discovery
        session; None when nothing is asked."""
        ...


class SessionLookup(Protocol):
    """Who is logged in, as login needs to know it (RFC 7143, 6.3.1)."""

    def find(self, key: NexusKey) -> tuple[int, int] | None:
        """TSIH and CID of the session with these ends, if there is one."""
        ...


@dataclass(frozen=True, slots=True)
class NexusKey:
    """The two ends of a session: initiator port (name and ISID), target port (name and tag)."""

    initiator_name: str
    isid: bytes
    target_name: str
    target_portal_group_tag: int
