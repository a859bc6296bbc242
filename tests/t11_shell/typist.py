"""Typing at the shell: its lines run in this process, over a real API."""

from __future__ import annotations

import io
import readline
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from scsi_snap.api.client import Client
from scsi_snap.shell.library import ExecutionError
from scsi_snap.shell.session import Shell


class Typist:
    def __init__(self, client: Client) -> None:
        self.client = client
        self.shell = Shell(client)

    def __call__(self, line: str) -> str:
        """What a line that succeeds prints."""
        with captured() as output:
            self.shell.con._stdout = output
            self.shell.run_cmdline(line)
        return output.getvalue()

    def script(self, lines: str) -> str:
        return "".join(self(line.strip()) for line in lines.strip().splitlines())

    def refused(self, line: str) -> str:
        """What a line fails with."""
        try:
            said = self(line)
        except ExecutionError as error:
            return str(error)
        raise AssertionError(f"{line!r} succeeded: {said}")

    def complete(self, line: str) -> list[str]:
        """What TAB offers at the end of the line."""
        begin = line.rfind(" ") + 1
        position = {"get_line_buffer": line, "get_begidx": begin, "get_endidx": len(line)}
        with mock.patch.multiple(
            readline, **{name: mock.Mock(return_value=value) for name, value in position.items()}
        ):
            offers = []
            while (offer := self.shell._complete(line[begin:], len(offers))) is not None:
                offers.append(str(offer))
        return sorted(offers)

    def status(self, path: str) -> str:
        """What `ls` shows in brackets."""
        line = self(f"{path} ls depth=1").splitlines()[0]
        return line[line.index("[") + 1 : line.rindex("]")]


@contextmanager
def captured() -> Iterator[io.StringIO]:
    output = io.StringIO()
    with mock.patch.object(sys, "stdout", output):
        yield output
