"""`scsi-snap shell`: one command, standard input, a terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from scsi_snap.api.client import Client
from scsi_snap.cli.exit_codes import EXIT_CODES
from scsi_snap.cli.main import cli
from scsi_snap.shell import session
from tests.controllers import Controller, served

CREATE = "/scsi_snap/pools create tank /m1:1GiB /m2:1GiB /m3:1GiB"


@pytest.fixture
def client(controller: Controller) -> Iterator[Client]:
    with served(controller.service) as client:
        yield client


def run(client: Client, *words: str, stdin: str = "") -> Result:
    arguments = ["--socket", str(client._socket_path), "shell", *words]
    return CliRunner().invoke(cli, arguments, input=stdin, prog_name="scsi-snap")


def test_one_command(client: Client) -> None:
    made = run(client, *CREATE.split())
    assert (made.exit_code, made.stdout) == (0, "created pool tank\n")
    assert "o- tank " in run(client, "ls", "/scsi_snap/pools").stdout
    assert run(client, "ls", "depth=1").stdout.count("o- ") == 4


def test_a_command_that_fails_ends_with_the_code_of_its_error(client: Client) -> None:
    failed = run(client, "/scsi_snap/pools", "delete", "tank")
    assert failed.exit_code == EXIT_CODES["not-found"]
    assert failed.stderr.startswith("error: no pool named 'tank'\n  ")
    unknown = run(client, "frobnicate")
    assert unknown.exit_code == EXIT_CODES["invalid-argument"]
    assert unknown.stderr.startswith("error: command not found frobnicate\n")


def test_commands_are_read_from_standard_input(client: Client) -> None:
    volumes = "cd /scsi_snap/pools/tank\ncreate vol0 1MiB\nexit\ncreate vol1 1MiB\n"
    ended = run(client, stdin=f"# a pool\n\n{CREATE}\n{volumes}")
    assert ended.exit_code == 0, ended.output
    assert ended.stdout == "created pool tank\ncreated volume tank/vol0\n"
    assert len(client.get("volumes")) == 1


def test_the_first_line_that_fails_ends_a_script(client: Client) -> None:
    ended = run(client, stdin=f"{CREATE}\n/scsi_snap/pools/tank delete none\nls\n")
    assert ended.exit_code == EXIT_CODES["not-found"]
    assert ended.stdout == "created pool tank\n" and "none" in ended.stderr


def test_without_a_daemon_there_is_one_error(tmp_path: Path) -> None:
    nobody = Client(tmp_path / "none")
    for words in ((), ("ls",)):
        ended = run(nobody, *words)
        assert ended.exit_code == EXIT_CODES["daemon-unreachable"]
        assert ended.stderr.startswith("error: no daemon answers on") and not ended.stdout


def test_without_the_library_the_package_is_named(client: Client, tmp_path: Path) -> None:
    # A module that cannot be imported, before the real one on the path.
    # pyparsing comes and goes with the library.
    for name in ("configshell", "configshell_fb", "pyparsing"):
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError(name={name!r})\n")
    ended = subprocess.run(
        [sys.executable, "-m", "scsi_snap", "--socket", client._socket_path, "shell", "ls"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == EXIT_CODES["not-found"]
    assert "needs the Python package configshell-fb" in ended.stderr
    assert "scsi-snap[shell]" in ended.stderr


class Terminal:
    """A shell at a pseudo-terminal."""

    def __init__(self, client: Client, state: Path) -> None:
        self._ours, its = pty.openpty()
        self._raw = self.said = ""
        self._after = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "scsi_snap", "--socket", client._socket_path, "shell"],
            env={**os.environ, "XDG_STATE_HOME": str(state), "TERM": "dumb"},
            stdin=its,
            stdout=its,
            stderr=its,
        )
        os.close(its)

    def until(self, text: str, seconds: float = 60) -> None:
        """Reads until `text` comes after what was waited for before."""
        deadline = time.monotonic() + seconds
        while (found := self.said.find(text, self._after)) < 0:
            waited = select.select([self._ours], [], [], max(0.0, deadline - time.monotonic()))[0]
            assert waited, f"{text!r} did not come: {self.said!r}"
            self._raw += os.read(self._ours, 65536).decode()
            self.said = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self._raw)
        self._after = found + len(text)

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def end(self, seconds: float = 60) -> int:
        """Its exit status. Reads on: a terminal is let go only when all has been read."""
        deadline = time.monotonic() + seconds
        try:
            while select.select([self._ours], [], [], max(0.0, deadline - time.monotonic()))[0]:
                try:
                    os.read(self._ours, 65536)
                except OSError:
                    # What Linux says when nobody has the other end open any more.
                    break
            return self._process.wait(timeout=seconds)
        finally:
            self._process.kill()
            self._process.wait()
            os.close(self._ours)


def test_at_a_terminal(client: Client, tmp_path: Path) -> None:
    run(client, *CREATE.split())
    terminal = Terminal(client, tmp_path)
    try:
        terminal.until("/> ")
        terminal.type("/scsi_snap/pools/ta\t create vol0 1MiB\n")
        terminal.until("created volume tank/vol0")
        terminal.until("> ")
        terminal.type("cd /scsi_snap/pools/nowhere\n")
        terminal.until("no such path: /scsi_snap/pools/nowhere")
        terminal.until("/> ")
        terminal.type("/iscsi set discovery_auth userid=scout password=not-in-the-history\n")
        terminal.until("changed CHAP of discovery")
        terminal.until("/> ")
        terminal.type("cd /scsi_snap/pools\n")
        terminal.until("/scsi_snap/pools> ")
        terminal.type("exit\n")
    finally:
        assert terminal.end() == 0
    directory = tmp_path / "scsi-snap/shell"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    history = (directory / "history.txt").read_text()
    assert "create vol0 1MiB" in history and "not-in-the-history" not in history
    assert not (directory / "log.txt").exists()
    again = Terminal(client, tmp_path)
    try:
        # Where the last one ended.
        again.until("/scsi_snap/pools> ")
        again.type("exit\n")
    finally:
        assert again.end() == 0


def test_a_home_that_cannot_be_written_costs_the_history_alone(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert session.preferences_directory({"XDG_STATE_HOME": f"{tmp_path}/file"}, tmp_path) is None
    found = session.preferences_directory({}, tmp_path)
    assert found == tmp_path / ".local/state/scsi-snap/shell" and found.is_dir()


def test_a_terminal_outlives_the_daemon(controller: Controller, tmp_path: Path) -> None:
    with served(controller.service) as client:
        terminal = Terminal(client, tmp_path)
        terminal.until("/> ")
        terminal.type("cd /scsi_snap/pools\n")
        terminal.until("/scsi_snap/pools> ")
    try:
        terminal.type("ls\n")
        terminal.until("no daemon answers on")
        terminal.until("/scsi_snap/pools> ")
        terminal.type("exit\n")
    finally:
        assert terminal.end() == 0
    assert terminal.said.count("no daemon answers") == 1
