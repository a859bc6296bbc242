"""What the kernel says of TCMU devices: generic netlink family `TCM-USER`, group `config`.

A primer. The kernel sends ADDED, REMOVED and RECONFIG with attributes: the device's name, the
number N of its /dev/uioN, one of its own, and for RECONFIG the one thing that changed. Where some
handler has promised to answer, the kernel waits for one of ADDED_DONE, REMOVED_DONE, RECONFIG_DONE
with the device's own number and a status, and whoever configures hangs, not killable, until it
comes. Nobody of ours promises; but a promise is the whole kernel's, so what is expected is
answered, GOOD: what we cannot serve waits or is told to the operator, and is no reason to refuse a
device.

Messages are encoded and decoded by pyroute2; the socket is our own, so that the end of the reader
and messages that were lost (`ENOBUFS`) are seen at once.
"""

from __future__ import annotations

import errno
import importlib
import importlib.util
import logging
import select
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

_log = logging.getLogger("scsi_snap.lio")

FAMILY = "TCM-USER"
GROUP = "config"

_NETLINK_GENERIC = 16
_SOL_NETLINK = 270
_ADD_MEMBERSHIP = 1
_CONTROL_FAMILY = 16
_GET_FAMILY = 3
_REQUEST = 1
_VERSION = 2
_DONE = 3
"""The answer to an event has its command plus this."""
_RECEIVE_BYTES = 65536
_SOCKET_BUFFER_BYTES = 1 << 20
"""An event has about 100 bytes: some thousand devices that come at once."""

Kind = Literal["added", "removed", "reconfigured"]
_KINDS: dict[int, Kind] = {1: "added", 2: "removed", 3: "reconfigured"}


@dataclass(frozen=True)
class Event:
    """`uio`: of /sys/class/uio; `name`: what is in its file there. `size_bytes`: where that is what
    changed."""

    kind: Kind
    uio: str
    name: str
    device_id: int
    size_bytes: int | None = None


class Messages:
    """The family's messages, by pyroute2. Of a package that takes seconds to import as a whole,
    only what encodes is."""

    def __init__(self) -> None:
        netlink = _netlink()
        names = (
            ("UNSPEC", "none"),
            ("DEVICE", "asciiz"),
            ("MINOR", "uint32"),
            ("PAD", "none"),
            ("DEV_CFG", "asciiz"),
            ("DEV_SIZE", "uint64"),
            ("WRITECACHE", "uint8"),
            ("CMD_STATUS", "int32"),
            ("DEVICE_ID", "uint32"),
            ("SUPP_KERN_CMD_REPLY", "uint8"),
        )
        self._tcmu = type(
            "tcmumsg",
            (netlink.genlmsg,),
            {"nla_map": tuple((f"TCMU_ATTR_{name}", kind) for name, kind in names)},
        )
        self._control = netlink.ctrlmsg

    def which_family(self) -> bytes:
        """Asks for the numbers of family and group."""
        message = self._control()
        message["cmd"], message["version"] = _GET_FAMILY, 1
        message["attrs"] = [("CTRL_ATTR_FAMILY_NAME", FAMILY)]
        return _encoded(message, _CONTROL_FAMILY)

    def numbers(self, data: bytes) -> tuple[int, int] | None:
        """What that was answered with; None: the kernel has no such family."""
        message = self._control(data)
        message.decode()
        family = message.get_attr("CTRL_ATTR_FAMILY_ID")
        for group in message.get_attr("CTRL_ATTR_MCAST_GROUPS") or []:
            if family and group.get_attr("CTRL_ATTR_MCAST_GRP_NAME") == GROUP:
                return family, group.get_attr("CTRL_ATTR_MCAST_GRP_ID")
        return None

    def event(self, data: bytes) -> Event | None:
        """None for what is none of the three."""
        message = self._tcmu(data)
        message.decode()
        kind, name = _KINDS.get(message["cmd"]), message.get_attr("TCMU_ATTR_DEVICE")
        minor, number, size = (
            message.get_attr(f"TCMU_ATTR_{key}") for key in ("MINOR", "DEVICE_ID", "DEV_SIZE")
        )
        if kind is None or not isinstance(name, str) or not isinstance(minor, int):
            return None
        size_bytes = size if isinstance(size, int) else None
        return Event(kind, f"uio{minor}", name, number or 0, size_bytes)

    def encode_event(self, event: Event, family: int) -> bytes:
        """As the kernel would."""
        command = next(number for number, kind in _KINDS.items() if kind == event.kind)
        attributes: list[tuple[str, object]] = [
            ("TCMU_ATTR_DEVICE", event.name),
            ("TCMU_ATTR_MINOR", int(event.uio.removeprefix("uio"))),
            ("TCMU_ATTR_DEVICE_ID", event.device_id),
        ]
        if event.size_bytes is not None:
            attributes.append(("TCMU_ATTR_DEV_SIZE", event.size_bytes))
        return self._message(command, attributes, family)

    def done(self, event: Event, family: int) -> bytes:
        """Answers an event."""
        command = next(number for number, kind in _KINDS.items() if kind == event.kind)
        attributes: list[tuple[str, object]] = [
            ("TCMU_ATTR_CMD_STATUS", 0),
            ("TCMU_ATTR_DEVICE_ID", event.device_id),
        ]
        return self._message(command + _DONE, attributes, family)

    def _message(self, command: int, attributes: list[tuple[str, object]], family: int) -> bytes:
        message = self._tcmu()
        message["cmd"], message["version"] = command, _VERSION
        message["attrs"] = attributes
        return _encoded(message, family)


