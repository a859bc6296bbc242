"""scsi-snap lun …"""

from __future__ import annotations

import click

from scsi_snap.cli import completion, render
from scsi_snap.cli.context import (
    client,
    json_option,
    print_json,
    print_outcome,
    socket_option,
    via_option,
)
from scsi_snap.cli.removal import if_exists_option, remove_each


@click.group()
def lun() -> None:
    """LUNs: which volume or snapshot a target shows under which number."""


@lun.command("map")
@click.argument("target", metavar="IQN", shell_complete=completion.targets)
@click.argument("number", metavar="LUN", type=int)
@click.argument("backing", metavar="POOL/VOLUME[@SNAPSHOT]", shell_complete=completion.backings)
@click.option(
    "--initiator",
    "initiators",
    multiple=True,
    shell_complete=completion.initiators,
    help="Show it to this one alone; may be repeated.",
)
@click.option("--read-only", is_flag=True, help="Let it be read only, at this LUN.")
@click.option("--again", is_flag=True, help="Also where it has another LUN of the target already.")
@via_option("What the target is via, said once more; refused where that is something else.")
@json_option
@socket_option
def map_(
    target: str,
    number: int,
    backing: str,
    initiators: tuple[str, ...],
    read_only: bool,
    again: bool,
    via: str | None,
    as_json: bool,
) -> None:
    """Show a volume, or read-only a snapshot, to initiators. Sessions go on.

    Without --initiator every initiator that may log in sees it. With it, those alone do, beside
    what everybody sees. A number is either everybody's or belongs to initiators, each of which may
    have another volume there.

    \b
    scsi-snap lun map iqn.2026-11.org.example:disk 0 tank/vol0
    scsi-snap lun map iqn.2026-11.org.example:disk 1 tank/vol0@monday
    scsi-snap lun map iqn.2026-11.org.example:disk 2 tank/boot1 \\
        --initiator iqn.2026-11.org.example:host1
    """
    body = {
        "backing": backing,
        "initiators": list(initiators),
        "read_only": read_only,
        "again": again,
        "via": via,
    }
    answer = client().put("targets", target, "luns", number, body=body)
    print_outcome(answer, f"LUN {number} of {target}: {backing}", as_json)


@lun.command("unmap")
@click.argument("target", metavar="IQN", shell_complete=completion.targets)
@click.argument(
    "numbers",
    metavar="LUN...",
    type=int,
    nargs=-1,
    required=True,
    shell_complete=completion.luns,
)
@click.option(
    "--initiator",
    "initiators",
    multiple=True,
    shell_complete=completion.initiators,
    help="Only from this one, whose own it is; may be repeated.",
)
@if_exists_option
@json_option
@socket_option
def unmap(
    target: str,
    numbers: tuple[int, ...],
    initiators: tuple[str, ...],
    if_exists: bool,
    as_json: bool,
) -> None:
    """Take LUNs away from whoever sees them; their volumes and snapshots stay."""
    whose = list(initiators) or None
    remove_each(
        numbers,
        lambda number: client().delete("targets", target, "luns", number, initiator=whose),
        lambda number: f"LUN {number} of {target}",
        "unmapped",
        if_exists=if_exists,
        as_json=as_json,
    )


@lun.command("list")
@click.argument("target", metavar="[IQN]", required=False, shell_complete=completion.targets)
@json_option
@socket_option
def list_(target: str | None, as_json: bool) -> None:
    """List LUNs, of one target or of all."""
    luns = client().get("luns", target=target)
    if as_json:
        print_json(luns)
        return
    rows = [
        [
            one["target"],
            str(one["lun"]),
            one["backing"],
            "read-only" if one["read_only"] else "read-write",
            one["state"],
            ", ".join(one["initiators"]) or "all",
        ]
        for one in luns
    ]
    headings = ["TARGET", "LUN", "BACKING", "ACCESS", "STATE", "SHOWN TO"]
    click.echo(render.table(headings, rows, "lr"))
