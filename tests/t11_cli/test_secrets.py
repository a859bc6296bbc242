"""Secrets that are typed at a terminal: unseen, and twice."""

from __future__ import annotations

import sys

import click
import pytest
from click.testing import CliRunner, Result

from scsi_snap.cli import secrets

SECRET, OTHER = "a secret of many bytes", "another one of many bytes"


@click.command()
@secrets.chap_options()
@click.option("--terminal", is_flag=True)
def chap(terminal: bool, **options: str) -> None:
    sys.stdin.isatty = lambda: terminal  # type: ignore[method-assign]
    body = secrets.chap_body(**options)  # type: ignore[arg-type]
    click.echo(f"got {body['secret']}, {body['mutual_secret']}")


def typed(*lines: str, options: str = "--user a --terminal") -> Result:
    return CliRunner().invoke(chap, options.split(), input="".join(f"{one}\n" for one in lines))


def test_a_secret_is_asked_twice() -> None:
    answer = typed(SECRET, SECRET)
    assert answer.output.endswith(f"got {SECRET}, \n")
    assert answer.output.count(SECRET) == 1, "what is typed is not shown"


def test_a_slip_is_asked_again() -> None:
    answer = typed(SECRET, OTHER, SECRET, SECRET)
    assert "do not match" in answer.output
    assert answer.output.endswith(f"got {SECRET}, \n")


def test_the_target_s_secret_too() -> None:
    answer = typed(SECRET, SECRET, OTHER, OTHER, options="--user a --mutual-user b --terminal")
    assert answer.output.endswith(f"got {SECRET}, {OTHER}\n")


@pytest.mark.parametrize("lines", [(SECRET,), (SECRET, OTHER)])
def test_what_is_piped_in_is_taken_once(lines: tuple[str, ...]) -> None:
    assert typed(*lines, options="--user a").output == f"got {SECRET}, \n"
