"""The kernel's target as the exporter needs it: few verbs on plain values.

`rtslib_target` is the one real implementation; tests have one in memory. No verb holds a rule: what
is wished and what is there are compared in `reconcile`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


class KernelRefused(Exception):
    """The kernel, or what speaks to it, did not do it; the text says why."""


@dataclass(frozen=True)
class Backstore:
    """A storage object of the plugin `user`. `serial`: what tools show of it, and what the kernel
    names its file of reservations by; initiators are told another one, by the handler."""

    name: str
    config: str
    size_bytes: int
    block_bytes: int
    serial: str


@dataclass(frozen=True)
class Chap:
    user: str
    secret: str = field(repr=False)
    mutual_user: str = ""
    mutual_secret: str = field(default="", repr=False)


@dataclass(frozen=True)
class Acl:
    """What one initiator that is listed may do. `chap` None: it need not prove anything."""

    chap: Chap | None = None
    luns: Mapping[int, str] = field(default_factory=dict)
    """By the number that it sees, the storage object."""


@dataclass(frozen=True)
class Group:
    """A target in one portal group. `open`: every initiator may log in and sees all of `luns`;
    otherwise those of `acls` alone may, and see what is theirs."""

    open: bool = True
    chap: Chap | None = None
    portals: frozenset[str] = frozenset()
    """ADDRESS:PORT."""
    luns: Mapping[int, str] = field(default_factory=dict)
    """Storage objects by number; PLUGIN/NAME, where they are none of ours."""
    acls: Mapping[str, Acl] = field(default_factory=dict)
    enabled: bool = True

    @property
    def authenticates(self) -> bool:
        return self.chap is not None or any(acl.chap is not None for acl in self.acls.values())


@dataclass(frozen=True)
class KernelSession:
    """`id` is the kernel's own; 0 where it does not tell."""

    target: str
    tag: int
    initiator: str
    id: int = 0
    address: str = ""
    counters: Mapping[str, int] = field(default_factory=dict)


class KernelTarget(Protocol):
    """Every verb may raise `KernelRefused`. What is made is there already, or removed is not there,
    is the caller's to know; a storage object or target that has gone is no error to remove."""

    def backstores(self) -> Mapping[str, str]:
        """The configuration of each storage object of the plugin `user` that is of ours."""

    def create_backstore(self, backstore: Backstore) -> None:
        """It exists when this returns; its handler may be told at any time before."""

    def remove_backstore(self, name: str) -> bool:
        """False, and nothing is done, where something still exports it."""

    def groups(self, target: str) -> Mapping[int, Group]:
        """By portal group tag; nothing where there is no such target."""

    def add_group(self, target: str, tag: int) -> None:
        """Makes the target too where it is not there. It takes no logins before `enable`."""

    def remove_group(self, target: str, tag: int) -> None:
        """Its sessions end."""

    def remove_target(self, target: str) -> None:
        """Of no group any more."""

    def set_access(self, target: str, tag: int, group: Group) -> None:
        """Who may log in and by which secret, as far as it is the whole group's."""

    def enable(self, target: str, tag: int) -> None: ...

    def add_portal(self, target: str, tag: int, address: str) -> None: ...
    def remove_portal(self, target: str, tag: int, address: str) -> None: ...

    def add_lun(self, target: str, tag: int, lun: int, backstore: str) -> None: ...
    def remove_lun(self, target: str, tag: int, lun: int) -> None:
        """And every number of an initiator that leads to it. Returns when its commands have
        ended."""

    def set_acl(self, target: str, tag: int, initiator: str, acl: Acl) -> None:
        """Lists the initiator; its numbers are not looked at. A session goes on."""

    def remove_acl(self, target: str, tag: int, initiator: str) -> None:
        """Its sessions end."""

    def map_lun(self, target: str, tag: int, initiator: str, number: int, lun: int) -> None:
        """Shows the group's LUN to that initiator."""

    def unmap_lun(self, target: str, tag: int, initiator: str, number: int) -> None: ...

    def unlisted_sessions(self, target: str, tag: int) -> frozenset[str]:
        """Initiators that are logged in without being listed."""

    def sessions(self, target: str) -> list[KernelSession]: ...

    def set_discovery(self, chap: Chap | None) -> None: ...

    def listens(self, address: str) -> bool:
        """Whether some target of the kernel has that portal."""
