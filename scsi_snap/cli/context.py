"""What commands share: the client, the common options, and errors as the user sees them."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from scsi_snap import limits
from scsi_snap.api.client import SOCKET_VARIABLE, Client, default_socket
from scsi_snap.cli.exit_codes import EXIT_CODES
from scsi_snap.errors import InvalidArgument, IoFailed, PoolUnavailable, ScsiSnapError
from scsi_snap.os_errors import of_os_error, reason

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_SOCKET = f"{__name__}.socket"
_JSON = f"{__name__}.json"


class ErrorReportingGroup(click.Group):
    """The root: what a command raises becomes two lines on standard error, or with --json one line
    of JSON, and an exit code."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        # Looked for by hand: of a command line that cannot be parsed no option is known.
        as_json = "--json" in args
        with _errors_reported(as_json):
            ctx = super().make_context(info_name, args, parent, **extra)
        ctx.meta[_JSON] = as_json
        return ctx

    def invoke(self, ctx: click.Context) -> Any:
        with _errors_reported(ctx.meta[_JSON]):
            return super().invoke(ctx)


@contextmanager
def _errors_reported(as_json: bool) -> Iterator[None]:
    try:
        yield
    except ScsiSnapError as error:
        _report(error, as_json)
        raise click.exceptions.Exit(EXIT_CODES[error.code]) from error
    except OSError as error:
        # A closed pipe is click's to handle: whoever read has enough.
        if error.errno == errno.EPIPE:
            raise
        found = _of_output(error) if error.filename is None else of_os_error(error)
        _report(found, as_json)
        raise click.exceptions.Exit(EXIT_CODES[found.code]) from error
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        # click's own, of a command line that cannot be parsed; its sentences begin with a capital.
        text = error.format_message().rstrip(".")
        command = error.ctx.command_path if error.ctx else "scsi-snap"
        hint = f"`{command} --help` shows how it is written"
        _report(InvalidArgument(text[:1].lower() + text[1:], hint), as_json)
        raise click.exceptions.Exit(error.exit_code) from error


_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF}


def _of_output(error: OSError) -> ScsiSnapError:
    """An error without a path: where it is one that write(2) gives, it is the output's."""
    if error.errno in _WRITING:
        return IoFailed(reason(error), "the output could not be written")
    return of_os_error(error)


def report_error(error: ScsiSnapError, subject: str = "") -> None:
    """On standard error, as the command line asks for; the command goes on. `subject`: which of
    several things it is about."""
    _report(error, click.get_current_context().meta[_JSON], subject)


def _report(error: ScsiSnapError, as_json: bool, subject: str = "") -> None:
    if as_json:
        body = {"code": error.code, "message": error.message, "hint": error.hint}
        click.echo(json.dumps(body | ({"subject": subject} if subject else {})), err=True)
        return
    click.echo(f"error: {error.message}", err=True)
    if error.hint:
        click.echo(f"  {error.hint}", err=True)


def _keep_socket(ctx: click.Context, _parameter: click.Parameter, value: Path | None) -> None:
    if value is not None:
        ctx.meta[_SOCKET] = value


def socket_option(command: Decorated) -> Decorated:
    """`--socket`, taken before or after the verb."""
    return click.option(
        "--socket",
        type=click.Path(path_type=Path),
        expose_value=False,
        callback=_keep_socket,
        help=f"The daemon's control socket (also by {SOCKET_VARIABLE}).",
    )(command)


def via_option(help_text: str) -> Callable[[Decorated], Decorated]:
    """`--via`, which completes by itself."""
    return click.option("--via", type=click.Choice(["portal", "lio"]), help=help_text)


def json_option(command: Decorated) -> Decorated:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def socket_path(ctx: click.Context) -> Path:
    chosen = ctx.meta.get(_SOCKET)
    return chosen if chosen is not None else default_socket(os.environ, os.getuid())


def client(timeout_s: float | None = limits.CLIENT_TIMEOUT_S) -> Client:
    """The client of the daemon that this command line is for; None waits as long as it lives."""
    return Client(socket_path(click.get_current_context()), timeout_s)


def report_unavailable_pools(what: str) -> None:
    """After a list of all that are there: names each pool that it could not look into, and ends as
    one that was asked for by name would."""
    away = [one for one in client().get("pools") if one["state"] == "unavailable"]
    for one in away:
        report_error(
            PoolUnavailable(
                f"pool {one['name']!r} is unavailable, and its {what} are not listed:"
                f" {one['reason']}",
                f"bring its members back and `scsi-snap pool import --name {one['name']}`",
            )
        )
    if away:
        click.get_current_context().exit(EXIT_CODES[PoolUnavailable.code])


def print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2))


def print_json_line(value: object) -> None:
    """One of many that come one by one."""
    click.echo(json.dumps(value))


def print_outcome(answer: Any, what: str, as_json: bool = False) -> None:
    """One line on how a verb ended: `created pool tank`."""
    if as_json:
        print_json(answer)
    elif answer["outcome"] == "unchanged":
        click.echo(f"unchanged: {what}")
    else:
        click.echo(f"{answer['outcome']} {what}")


def print_warning(view: Any) -> None:
    """What a view has an operator know beside the outcome, if anything; on standard error."""
    if view["warning"]:
        click.echo(f"warning: {view['warning']}", err=True)
