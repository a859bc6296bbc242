"""A fault that repeats itself does not fill the disk with its log."""

from __future__ import annotations

import errno
import logging
import os
import resource
import socket
import time
from contextlib import ExitStack
from pathlib import Path

from scsi_snap import limits
from scsi_snap.control.log_output import OncePerSecond
from tests.daemon import Daemon


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def passed(rule: OncePerSecond, text: str, name: str = "a") -> str | None:
    record = logging.LogRecord(name, logging.WARNING, "", 0, "%s", (text,), None)
    return record.getMessage() if rule.filter(record) else None


def test_the_same_line_is_logged_once_in_a_second() -> None:
    clock = Clock()
    rule = OncePerSecond(clock)
    assert [passed(rule, "x") for _ in range(1000)] == ["x"] + [None] * 999
    assert passed(rule, "y") == "y" and passed(rule, "x", "b") == "x"
    clock.now_s += 1
    assert passed(rule, "x") == "x (999 more since the last)"
    assert passed(rule, "x") is None
    clock.now_s += 1.5
    assert passed(rule, "x") == "x (1 more since the last)"


def test_memory_is_bounded() -> None:
    rule = OncePerSecond(Clock())
    for number in range(10 * limits.LOG_MESSAGES_KEPT):
        assert passed(rule, str(number)) == str(number)
    assert len(rule._last) == limits.LOG_MESSAGES_KEPT


def test_running_out_of_descriptors_takes_a_line_a_second(daemon: Daemon) -> None:
    """And passes: who connected meanwhile is answered then."""
    daemon("status")
    kept = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    used = len(list(Path(f"/proc/{daemon.pid}/fd").iterdir()))
    before = daemon.log_path.stat().st_size
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (used, kept[1]))
    with ExitStack() as held:
        host, port = daemon.address.split(":")
        for _ in range(8):
            control = held.enter_context(socket.socket(socket.AF_UNIX))
            control.connect(str(daemon.socket))
            held.enter_context(socket.create_connection((host, int(port))))
        # Logged when the loop has turned once.
        end_s = time.monotonic() + 60
        while os.strerror(errno.EMFILE) not in daemon.log_path.read_text()[before:]:
            assert time.monotonic() < end_s, "nothing was said of it"
            time.sleep(0.02)
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, kept)
    daemon("status")
    said = daemon.log_path.read_text()[before:]
    assert "Traceback" not in said and len(said.splitlines()) < 40
