"""scsi-snap target …"""

from __future__ import annotations

import sys

import click

from scsi_snap.cli import completion, render
from scsi_snap.cli.context import (
    client,
    json_option,
    print_json,
    print_outcome,
    socket_option,
)


@click.group()
def target() -> None:
    """Targets: what initiators log in to."""


@target.command("create")
@click.argument("name", metavar="IQN")
@json_option
@socket_option
def create(name: str, as_json: bool) -> None:
    """Make a target. Any initiator may log in until `target allow` lists some.

    \b
    scsi-snap target create iqn.2026-11.org.example:disk
    """
    answer = client().post("targets", body={"name": name})
    # As it is known from now on: iSCSI names are spelled in lower case.
    print_outcome(answer, f"target {answer['view']['name']}", as_json)


@target.command("list")
@json_option
@socket_option
def list_(as_json: bool) -> None:
    """List targets."""
    targets = client().get("targets")
    if as_json:
        print_json(targets)
        return
    rows = [
        [one["name"], str(len(one["luns"])), str(one["sessions"]), _access(one)] for one in targets
    ]
    click.echo(render.table(["NAME", "LUNS", "SESSIONS", "ACCESS"], rows, "lrrl"))


@target.command("show")
@click.argument("name", metavar="IQN", shell_complete=completion.targets)
@json_option
@socket_option
def show(name: str, as_json: bool) -> None:
    """Show a target and its LUNs. Secrets are never shown."""
    found = client().get("targets", name)
    if as_json:
        print_json(found)
        return
    pairs = [
        ("name", found["name"]),
        ("portal group", str(found["portal_group_tag"])),
        ("CHAP user", found["chap_user"] or "-"),
        ("mutual user", found["chap_mutual_user"] or "-"),
        ("initiators", ", ".join(found["initiators"]) or "any"),
        ("sessions", str(found["sessions"])),
    ]
    click.echo(render.fields(pairs) + "\n")
    rows = [[str(one["lun"]), one["backing"], one["state"]] for one in found["luns"]]
    click.echo(render.table(["LUN", "BACKING", "STATE"], rows, "rll"))


@target.command("delete")
@click.argument("name", metavar="IQN", shell_complete=completion.targets)
@click.option("--close-sessions", is_flag=True, help="Even while initiators are logged in.")
@socket_option
def delete(name: str, close_sessions: bool) -> None:
    """Delete a target and its LUN map; volumes and snapshots stay."""
    client().delete("targets", name, close_sessions=close_sessions)
    click.echo(f"deleted target {name}")


@target.command("chap")
@click.argument("target", metavar="IQN", shell_complete=completion.targets)
@click.option("--user", help="Whom initiators log in as.")
@click.option("--secret", help="12 bytes or more; asked for where not given.")
@click.option("--mutual-user", default="", help="Whom the target proves to be.")
@click.option("--mutual-secret", default="", help="Asked for where not given.")
@click.option("--off", is_flag=True, help="Log in without authentication.")
@socket_option
def chap(
    target: str,
    user: str | None,
    secret: str | None,
    mutual_user: str,
    mutual_secret: str,
    off: bool,
) -> None:
    """Set what initiators must log in with, or turn it off.

    \b
    scsi-snap target chap iqn.2026-11.org.example:disk --user alice
    scsi-snap target chap iqn.2026-11.org.example:disk --off
    """
    if off == (user is not None):
        raise click.UsageError("either --user USER or --off")
    if off:
        answer = client().delete("targets", target, "chap")
    else:
        if secret is None:
            secret = _asked("CHAP secret")
        if mutual_user and not mutual_secret:
            mutual_secret = _asked("CHAP secret of the target")
        body = {
            "user": user,
            "secret": secret,
            "mutual_user": mutual_user,
            "mutual_secret": mutual_secret,
        }
        answer = client().put("targets", target, "chap", body=body)
    print_outcome(answer, f"CHAP of {target}")


@target.command("allow")
@click.argument("target", metavar="IQN", shell_complete=completion.targets)
@click.argument(
    "initiators", metavar="INITIATOR...", nargs=-1, shell_complete=completion.initiators
)
@click.option("--any", "any_initiator", is_flag=True, help="Let any initiator log in.")
@socket_option
def allow(target: str, initiators: tuple[str, ...], any_initiator: bool) -> None:
    """List initiators that may log in; all others are refused from then on.

    \b
    scsi-snap target allow iqn.2026-11.org.example:disk iqn.2026-11.org.example:host1
    """
    if any_initiator == bool(initiators):
        raise click.UsageError("either INITIATOR... or --any")
    if any_initiator:
        print_outcome(client().delete("targets", target, "initiators"), f"access to {target}")
    for initiator in initiators:
        answer = client().put("targets", target, "initiators", initiator)
        print_outcome(answer, f"access of {initiator}")


@target.command("deny")
@click.argument("target", metavar="IQN", shell_complete=completion.targets)
@click.argument("initiator", shell_complete=completion.initiators)
@socket_option
def deny(target: str, initiator: str) -> None:
    """Take an initiator off the list and close its sessions."""
    answer = client().delete("targets", target, "initiators", initiator)
    print_outcome(answer, f"access of {initiator}")


def _asked(prompt: str) -> str:
    """Unseen on a terminal; else a line of standard input, so that no secret need be an argument,
    which everybody on the machine can see."""
    if sys.stdin.isatty():
        return str(click.prompt(prompt, hide_input=True))
    line = sys.stdin.readline().rstrip("\n")
    if not line:
        raise click.UsageError(f"no {prompt} was given: type it, pipe it in, or use --secret")
    return line


def _access(one: dict[str, object]) -> str:
    initiators = one["initiators"]
    assert isinstance(initiators, list)
    who = f"{len(initiators)} listed" if initiators else "any initiator"
    if one["chap_user"]:
        who += ", mutual CHAP" if one["chap_mutual_user"] else ", CHAP"
    return who
