"""What README.md and docs/operating have typed can be typed: each verb and option is there, each
command parses, the first tour of README.md runs, and the files that are named exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from scsi_snap.cli.main import cli
from tests.controllers import Controller, served
from tests.t11_cli.test_cli import Shell

TREE = Path(__file__).parents[2]
PAGES = [TREE / "README.md", *sorted((TREE / "docs").rglob("*.md"))]
TYPED = [TREE / "README.md", *sorted((TREE / "docs/operating").glob("*.md"))]
ENDS = {"&", "|", "&&", ";", "||", ">", "2>/dev/null;", ">>"}


def blocks(page: Path) -> Iterator[str]:
    """The lines of code blocks, fenced or indented; a line that goes on is one."""
    text = page.read_text().replace("\\\n", " ")
    fenced = re.findall(r"^```[a-z]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^    (\S.*)$", rest, re.MULTILINE)
    yield from (line.strip() for block in fenced for line in block.splitlines())
    yield from indented


def verbs(line: str) -> list[str]:
    """What is typed behind `scsi-snap`, up to what is not for it."""
    words = shlex.split(line, comments=True)[1:]
    end = next((place for place, word in enumerate(words) if word in ENDS), len(words))
    return [word.rstrip(";") for word in words[:end]]


COMMANDS = [
    (page.name, line) for page in TYPED for line in blocks(page) if line.startswith("scsi-snap ")
]
IN_TEXT = sorted(
    {
        (page.name, words)
        for page in TYPED
        for words in re.findall(r"`scsi-snap ([^`]+)`", page.read_text().replace("\n", " "))
    }
)


def command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that the first words name, and the words behind them."""
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        assert found is not None, f"no verb {words[0]!r}"
        command, words = found, words[1:]
    return command, words


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_a_command_of_a_page_parses(page: str, line: str) -> None:
    command, words = command_of(verbs(line))
    with command.make_context(command.name, words):
        pass


@pytest.mark.parametrize(("page", "typed"), IN_TEXT)
def test_a_verb_and_its_options_exist(page: str, typed: str) -> None:
    command, words = command_of(shlex.split(typed.replace("...", "").replace("…", "")))
    known = {name for one in command.params for name in [*one.opts, *one.secondary_opts]}
    known |= {"--help", "--version"}
    for word in words:
        if word.startswith("--"):
            assert word.partition("=")[0] in known, word


def test_the_first_tour_runs(controller: Controller) -> None:
    lines = [line for line in blocks(TREE / "README.md") if line.startswith("scsi-snap ")]
    tour = [verbs(line) for line in lines if verbs(line)[0] not in ("daemon", "shell")]
    assert len(tour) >= 8
    with served(controller.service) as client:
        shell = Shell(client._socket_path)
        for words in tour:
            shell(" ".join(words))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TREE)))
def test_what_a_page_points_at_exists(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / target).exists(), target
