"""scsi-snap portal … and scsi-snap discovery …"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from scsi_snap.cli import completion, render, secrets
from scsi_snap.cli.context import (
    client,
    json_option,
    print_json,
    print_outcome,
    print_warning,
    socket_option,
    via_option,
)
from scsi_snap.cli.removal import if_exists_option, remove_each


@click.group()
def portal() -> None:
    """Portals: addresses at which initiators log in, in groups."""


@portal.command("create")
@click.argument("address", metavar="ADDRESS[:PORT]")
@click.option("--group", default=1, show_default=True, help="Portal group tag, 1 to 65535.")
@via_option("Whose: the embedded portal's, by default, or the kernel's target's (LIO).")
@json_option
@socket_option
def create(address: str, group: int, via: str | None, as_json: bool) -> None:
    """Listen at an address, from now on and after every start.

    A target is reached through those portals of the groups that it is in that are via what it is
    via. The port is 3260 where none is named.

    \b
    scsi-snap portal create 192.0.2.1
    scsi-snap portal create [2001:db8::1]:3260 --group 2
    scsi-snap portal create 192.0.2.1:3261 --via lio
    """
    body = {"address": address, "group": group, "via": via or "portal"}
    answer = client().post("portals", body=body)
    print_outcome(answer, f"portal {answer['view']['address']}", as_json)
    print_warning(answer["view"])


@portal.command("list")
@json_option
@socket_option
def list_(as_json: bool) -> None:
    """List portals, those of `daemon --listen` and `--lio-listen` as well."""
    portals = client().get("portals")
    if as_json:
        print_json(portals)
        return
    rows = [
        [
            one["address"],
            str(one["portal_group_tag"]),
            one["via"],
            _by(one),
            one["state"]
            + (f": {one['reason']}" if one["reason"] else "")
            + (", open to every host" if one["warning"] else ""),
        ]
        for one in portals
    ]
    click.echo(render.table(["ADDRESS", "GROUP", "VIA", "BY", "STATE"], rows, "lr"))


@portal.command("delete")
@click.argument(
    "addresses",
    metavar="ADDRESS:PORT...",
    nargs=-1,
    required=True,
    shell_complete=completion.portals,
)
@if_exists_option
@json_option
@socket_option
def delete(addresses: tuple[str, ...], if_exists: bool, as_json: bool) -> None:
    """Stop listening there. Sessions go on; their initiators cannot come back that way."""
    remove_each(
        addresses,
        lambda address: client().delete("portals", address),
        "portal {}".format,
        if_exists=if_exists,
        as_json=as_json,
    )


def _by(one: Any) -> str:
    if one["on_record"]:
        return "kept"
    return "--lio-listen" if one["via"] == "lio" else "--listen"


@click.group()
def discovery() -> None:
    """Discovery: what initiators must prove to be told of targets."""


@discovery.command("show")
@json_option
@socket_option
def show(as_json: bool) -> None:
    """Show whom discovery asks for. Secrets are never shown."""
    found = client().get("discovery")
    if as_json:
        print_json(found)
        return
    pairs = [
        ("CHAP user", found["chap_user"] or "-"),
        ("mutual user", found["chap_mutual_user"] or "-"),
    ]
    click.echo(render.fields(pairs))


@discovery.command("chap")
@secrets.chap_options()
@click.option("--off", is_flag=True, help="Tell anybody who asks.")
@json_option
@socket_option
def chap(
    user: str | None,
    secret: str | None,
    secret_file: Path | None,
    mutual_user: str,
    mutual_secret: str,
    mutual_secret_file: Path | None,
    off: bool,
    as_json: bool,
) -> None:
    """Set what initiators must prove before they are told of targets, or turn it off.

    \b
    scsi-snap discovery chap --user scout
    scsi-snap discovery chap --off
    """
    if off == (user is not None):
        raise click.UsageError("either --user USER or --off")
    if user is None:
        answer = client().delete("discovery", "chap")
    else:
        body = secrets.chap_body(
            user, secret, secret_file, mutual_user, mutual_secret, mutual_secret_file
        )
        answer = client().put("discovery", "chap", body=body)
    print_outcome(answer, "CHAP of discovery", as_json)
