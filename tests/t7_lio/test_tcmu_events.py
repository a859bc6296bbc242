"""Events of the kernel, by a netlink of our own: messages as the kernel's, over a socket pair."""

from __future__ import annotations

import errno
import queue
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from scsi_snap.lio.tcmu_events import Event, Listener, Messages

FAMILY, GROUP = 0x1C, 7
ADDED = Event("added", "uio3", "tcm-user/0/a/scsi-snap/tank/vol0", 5)
RESIZED = Event("reconfigured", "uio3", ADDED.name, 5, 1 << 40)
REMOVED = Event("removed", "uio3", ADDED.name, 5)


class Netlink:
    """The kernel's end."""

    def __init__(self) -> None:
        self.kernel, self.ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.kernel.settimeout(60)
        self.messages = Messages()
        self.kernel.send(self.family())

    def family(self, name: str = "config") -> bytes:
        group = _attribute(1, _attribute(1, name.encode() + b"\0") + _attribute(2, _u32(GROUP)))
        attributes = _attribute(1, struct.pack("=H", FAMILY)) + _attribute(7, group)
        body = struct.pack("=BBH", 1, 2, 0) + attributes
        return struct.pack("=IHHII", 16 + len(body), 16, 0, 0, 0) + body

    def tell(self, *events: Event) -> None:
        padded = [self.messages.encode_event(one, FAMILY) for one in events]
        self.kernel.send(b"".join(one.ljust((len(one) + 3) & ~3, b"\0") for one in padded))


class Heard:
    """A listener and what it has told."""

    def __init__(self, netlink: Netlink, ours: Any = None) -> None:
        self.told: queue.Queue[Event | str] = queue.Queue()
        self.answering = False
        self.failing = False
        made = ours or netlink.ours
        self.listener = Listener(
            self._handle, lambda: self.told.put("rescan"), lambda _: self.answering, lambda: made
        )
        assert b"TCM-USER\0" in netlink.kernel.recv(4096)
        self.listener.start()

    def _handle(self, event: Event) -> None:
        self.told.put(event)
        if self.failing:
            raise AssertionError("a bug")

    def next(self) -> Event | str:
        return self.told.get(timeout=60)


@pytest.fixture
def netlink() -> Iterator[Netlink]:
    made = Netlink()
    yield made
    made.kernel.close()


@pytest.fixture
def heard(netlink: Netlink) -> Iterator[Heard]:
    made = Heard(netlink)
    yield made
    made.listener.close()


def test_each_event_is_told_in_order(netlink: Netlink, heard: Heard) -> None:
    netlink.tell(ADDED, RESIZED)
    netlink.tell(REMOVED)
    assert [heard.next() for _ in range(3)] == [ADDED, RESIZED, REMOVED]


def test_what_is_none_of_ours_is_passed_over(netlink: Netlink, heard: Heard) -> None:
    netlink.kernel.send(b"\x10")
    netlink.kernel.send(b"\xff" * 64)
    netlink.kernel.send(netlink.messages.encode_event(ADDED, FAMILY + 1))
    netlink.kernel.send(netlink.messages.done(ADDED, FAMILY))
    netlink.kernel.send(netlink.messages.encode_event(ADDED, FAMILY)[:-24])
    netlink.tell(REMOVED)
    assert heard.next() == REMOVED


@pytest.mark.parametrize("event", [ADDED, RESIZED, REMOVED])
def test_the_kernel_is_answered_where_it_waits(
    netlink: Netlink, heard: Heard, event: Event
) -> None:
    heard.answering = True
    netlink.tell(event)
    answer = netlink.kernel.recv(4096)
    assert answer == netlink.messages.done(event, FAMILY)
    assert answer[16] == {"added": 4, "removed": 5, "reconfigured": 6}[event.kind]
    assert _u32(5) in answer and _u32(0) in answer


def test_a_bug_in_one_event_answers_it_and_does_not_stop_the_next(
    netlink: Netlink, heard: Heard
) -> None:
    heard.answering = heard.failing = True
    netlink.tell(ADDED, REMOVED)
    assert [heard.next(), heard.next()] == [ADDED, REMOVED]
    assert netlink.kernel.recv(4096) and netlink.kernel.recv(4096)


def test_lost_events_lead_to_a_look_at_every_device(netlink: Netlink) -> None:
    class Overrun:
        """Says once that messages were lost."""

        family = socket.AF_UNIX
        lost = False

        def recv(self, size: int) -> bytes:
            data = netlink.ours.recv(size)
            if self.lost:
                self.lost = False
                raise OSError(errno.ENOBUFS, "No buffer space available")
            return data

        def __getattr__(self, name: str) -> Any:
            return getattr(netlink.ours, name)

    ours = Overrun()
    heard = Heard(netlink, ours)
    ours.lost = True
    netlink.tell(ADDED)
    assert heard.next() == "rescan"
    netlink.tell(REMOVED)
    assert heard.next() == REMOVED
    heard.listener.close()


def test_it_ends_with_the_socket_and_at_close(netlink: Netlink) -> None:
    heard = Heard(netlink)
    netlink.kernel.close()
    heard.listener.close()


def test_a_kernel_without_the_family_is_told() -> None:
    netlink = Netlink()
    netlink.ours.recv(4096)
    netlink.kernel.send(netlink.family("another"))
    with pytest.raises(OSError, match="TCM-USER"):
        Heard(netlink)
    netlink.kernel.close()


def test_importing_it_leaves_the_package_whole() -> None:
    """Only a part is imported; who imports all of it finds all of it."""
    Messages()
    assert "pyroute2.iproute" not in sys.modules or "pyroute2" in sys.modules
    import pyroute2

    assert hasattr(pyroute2, "IPRoute")


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data.ljust((len(data) + 3) & ~3, b"\0")


def _u32(value: int) -> bytes:
    return struct.pack("=I", value)
