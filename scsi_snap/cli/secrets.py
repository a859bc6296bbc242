"""CHAP users and secrets on the command line: the options, and where a secret comes from."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_SECRET_FILE_BYTES_MAX = 4096
"""A secret has at most 255 bytes; a longer file is not one."""


def chap_options(prefix: str = "") -> Callable[[Decorated], Decorated]:
    """`--user`, `--secret`, … or, with the prefix `chap-`, `--chap-user` and so on."""

    def decorate(command: Decorated) -> Decorated:
        for option in reversed(_options(prefix)):
            command = option(command)
        return command

    return decorate


def _options(prefix: str) -> list[Callable[[Decorated], Decorated]]:
    file = click.Path(path_type=Path, dir_okay=False)
    return [
        click.option(f"--{prefix}user", "user", help="Whom initiators log in as."),
        click.option(
            f"--{prefix}secret", "secret", help="12 bytes or more; asked for if not given."
        ),
        click.option(
            f"--{prefix}secret-file",
            "secret_file",
            type=file,
            help="Take the first line of a file.",
        ),
        click.option(
            f"--{prefix}mutual-user",
            "mutual_user",
            default="",
            help="Whom the target proves to be.",
        ),
        click.option(
            f"--{prefix}mutual-secret", "mutual_secret", default="", help="Asked for if not given."
        ),
        click.option(
            f"--{prefix}mutual-secret-file",
            "mutual_secret_file",
            type=file,
            help="Take the first line of a file.",
        ),
    ]


def chap_body(
    user: str,
    secret: str | None,
    secret_file: Path | None,
    mutual_user: str,
    mutual_secret: str,
    mutual_secret_file: Path | None,
) -> dict[str, str]:
    """What the API takes; asks for secrets that were not given."""
    secret = secret or _of_file(secret_file) or _asked("CHAP secret")
    mutual_secret = mutual_secret or _of_file(mutual_secret_file) or ""
    if mutual_user and not mutual_secret:
        mutual_secret = _asked("CHAP secret of the target")
    return {
        "user": user,
        "secret": secret,
        "mutual_user": mutual_user,
        "mutual_secret": mutual_secret,
    }


def described(one: Any) -> str:
    """Of a view with `chap_user` and `chap_mutual_user`."""
    if not one["chap_user"]:
        return ""
    mutual = one["chap_mutual_user"]
    return f"CHAP as {one['chap_user']}" + (f", mutual as {mutual}" if mutual else "")


def _of_file(path: Path | None) -> str | None:
    if path is None:
        return None
    with path.open("rb") as file:
        line = file.read(_SECRET_FILE_BYTES_MAX).partition(b"\n")[0].removesuffix(b"\r")
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise click.UsageError(f"the secret in {path} is not UTF-8") from error


def _asked(prompt: str) -> str:
    """Unseen on a terminal, and twice: what is mistyped only initiators would notice. Else a line
    of standard input, so that no secret need be an argument, which everybody on the machine sees.
    """
    if sys.stdin.isatty():
        return str(click.prompt(prompt, hide_input=True, confirmation_prompt=True))
    line = sys.stdin.readline().rstrip("\n")
    if not line:
        raise click.UsageError(f"no {prompt} was given: type it, pipe it in, or name a file")
    return line
