"""A small process that outlives the daemon, so that nothing in the kernel hangs on a dead handler.

It waits for the daemon's end, whatever that was (its standard input ends). At once it frees what in
the kernel waits for a handler's answer. Initiators' commands wait in the rings meanwhile: a daemon
that comes back carries them out, and the guardian goes. Where none has come after `GRACE_S`, new
commands are answered BUSY and those in the rings end BUSY too: initiators try again for as long as
they are set to, processes can be killed, the machine can be shut down. A daemon that comes even
later takes that back.

Whether a daemon is there is told by `guardian.lock` in its state directory, which a daemon holds as
long as it lives, from before it looks at a ring. A guardian holds it while it resets rings, which a
daemon that starts then waits for.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import IO

from scsi_snap.lio.uio import UioTree

GRACE_S = 30.0
"""As long as Linux initiators wait for a command before they abort it."""

_LOOK_S = 0.5
_LOCK = "guardian.lock"


def watch(
    state_directory: Path,
    tree: UioTree,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """From the daemon's end on. Whether it has reset the rings; if not, there is a daemon again."""
    tree.free_netlink()
    end = now() + GRACE_S
    while True:
        lock = _locked(state_directory, fcntl.LOCK_NB)
        if lock is None:
            return False
        with closing(os.fdopen(lock)):
            if now() >= end:
                for device in tree.devices():
                    device.block()
                    device.reset_ring()
                return True
        sleep(_LOOK_S)


def hold_off(state_directory: Path) -> IO[str]:
    """For a daemon: no guardian acts until what is returned is closed. Waits for one that does."""
    lock = _locked(state_directory, 0)
    assert lock is not None
    return os.fdopen(lock)


def _locked(state_directory: Path, how: int) -> int | None:
    """None: somebody else has the lock."""
    lock = os.open(state_directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | how)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


class Guardian:
    """Starts the process; it begins to act when this process ends, or at `release`."""

    def __init__(self, state_directory: Path) -> None:
        package = Path(__file__).parents[2]
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(state_directory)],
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
    watch(Path(arguments[0]), UioTree())


if __name__ == "__main__":
    main(sys.argv[1:])