class Listener:
    """Calls back from a thread of its own until `close`.

    `rescan()` is called where events were lost. `answer(event)`: whether the kernel waits for an
    answer; asked before `handle(event)`, since a device that is removed is not there after.
    """

    def __init__(
        self,
        handle: Callable[[Event], None],
        rescan: Callable[[], None],
        answer: Callable[[Event], bool],
        make_socket: Callable[[], socket.socket] | None = None,
    ) -> None:
        self._handle = handle
        self._rescan = rescan
        self._answer = answer
        self._messages = Messages()
        self._socket = (make_socket or _netlink_socket)()
        self._wake, self._woken = socket.socketpair()
        self._thread: threading.Thread | None = None
        try:
            self._family = self._join()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="tcmu-events", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Returns when the thread has ended; once is enough."""
        self._wake.close()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._woken.close()
        self._socket.close()

    def _join(self) -> int:
        """Joins the group: events of now on come."""
        self._socket.send(self._messages.which_family())
        numbers = self._messages.numbers(self._socket.recv(_RECEIVE_BYTES))
        if numbers is None:
            raise OSError(errno.ENOENT, f"the kernel has no netlink family {FAMILY}")
        family, group = numbers
        if self._socket.family == socket.AF_NETLINK:
            self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
        return family

    def _run(self) -> None:
        """Ends when `close` hangs up, or with the socket."""
        while True:
            ready, _, _ = select.select([self._socket, self._woken], [], [])
            if self._woken in ready:
                return
            try:
                data = self._socket.recv(_RECEIVE_BYTES)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    _log.exception("events of the kernel's target cannot be read any more")
                    return
                _log.warning("events of the kernel's target were lost: looking at every device")
                self._rescan()
                continue
            if not data:
                return
            for one in _messages_in(data):
                self._take(one)

    def _take(self, data: bytes) -> None:
        if int.from_bytes(data[4:6], sys.byteorder) != self._family:
            return
        event = self._messages.event(data)
        if event is None:
            return
        answer = self._answer(event)
        try:
            self._handle(event)
        except Exception:  # noqa: BLE001
            # The next event must find its reader; the device is tried again now and then.
            _log.exception("%s %s", event.uio, event.kind)
        finally:
            if answer:
                self._socket.send(self._messages.done(event, self._family))


def _messages_in(data: bytes) -> Iterator[bytes]:
    """Each message begins with its length; the next begins at a multiple of four."""
    while len(data) >= 16:
        length = int.from_bytes(data[:4], sys.byteorder)
        if not 16 <= length <= len(data):
            return
        yield data[:length]
        data = data[(length + 3) & ~3 :]


def _encoded(message: Any, family: int) -> bytes:
    message["header"]["type"], message["header"]["flags"] = family, _REQUEST
    message.encode()
    return bytes(message.data)


def _netlink_socket() -> socket.socket:
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_GENERIC)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BUFFER_BYTES)
    made.bind((0, 0))
    return made


@cache
def _netlink() -> Any:
    """`pyroute2.netlink` without what `pyroute2` imports beside it, which takes ten times as long,
    half a minute on a slow machine: its parent is not run, and not left behind."""
    if "pyroute2" in sys.modules:
        return importlib.import_module("pyroute2.netlink")
    spec = importlib.util.find_spec("pyroute2")
    if spec is None:
        raise ModuleNotFoundError("No module named 'pyroute2'", name="pyroute2")
    sys.modules["pyroute2"] = importlib.util.module_from_spec(spec)
    try:
        return importlib.import_module("pyroute2.netlink")
    finally:
        del sys.modules["pyroute2"]
