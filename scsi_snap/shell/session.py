"""Running the shell: at a terminal, for one command, or over commands from standard input."""

from __future__ import annotations

import curses
import os
import pickle
import readline
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from scsi_snap import __version__
from scsi_snap.api.client import Client
from scsi_snap.errors import InvalidArgument, ScsiSnapError
from scsi_snap.shell.hints import in_shell
from scsi_snap.shell.library import ConfigShell, ExecutionError, ParseError
from scsi_snap.shell.node import errors_shown
from scsi_snap.shell.state import State
from scsi_snap.shell.tree import Root

_FIRST_PREFERENCES = {"loglevel_console": "info", "loglevel_file": "critical"}
"""configshell's own default for the file is a level that it does not know."""

_SECRETS = ("password=", "secret=")
"""A line with one of these does not go into the history file."""


class Shell(ConfigShell):
    """configshell's, made to ask the daemon anew for each line and to ignore no part of one."""

    def __init__(self, client: Client, preferences: Path | None = None) -> None:
        self.state = State(client)
        super().__init__(None if preferences is None else str(preferences))
        # Its log would hold every line typed, secrets too, with a stack trace for each step.
        self.prefs["logfile"] = None
        self.log.debug = _ignored
        # It has those of when it was imported.
        self.con._stdout, self.con._stderr = sys.stdout, sys.stderr
        Root(self, self.state)

    def run_cmdline(self, cmdline: str) -> None:
        self.state.forget()
        line = cmdline.strip()
        if line.startswith("#"):
            return
        if any(word in line for word in _SECRETS):
            forget_last_line(line)
        try:
            # configshell itself drops the rest of a line from what it cannot read on.
            self._parser.parse_string(line, parse_all=True)
        except ParseError as error:
            rest = line[error.loc :]
            message = f"{rest!r} cannot be read: no quotes, and no spaces in a word"
            raise ExecutionError(message) from error
        with errors_shown():
            try:
                super().run_cmdline(line)
            except curses.error as error:
                message = "the tree cannot be shown to choose from: name a path"
                raise ExecutionError(message) from error

    def _complete(self, text: str, state: int) -> Any:
        if state == 0:
            self.state.forget()
        try:
            return super()._complete(text, state)
        except (ExecutionError, ValueError):
            # A path that is none, or no daemon: nothing to offer.
            return None


def run_interactive(client: Client, preferences: Path | None) -> None:
    """Until `exit`. Raises `DaemonUnreachable` where it cannot even begin."""
    client.get("daemon")
    shell = _InteractiveShell(client, preferences)
    shell.con.display(f"scsi-snap shell {__version__}. `ls` shows the tree, `help` tells more.\n")
    shell.run_interactive()


def run_commands(client: Client, lines: Iterable[str]) -> None:
    """One after another from the root of the tree, until one fails: raises what it failed with."""
    client.get("daemon")
    shell = Shell(client)
    for line in lines:
        if shell._exit:
            return
        try:
            shell.run_cmdline(line)
        except ExecutionError as error:
            raise _failure(error) from error


class _InteractiveShell(Shell):
    """A line that fails is told of, and the next one read."""

    def run_cmdline(self, cmdline: str) -> None:
        try:
            super().run_cmdline(cmdline)
        except ExecutionError as error:
            self.log.error(str(error))


def _failure(error: Exception) -> ScsiSnapError:
    """What the API said, or the shell's own word on a line that it cannot carry out."""
    reason: BaseException | None = error
    while reason is not None:
        if isinstance(reason, ScsiSnapError):
            return type(reason)(reason.message, in_shell(reason.hint))
        reason = reason.__cause__ or reason.__context__
    text = str(error).strip().rstrip(".")
    return InvalidArgument(
        text[:1].lower() + text[1:], "`help` shows the commands, `help COMMAND` one of them"
    )


def preferences_directory(environment: Mapping[str, str], home: Path) -> Path | None:
    """For history, bookmarks and colours, readable by the user alone; None where it cannot be
    made. It has a file of preferences from the start: configshell 1.1 warns where there is none."""
    state = environment.get("XDG_STATE_HOME")
    path = (Path(state) if state else home / ".local/state") / "scsi-snap/shell"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (path / "prefs.bin").exists():
            (path / "prefs.bin").write_bytes(pickle.dumps(_FIRST_PREFERENCES, protocol=2))
    except OSError:
        return None
    return path if os.access(path, os.W_OK) else None


def forget_last_line(line: str) -> None:
    """Takes it out of the history, where it is the last there."""
    last = readline.get_current_history_length()
    if last and (readline.get_history_item(last) or "").strip() == line:
        readline.remove_history_item(last - 1)


def _ignored(_message: str) -> None:
    """In place of configshell's debug log."""
