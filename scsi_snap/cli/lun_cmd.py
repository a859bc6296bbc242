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
)


@click.group()
def lun() -> None:
    """LUNs: which volume or snapshot a target shows under which number."""


@lun.command("map")
@click.argument("target", metavar="IQN", shell_complete=completion.targets)
@click.argument("number", metavar="LUN", type=int)
@click.argument("backing", metavar="POOL/VOLUME[@SNAPSHOT]", shell_complete=completion.backings)
@json_option
@socket_option
def map_(target: str, number: int, backing: str, as_json: bool) -> None:
    """Show a volume, or read-only a snapshot, to initiators. Sessions go on.

    \b
    scsi-snap lun map iqn.2026-11.org.example:disk 0 tank/vol0
    scsi-snap lun map iqn.2026-11.org.example:disk 1 tank/vol0@monday
    """
    answer = client().put("targets", target, "luns", number, body={"backing": backing})
    print_outcome(answer, f"LUN {number} of {target}: {backing}", as_json)


@lun.command("unmap")
@click.argument("target", metavar="IQN", shell_complete=completion.targets)
@click.argument("number", metavar="LUN", type=int, shell_complete=completion.luns)
@socket_option
def unmap(target: str, number: int) -> None:
    """Take a LUN away; its volume or snapshot stays."""
    client().delete("targets", target, "luns", number)
    click.echo(f"unmapped LUN {number} of {target}")


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
        ]
        for one in luns
    ]
    click.echo(render.table(["TARGET", "LUN", "BACKING", "ACCESS", "STATE"], rows, "lr"))
