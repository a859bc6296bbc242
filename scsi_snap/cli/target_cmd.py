"""scsi-snap target …"""

from __future__ import annotations

from typing import Any

import click

from scsi_snap.cli import completion, render, secrets
from scsi_snap.cli.context import (
    client,
    json_option,
    print_json,
    print_outcome,
    socket_option,
    via_option,
)
from scsi_snap.cli.removal import Care, care_options, if_exists_option, remove_with_care
from scsi_snap.cli.target_access_cmd import allow, chap, deny


@click.group()
def target() -> None:
    """Targets: what initiators log in to."""


@target.command("create")
@click.argument("name", metavar="IQN")
@click.option("--group", "groups", type=int, multiple=True, help="Portal group; by default 1.")
@via_option("By the embedded portal or the kernel's target (LIO); by default LIO where it can be.")
@json_option
@socket_option
def create(name: str, groups: tuple[int, ...], via: str | None, as_json: bool) -> None:
    """Make a target. Any initiator may log in until `target allow` lists some.

    What carries it stays: the kernel's target needs root and kernel modules, the embedded portal
    neither. `scsi-snap status` says whether the kernel's can be used.

    \b
    scsi-snap target create iqn.2026-11.org.example:disk
    scsi-snap target create iqn.2026-11.org.example:disk --group 1 --group 2
    scsi-snap target create iqn.2026-11.org.example:disk --via lio
    """
    answer = client().post("targets", body={"name": name, "groups": list(groups), "via": via})
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
        [
            one["name"],
            one["via"],
            _groups(one),
            str(len(one["luns"])),
            str(one["sessions"]),
            _access(one),
        ]
        for one in targets
    ]
    headings = ["NAME", "VIA", "GROUPS", "LUNS", "SESSIONS", "ACCESS"]
    click.echo(render.table(headings, rows, "lllrrl"))


@target.command("show")
@click.argument("name", metavar="IQN", shell_complete=completion.targets)
@json_option
@socket_option
def show(name: str, as_json: bool) -> None:
    """Show a target, who may log in, and its LUNs. Secrets are never shown."""
    found = client().get("targets", name)
    if as_json:
        print_json(found)
        return
    click.echo(render.fields(_facts(found)) + "\n")
    if found["initiators"]:
        rows = [[one["name"], secrets.described(one) or "-"] for one in found["initiators"]]
        click.echo(render.table(["INITIATOR", "ITS OWN SECRET"], rows) + "\n")
    rows = [
        [str(one["lun"]), one["backing"], one["state"], ", ".join(one["initiators"]) or "all"]
        for one in found["luns"]
    ]
    click.echo(render.table(["LUN", "BACKING", "STATE", "SHOWN TO"], rows, "rlll"))


@target.command("delete")
@click.argument(
    "names", metavar="IQN...", nargs=-1, required=True, shell_complete=completion.targets
)
@click.option("--close-sessions", is_flag=True, help="Even while initiators are logged in.")
@if_exists_option
@care_options
@json_option
@socket_option
def delete(
    names: tuple[str, ...],
    close_sessions: bool,
    if_exists: bool,
    as_json: bool,
    yes: bool,
    dry_run: bool,
) -> None:
    """Delete targets and their LUN maps; volumes and snapshots stay."""
    remove_with_care(
        names,
        lambda name, plan: client().delete(
            "targets", name, close_sessions=close_sessions, dry_run=plan
        ),
        "target {}".format,
        "delete",
        Care(yes, dry_run),
        if_exists=if_exists,
        as_json=as_json,
    )


@target.command("redirect")
@click.argument("target", metavar="IQN", shell_complete=completion.targets)
@click.argument("address", metavar="[ADDRESS:PORT]", required=False)
@click.option("--permanent", is_flag=True, help="Initiators may remember the new address.")
@click.option("--off", is_flag=True, help="Take logins again.")
@json_option
@socket_option
def redirect(target: str, address: str | None, permanent: bool, off: bool, as_json: bool) -> None:
    """Send every login on to another address. Sessions that run go on.

    A login that comes to that very address is taken: so the address may be a portal of this
    controller.

    \b
    scsi-snap target redirect iqn.2026-11.org.example:disk 192.0.2.2:3260
    scsi-snap target redirect iqn.2026-11.org.example:disk --off
    """
    if off == (address is not None) or (off and permanent):
        raise click.UsageError("either ADDRESS:PORT or --off")
    if address is None:
        answer = client().delete("targets", target, "redirect")
    else:
        body = {"address": address, "permanent": permanent}
        answer = client().put("targets", target, "redirect", body=body)
    print_outcome(answer, f"redirection of {target}", as_json)


@target.command("add-group")
@click.argument("target", metavar="IQN", shell_complete=completion.targets)
@click.argument("tag", metavar="TAG", type=int)
@json_option
@socket_option
def add_group(target: str, tag: int, as_json: bool) -> None:
    """Let initiators log in through the portals of one more group."""
    answer = client().put("targets", target, "groups", tag)
    print_outcome(answer, f"portal groups of {target}", as_json)


@target.command("remove-group")
@click.argument("target", metavar="IQN", shell_complete=completion.targets)
@click.argument("tag", metavar="TAG", type=int)
@click.option("--close-sessions", is_flag=True, help="Even while initiators use it.")
@json_option
@socket_option
def remove_group(target: str, tag: int, close_sessions: bool, as_json: bool) -> None:
    """Take a target out of a portal group; the portals stay."""
    answer = client().delete("targets", target, "groups", tag, close_sessions=close_sessions)
    print_outcome(answer, f"portal groups of {target}", as_json)


for command in (chap, allow, deny):
    target.add_command(command)


def _facts(found: Any) -> list[tuple[str, str]]:
    pairs = [("name", found["name"]), ("via", found["via"])]
    if found["reason"]:
        pairs.append(("unavailable", found["reason"]))
    for port in found["ports"]:
        where = ", ".join(port["portals"]) or "no portal"
        number = port["relative_identifier"]
        pairs.append((f"portal group {port['portal_group_tag']}", f"{where} (port {number})"))
    if found["redirect"]:
        how = "permanently" if found["redirect_permanent"] else "for now"
        pairs.append(("logins go to", f"{found['redirect']}, {how}"))
    return [
        *pairs,
        ("CHAP user", found["chap_user"] or "-"),
        ("mutual user", found["chap_mutual_user"] or "-"),
        ("initiators", f"{len(found['initiators'])} listed" if found["initiators"] else "any"),
        ("sessions", str(found["sessions"])),
    ]


def _groups(one: Any) -> str:
    return ",".join(str(port["portal_group_tag"]) for port in one["ports"])


def _access(one: Any) -> str:
    initiators = one["initiators"]
    who = f"{len(initiators)} listed" if initiators else "any initiator"
    if one["chap_user"]:
        who += ", mutual CHAP" if one["chap_mutual_user"] else ", CHAP"
    elif any(each["chap_user"] for each in initiators):
        who += ", some by CHAP"
    if one["redirect"]:
        who += ", redirected"
    return who + (f"; unavailable: {one['reason']}" if one["reason"] else "")
