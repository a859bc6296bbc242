"""scsi-snap session …"""

from __future__ import annotations

from typing import Any

import click

from scsi_snap.cli import completion, render
from scsi_snap.cli.context import client, json_option, print_json, socket_option
from scsi_snap.cli.removal import if_exists_option, remove_each


@click.group()
def session() -> None:
    """Sessions: initiators that are logged in."""


@session.command("list")
@click.argument("target", metavar="[IQN]", required=False, shell_complete=completion.targets)
@json_option
@socket_option
def list_(target: str | None, as_json: bool) -> None:
    """List sessions, of one target or of all."""
    sessions = client().get("sessions", target=target)
    if as_json:
        print_json(sessions)
        return
    rows = [
        [
            str(one["id"]),
            one["initiator"],
            one["address"] or "-",
            one["portal"] or "-",
            str(one["portal_group_tag"]),
            one["via"],
            one["target"],
            str(one["counters"].get("commands", "-")),
            _bytes(one, "read_bytes"),
            _bytes(one, "written_bytes"),
        ]
        for one in sessions
    ]
    headings = ["ID", "INITIATOR", "ADDRESS", "PORTAL", "GROUP", "VIA", "TARGET"]
    headings += ["COMMANDS", "READ", "WRITTEN"]
    click.echo(render.table(headings, rows, "rlllrllrrr"))


@session.command("close")
@click.argument(
    "numbers",
    metavar="ID...",
    type=int,
    nargs=-1,
    required=True,
    shell_complete=completion.sessions,
)
@if_exists_option
@json_option
@socket_option
def close(numbers: tuple[int, ...], if_exists: bool, as_json: bool) -> None:
    """End sessions; their initiators may log in again."""
    remove_each(
        numbers,
        lambda number: client().delete("sessions", number),
        "session {}".format,
        "closed",
        if_exists=if_exists,
        as_json=as_json,
    )


def _bytes(one: Any, counter: str) -> str:
    return render.size(one["counters"].get(counter))
