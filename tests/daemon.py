"""A controller as a user runs it: `scsi-snap daemon` in a process of its own, and the CLI.

The CLI's verbs run in the caller's process: to start Python for each takes longer than they do.

Everything lives in one directory; portals take free ports of the loopback address and keep those
they got over restarts, so that an initiator finds them again.
"""

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

from click.testing import CliRunner, Result

from scsi_snap.cli.main import cli

READY_SECONDS = 60
STOP_SECONDS = 60


class VerbFailedError(Exception):
    """A CLI verb ended with something other than 0; the text has all that it said."""


class Daemon:
    """`with Daemon(directory) as daemon:` runs it and stops it cleanly. The kernel's target is left
    alone, unless the options say otherwise."""

    tree: Path | None = None
    """The checkout to run it from; this one where none is named."""

    def __init__(self, directory: Path, *listen: str, options: tuple[str, ...] = ()) -> None:
        self.directory = directory
        self.state = directory / "state"
        # A Unix socket's path has at most 107 bytes; test directories have long names.
        self._runtime = Path(tempfile.mkdtemp(prefix="scsi-snap-"))
        self.socket = self._runtime / "control.sock"
        self._options = options
        self.addresses = list(listen or ["127.0.0.1:0"])
        self.log_path = directory / "daemon.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            self.kill()
            shutil.rmtree(self._runtime, ignore_errors=True)

    @property
    def pid(self) -> int:
        assert self._process is not None, "the daemon does not run"
        return self._process.pid

    def start(self) -> None:
        """Starts it and waits for the line that says it is ready."""
        assert self._process is None, "the daemon runs already"
        arguments: list[object] = ["--state", self.state, "--socket", self.socket]
        arguments += self._options
        if self.tree is None and "--lio-listen" not in self._options:
            arguments.append("--no-lio")
        arguments += [word for address in self.addresses for word in ("--listen", address)]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "scsi_snap", "daemon", *map(str, arguments)],
                cwd=self.tree,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        said = self._until_ready()
        found = re.findall(r"\b127\.0\.0\.1:\d+\b", said)
        assert len(found) >= len(self.addresses), f"an address of a portal is not in {said!r}"
        self.addresses = found[: len(self.addresses)]

    @property
    def address(self) -> str:
        """Of the first portal."""
        return self.addresses[0]

    def _until_ready(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        output = self._process.stdout.fileno()
        deadline = time.monotonic() + READY_SECONDS
        said = b""
        # A whole line with the word: `ready` may come in two reads.
        while not re.search(rb"ready[^\n]*\n", said):
            waited = select.select([output], [], [], max(0.0, deadline - time.monotonic()))[0]
            piece = os.read(output, 65536) if waited else b""
            if not piece:
                self.kill()
                message = f"the daemon did not become ready; it said {said.decode()!r}"
                raise AssertionError(f"{message}\n{self.log_path.read_text()}")
            said += piece
        return said.decode()

    def stop(self) -> None:
        """Ends it with SIGTERM and expects a clean end. Nothing where it does not run."""
        self._end(signal.SIGTERM, expected=0)

    def kill(self) -> None:
        """Ends it with SIGKILL, as a crash would. Nothing where it does not run."""
        self._end(signal.SIGKILL, expected=None)

    def _end(self, how: signal.Signals, expected: int | None) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            # Read to the end: a full pipe must not hold it up.
            process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        if expected is not None and process.returncode != expected:
            message = f"the daemon ended with {process.returncode}"
            raise AssertionError(f"{message}\n{self.log_path.read_text()}")

    def run(self, *verb: object) -> Result:
        """A CLI verb, whatever its outcome."""
        answer = CliRunner().invoke(
            cli,
            list(map(str, verb)),
            env={"SCSI_SNAP_SOCKET": str(self.socket)},
            prog_name="scsi-snap",
        )
        if answer.exception is not None and not isinstance(answer.exception, SystemExit):
            raise answer.exception
        return answer

    def __call__(self, *verb: object) -> str:
        """A CLI verb that must succeed; what it printed."""
        answer = self.run(*verb)
        if answer.exit_code != 0:
            command = " ".join(map(str, verb))
            said = answer.output.strip()
            raise VerbFailedError(f"scsi-snap {command}: exit {answer.exit_code}: {said}")
        return answer.stdout

    def json(self, *verb: object) -> Any:
        """A list or show verb, as data."""
        return json.loads(self(*verb, "--json"))

    def url(self, target: str, lun: int) -> str:
        """What libiscsi and QEMU call a logical unit."""
        return self.urls(target, lun)[0]

    def urls(self, target: str, lun: int) -> list[str]:
        """The same through each portal."""
        return [f"iscsi://{address}/{target}/{lun}" for address in self.addresses]
