"""Verbs that take things away, several in one command.

Each name is tried, whatever became of those before it. Those that failed are reported one by one on
standard error, and the command ends with the exit code of the first of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from scsi_snap.cli.context import Decorated, print_json, report_error
from scsi_snap.cli.exit_codes import EXIT_CODES
from scsi_snap.errors import InvalidArgument, NotFound, ScsiSnapError

Name = TypeVar("Name", str, int)


def if_exists_option(command: Decorated) -> Decorated:
    return click.option(
        "--if-exists", is_flag=True, help="What is not there is `absent`, and not an error."
    )(command)


@dataclass(frozen=True)
class Care:
    """What is asked before something goes that does not come back. At a terminal there is a
    question; elsewhere `must_say_yes` wants --yes, and the rest is done as it is typed."""

    yes: bool
    dry_run: bool
    must_say_yes: bool = False


def care_options(command: Decorated) -> Decorated:
    for option in (
        click.option("--dry-run", is_flag=True, help="Say what would go, and do nothing."),
        yes_option,
    ):
        command = option(command)
    return command


def yes_option(command: Decorated) -> Decorated:
    return click.option("--yes", is_flag=True, help="Ask nothing.")(command)


def ask_first(question: str, *, yes: bool, must_say_yes: bool) -> None:
    """Returns where it is to be done. Raises `InvalidArgument` where nobody can be asked."""
    if yes:
        return
    if at_terminal():
        click.confirm(question, abort=True)
    elif must_say_yes:
        raise InvalidArgument("this cannot be taken back, and nobody can be asked", "say --yes")


def at_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def remove_with_care(
    names: Sequence[str],
    remove: Callable[[str, bool], Any],
    label: Callable[[str], str],
    verb: str,
    care: Care,
    *,
    if_exists: bool,
    as_json: bool,
) -> None:
    """As `remove_each`, after a question. `remove` takes whether it is to say only what would go;
    `verb` is in the imperative and takes a `d` or `ed`."""
    names = list(dict.fromkeys(names))
    if care.dry_run:
        _plan(names, remove, label, verb, if_exists=if_exists, as_json=as_json)
        return
    if not care.yes and at_terminal():
        for line in _going(names, remove, label):
            click.echo(line)
    things = label(names[0]) if len(names) == 1 else f"these {len(names)}"
    ask_first(f"{verb} {things}?", yes=care.yes, must_say_yes=care.must_say_yes)
    done = f"{verb}d" if verb.endswith("e") else f"{verb}ed"
    remove_each(
        names, lambda name: remove(name, False), label, done, if_exists=if_exists, as_json=as_json
    )


def _going(
    names: Sequence[str], remove: Callable[[str, bool], Any], label: Callable[[str], str]
) -> Iterator[str]:
    for name in names:
        # What is refused is said when it is tried.
        with suppress(ScsiSnapError):
            yield from _lines(remove(name, True), label(name))


def _plan(
    names: Sequence[str],
    remove: Callable[[str, bool], Any],
    label: Callable[[str], str],
    verb: str,
    *,
    if_exists: bool,
    as_json: bool,
) -> None:
    plans: list[Any] = []

    def plan(name: str) -> None:
        plans.append(remove(name, True))
        if not as_json:
            click.echo("\n".join(_lines(plans[-1], f"would {verb} {label(name)}")))

    exit_code = 0
    for name in names:
        try:
            plan(name)
        except ScsiSnapError as error:
            if not (if_exists and isinstance(error, NotFound)):
                report_error(error, subject=label(name))
                exit_code = exit_code or EXIT_CODES[error.code]
    if as_json:
        print_json(plans)
    if exit_code:
        raise click.exceptions.Exit(exit_code)


def _lines(answer: Any, first: str) -> list[str]:
    return [first, *(f"  with {one}" for one in answer["goes"])]


def remove_each(
    names: Sequence[Name],
    remove: Callable[[Name], Any],
    label: Callable[[Name], str],
    done: str = "deleted",
    *,
    if_exists: bool,
    as_json: bool,
) -> None:
    """Calls `remove` for each of `names` once. `label` says what one is called: `volume tank/vol0`;
    `done` what has become of it."""
    results = []
    exit_code = 0
    for name in dict.fromkeys(names):
        outcome = done
        left: list[str] = []
        try:
            left = remove(name).get("left", [])
        except ScsiSnapError as error:
            if not (if_exists and isinstance(error, NotFound)):
                report_error(error, subject=label(name))
                exit_code = exit_code or EXIT_CODES[error.code]
                continue
            outcome = "absent"
        results.append({"outcome": outcome, "name": name} | ({"left": left} if left else {}))
        if not as_json:
            separator = ": " if outcome == "absent" else " "
            click.echo(f"{outcome}{separator}{label(name)}")
            if left:
                click.echo(f"  free to be used again: {' '.join(left)}")
    if as_json:
        print_json(results)
    if exit_code:
        raise click.exceptions.Exit(exit_code)
