"""Verbs that take things away, several in one command.

Each name is tried, whatever became of those before it. Those that failed are reported one by one on
standard error, and the command ends with the exit code of the first of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import click

from scsi_snap.cli.context import Decorated, print_json, report_error
from scsi_snap.cli.exit_codes import EXIT_CODES
from scsi_snap.errors import NotFound, ScsiSnapError

Name = TypeVar("Name", str, int)


def if_exists_option(command: Decorated) -> Decorated:
    return click.option(
        "--if-exists", is_flag=True, help="What is not there is `absent`, and not an error."
    )(command)


def remove_each(
    names: Sequence[Name],
    remove: Callable[[Name], object],
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
        try:
            remove(name)
        except ScsiSnapError as error:
            if not (if_exists and isinstance(error, NotFound)):
                report_error(error, subject=label(name))
                exit_code = exit_code or EXIT_CODES[error.code]
                continue
            outcome = "absent"
        results.append({"outcome": outcome, "name": name})
        if not as_json:
            separator = ": " if outcome == "absent" else " "
            click.echo(f"{outcome}{separator}{label(name)}")
    if as_json:
        print_json(results)
    if exit_code:
        raise click.exceptions.Exit(exit_code)
