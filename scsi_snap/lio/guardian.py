"""A small process that outlives the daemon, so that nothing in the kernel hangs on a dead handler.

It waits for the daemon's end, whatever that was (its standard input ends). At once it frees what in
the kernel waits for a handler's answer. Initiators' commands wait in the rings meanwhile: a daemon
that comes back carries them out, and the guardian goes. Where none has come after `GRACE_S`, new
commands are answered BUSY and those in the rings end BUSY too: initiators try again for as long as
they are set to, processes can be killed, the machine can be shut down. A daemon that comes even
later takes that back.

Whether a daemon is there is told by a lock of the kernel module's directory in /sys, which is the
whole machine's as the rings are: a daemon holds it as long as it lives, from before it looks at a
ring. A guardian holds it while it resets rings, which a daemon that starts then waits for. So there
is one daemon at a time for the kernel's target, whatever its state directory.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from scsi_snap.lio.uio import UioTree

GRACE_S = 30.0
"""As long as Linux initiators wait for a command before they abort it."""

_LOOK_S = 0.5
_PATIENCE_S = 5.0
"""A guardian resets all rings of a machine in much less."""

Clock = Callable[[], float]
Sleep = Callable[[float], None]


def watch(tree: UioTree, now: Clock = time.monotonic, sleep: Sleep = time.sleep) -> bool:
    """From the daemon's end on. Whether it has reset the rings; if not, there is a daemon again."""
    tree.free_netlink()
    end = now() + GRACE_S
    while True:
        with _trying(tree) as mine:
            if not mine:
                return False
            if now() >= end:
                for device in tree.devices():
                    device.block()
                    device.reset_ring()
                return True
        sleep(_LOOK_S)


@contextmanager
def holding(
    tree: UioTree, now: Clock = time.monotonic, sleep: Sleep = time.sleep
) -> Iterator[bool]:
    """For a daemon: no guardian acts inside. False: another daemon is inside."""
    end = now() + _PATIENCE_S
    while True:
        with _trying(tree) as mine:
            if mine or now() >= end:
                yield mine
                return
        sleep(_LOOK_S / 10)


@contextmanager
def _trying(tree: UioTree) -> Iterator[bool]:
    """Whether the lock is ours inside."""
    descriptor = os.open(tree.module, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mine = True
    except BlockingIOError:
        mine = False
    try:
        yield mine
    finally:
        os.close(descriptor)


class Guardian:
    """Starts the process; it begins to act when this process ends, or at `release`."""

    def __init__(self, sys_directory: Path = Path("/sys")) -> None:
        package = Path(__file__).parents[2]
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(sys_directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={**os.environ, "PYTHONPATH": str(package)},
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def release(self) -> None:
        """The daemon ends by itself."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def dismiss(self) -> None:
        """Nothing is left to guard."""
        self._process.kill()
        self._process.wait()
        self.release()


def main(arguments: list[str]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A service manager may tell every process of the daemon to end: this one is about what
        # comes then.
        signal.signal(number, signal.SIG_IGN)
    # Nobody writes: what comes is the end.
    os.read(0, 1)
    watch(UioTree(Path(arguments[0])))


if __name__ == "__main__":
    main(sys.argv[1:])
