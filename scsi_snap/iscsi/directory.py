"""What login and discovery ask of the floors above: which targets there are, and for whom.

The rules themselves (access control lists, who has which secret) belong to the inventory; here
are only the questions. Names are asked and given in canonical form (`names.normalise`). Every
question is answered at once, from memory: a login never waits for it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

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

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port},{self.portal_group_tag}"


@dataclass(frozen=True, slots=True)
class TargetDescription:
    """A target as an initiator sees it. No `portals`: it is reached through every portal of this
    controller, and discovery names the address that the initiator has connected to."""

    name: str
    alias: str | None = None
    portals: tuple[PortalAddress, ...] = ()

    def in_portal_group(self, tag: int) -> bool:
        """Whether it may be reached through a portal of the group `tag`."""
        return not self.portals or any(portal.portal_group_tag == tag for portal in self.portals)


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
