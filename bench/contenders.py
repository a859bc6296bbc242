"""The servers under test, each in a process of its own over a file of its own.

All listen on TCP at the loopback address, on free ports. A contender is started over a directory
(tmpfs or a disk) and removes what it made there. `SIZE_BYTES` of its unit have been written once
before anything is measured, so that no one pays for allocation.
"""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.daemon import Daemon

IQN = "iqn.2026-11.org.example:bench"
START_SECONDS = 20


class Contender:
    """A server that exports one unit. `iscsi`: (portal, target, LUN) where it speaks iSCSI."""

    name = ""
    iscsi: tuple[str, str, int] | None = None
    url = ""

    def __init__(self, directory: Path, size_bytes: int) -> None:
        self.directory = directory / self.name
        self.size_bytes = size_bytes
        self.pid = 0

    def start(self) -> None:
        """Makes the backing and starts the server; returns when it answers."""
        raise NotImplementedError

    def stop(self) -> None:
        """Ends the server; nothing where it does not run."""
        raise NotImplementedError

    def cpu_seconds(self) -> float:
        """Processor time, user and system, of all threads so far, ended ones too.

        The process's own clock (clock_getcpuclockid), which counts in nanoseconds where
        /proc/PID/stat counts in ticks.
        """
        return time.clock_gettime((~self.pid << 3) | 2)

    def _image(self) -> Path:
        self.directory.mkdir(parents=True)
        image = self.directory / "image"
        with image.open("wb") as file:
            file.truncate(self.size_bytes)
        return image


class ScsiSnap(Contender):
    """Our daemon's embedded portal: a volume of a raid0 pool."""

    members = 1

    def start(self) -> None:
        self.start_daemon()
        # Half as much again for labels, the catalog and the first extents of a store.
        share = self.size_bytes * 3 // 2 // self.members
        members = [f"{self.directory}/member{number}:{share}" for number in range(self.members)]
        self.daemon("pool", "create", "tank", "--level", "raid0", "--strip", "64KiB", *members)
        self.daemon("volume", "create", "tank/vol0", self.size_bytes)
        self.daemon("target", "create", IQN)
        self.daemon("lun", "map", IQN, 0, "tank/vol0")
        self.iscsi = (self.daemon.address, IQN, 0)
        self.url = self.daemon.url(IQN, 0)

    def make_daemon(self) -> Daemon:
        """The controller that serves the unit."""
        return Daemon(self.directory)

    def start_daemon(self) -> None:
        """A daemon that has nothing yet."""
        self.directory.mkdir(parents=True)
        self.daemon = self.make_daemon()
        self.daemon.start()
        self.pid = self.daemon.pid

    def stop(self) -> None:
        if self.pid:
            self.pid = 0
            self.daemon.__exit__()


class OneMember(ScsiSnap):
    """One file member: what tgt and nbdkit have."""

    name = "scsi-snap"


class FourMembers(ScsiSnap):
    """Four file members, for what the stripe set costs."""

    name = "scsi-snap x4"
    members = 4


class Tgt(Contender):
    """Debian's tgtd, an instance of our own beside one that may run already."""

    name = "tgt"

    def start(self) -> None:
        image = self._image()
        portal = f"127.0.0.1:{free_port()}"
        # The control port names a socket in /run/tgtd; a pid is nobody else's.
        self._control = str(os.getpid() % 32768)
        self._process = subprocess.Popen(
            ["tgtd", "-f", "--iscsi", f"portal={portal}", "-C", self._control],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(self.directory / "log").open("wb"),
        )
        self.pid = self._process.pid
        wait_until(lambda: self._adm("show", "sys").returncode == 0, "tgtd")
        self._must("new", "target", "--tid", "1", "-T", IQN)
        self._must("new", "logicalunit", "--tid", "1", "--lun", "1", "-b", str(image))
        self._must("bind", "target", "--tid", "1", "-I", "ALL")
        self.iscsi = (portal, IQN, 1)
        self.url = f"iscsi://{portal}/{IQN}/1"

    def make_thin(self) -> None:
        """Offers UNMAP, which tgt does not do unasked."""
        options = ["--tid", "1", "--lun", "1", "--params", "thin_provisioning=1"]
        self._must("update", "logicalunit", *options)

    def stop(self) -> None:
        if self.pid:
            self.pid = 0
            # tgtd does not heed SIGTERM while it has a target.
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            for leftover in Path("/run/tgtd").glob(f"socket.{self._control}*"):
                leftover.unlink(missing_ok=True)

    def _adm(self, operation: str, mode: str, *options: str) -> subprocess.CompletedProcess[str]:
        command = ["tgtadm", "-C", self._control, "--lld", "iscsi"]
        command += ["--op", operation, "--mode", mode, *options]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def _must(self, operation: str, mode: str, *options: str) -> None:
        answer = self._adm(operation, mode, *options)
        if answer.returncode != 0:
            raise RuntimeError(f"tgtadm {operation} {mode}: {answer.stdout}{answer.stderr}")


class Nbdkit(Contender):
    """nbdkit's file plugin: no SCSI, no snapshots, the least a block server does."""

    name = "nbdkit"

    def start(self) -> None:
        image = self._image()
        port = free_port()
        self._process = subprocess.Popen(
            ["nbdkit", "-f", "-i", "127.0.0.1", "-p", str(port), "file", str(image)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(self.directory / "log").open("wb"),
        )
        self.pid = self._process.pid
        self.url = f"nbd://127.0.0.1:{port}"
        wait_until(lambda: _answers(port), "nbdkit")

    def stop(self) -> None:
        if self.pid:
            self.pid = 0
            self._process.terminate()
            self._process.wait()


CONTENDERS: tuple[type[Contender], ...] = (OneMember, FourMembers, Tgt, Nbdkit)


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_until(answers: Callable[[], bool], what: str) -> None:
    """Asks until it answers, or raises."""
    deadline = time.monotonic() + START_SECONDS
    while not answers():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} does not start")
        time.sleep(0.05)


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
