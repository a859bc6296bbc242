"""`scsi-snap events`: listed, filtered, and followed over a restart of the daemon."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from scsi_snap.cli import event_cmd
from scsi_snap.cli.exit_codes import EXIT_CODES
from scsi_snap.cli.main import cli
from scsi_snap.control.event_log import EventLog
from scsi_snap.errors import DaemonUnreachable
from tests.controllers import Controller, served


@pytest.fixture
def events(controller: Controller) -> EventLog:
    return controller.service.events


@pytest.fixture
def run(controller: Controller) -> Iterator[Callable[[str], tuple[int, str]]]:
    with served(controller.service) as client:

        def typed(options: str = "") -> tuple[int, str]:
            line = ["events", "--socket", str(client._socket_path), *options.split()]
            result = CliRunner().invoke(cli, line)
            return result.exit_code, result.stdout

        yield typed


def test_none_is_a_sentence(run: Any, events: EventLog) -> None:
    assert run() == (0, "no events\n")
    assert run("--json") == (0, "[]\n")
    events.add("resynced", "tank", "4096 bytes")
    assert run("--severity error") == run("--after 1") == (0, "no such events\n")


def test_a_line_says_what_and_about_what(run: Any, events: EventLog) -> None:
    events.add("store-full", "tank/vol0", "it is full")
    events.add("lio-unavailable", "", "the module is missing")
    code, text = run()
    first, second = text.splitlines()
    assert first.startswith("1  ") and first.endswith("error    store-full  tank/vol0: it is full")
    assert second.endswith("warning  lio-unavailable  the module is missing")
    assert run("--subject tank")[1].splitlines() == [first]
    (one,) = json.loads(run("--severity error --json")[1])
    assert (code, one["kind"]) == (0, "store-full")


def test_followed_over_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the daemon answers is scripted; Ctrl-C ends it."""
    asked: list[tuple[int, float]] = []
    answers: Iterator[Any] = iter(
        [
            [event(1), event(2)],
            [],
            DaemonUnreachable("no daemon answers"),
            {},
            [event(7)],
            KeyboardInterrupt(),
        ]
    )

    class Daemon:
        def get(self, *parts: str, **query: Any) -> Any:
            if parts == ("events", "next"):
                asked.append((query["after"], query["wait_s"]))
            answer = next(answers)
            if isinstance(answer, BaseException):
                raise answer
            return answer

    monkeypatch.setattr(event_cmd, "client", Daemon)
    monkeypatch.setattr(event_cmd, "_RETRY_S", 0.0)
    result = CliRunner().invoke(cli, ["events", "--follow", "--json"])
    assert [json.loads(line)["number"] for line in result.stdout.splitlines()] == [1, 2, 7]
    assert asked == [(0, 0.0), (2, 30.0), (2, 30.0), (2, 30.0), (7, 30.0)]
    assert result.exit_code == event_cmd.INTERRUPTED
    assert result.stderr == "no daemon answers; waiting for it\n"


def test_no_daemon_at_first_is_an_error() -> None:
    with tempfile.TemporaryDirectory() as directory:
        line = ["events", "--follow", "--socket", str(Path(directory) / "none")]
        assert CliRunner().invoke(cli, line).exit_code == EXIT_CODES["daemon-unreachable"]


def event(number: int) -> dict[str, Any]:
    return {"number": number}
