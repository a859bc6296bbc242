"""scsi-snap events"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import click

from scsi_snap.cli import completion, render
from scsi_snap.cli.context import client, json_option, print_json, print_json_line, socket_option
from scsi_snap.errors import DaemonUnreachable

_WAIT_S = 30.0
_RETRY_S = 1.0
"""Between two attempts while the daemon is away."""

INTERRUPTED = 130
"""The shell's exit code for what Ctrl-C has ended."""


@click.command()
@click.option("--after", type=click.IntRange(0), default=0, help="Only those numbered above this.")
@click.option(
    "--severity",
    type=click.Choice(["info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Only those that are so grave, or graver.",
)
@click.option(
    "--subject",
    shell_complete=completion.subjects,
    help="Only about this pool, volume, snapshot, target or portal, and what is in it.",
)
@click.option("--follow", is_flag=True, help="Print those that come, until Ctrl-C.")
@json_option
@socket_option
def events(follow: bool, as_json: bool, **wanted: Any) -> None:
    """List what happened: full stores, dropped snapshots, failed members, refused logins.

    Events are kept over restarts, and their numbers count up for ever. --follow goes on after a
    restart of the daemon; with --json it prints a line for each event.

    \b
    scsi-snap events --severity error
    scsi-snap events --subject tank/vol0
    scsi-snap events --after 1200 --follow --json
    """
    if not follow:
        found = client().get("events", **wanted)
        if as_json:
            print_json(found)
        elif found:
            click.echo("\n".join(map(render.event, found)))
        else:
            click.echo("no events" if _is_everything(wanted) else "no such events")
        return
    try:
        for one in _followed(**wanted):
            print_json_line(one) if as_json else click.echo(render.event(one))
    except KeyboardInterrupt:
        click.get_current_context().exit(INTERRUPTED)


def _is_everything(wanted: dict[str, Any]) -> bool:
    return wanted == {"after": 0, "severity": "info", "subject": None}


def _followed(after: int, **wanted: Any) -> Iterator[Any]:
    """Fails where no daemon answers at first; waits for it where it goes away later."""
    daemon = client()
    reached = False
    while True:
        try:
            # What is there already is asked for without a wait: it says that the daemon answers.
            wait_s = _WAIT_S if reached else 0.0
            found = daemon.get("events", "next", after=after, wait_s=wait_s, **wanted)
        except DaemonUnreachable as error:
            if not reached:
                raise
            click.echo(f"{error.message}; waiting for it", err=True)
            _wait_for_daemon()
            continue
        reached = True
        for one in found:
            after = one["number"]
            yield one


def _wait_for_daemon() -> None:
    while True:
        time.sleep(_RETRY_S)
        try:
            client().get("daemon")
        except DaemonUnreachable:
            continue
        return
