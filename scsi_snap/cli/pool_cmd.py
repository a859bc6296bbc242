"""scsi-snap pool …"""

from __future__ import annotations

from typing import Any

import click

from scsi_snap.cli import completion, render
from scsi_snap.cli.arguments import Size, absolute, member
from scsi_snap.cli.context import (
    client,
    json_option,
    print_json,
    print_outcome,
    socket_option,
)
from scsi_snap.cli.removal import (
    Care,
    ask_first,
    care_options,
    if_exists_option,
    remove_each,
    remove_with_care,
    yes_option,
)


@click.group()
def pool() -> None:
    """Pools: stripe sets over members, with free space."""


@pool.command("create")
@click.argument("name")
@click.argument("members", nargs=-1, required=True, type=click.Path())
@click.option(
    "--level",
    default="raid5",
    show_default=True,
    shell_complete=completion.one_of("raid0", "raid1", "raid10", "raid5"),
    help="raid0, raid1, raid10, raid5.",
)
@click.option(
    "--strip",
    type=Size(),
    default="64KiB",
    show_default=True,
    help="One member's share of a stripe.",
)
@click.option("--force", is_flag=True, help="Wipe members that hold something.")
@json_option
@socket_option
def create(
    name: str, members: tuple[str, ...], level: str, strip: int, force: bool, as_json: bool
) -> None:
    """Make a pool over MEMBERS: PATH of a file or block device, or PATH:SIZE to make a file.

    Members that hold anything but zeros are refused, and what was found is named; those that a
    destroyed pool has left are taken as they are.

    \b
    scsi-snap pool create tank /dev/sdb /dev/sdc /dev/sdd
    scsi-snap pool create tank --level raid1 /srv/m0:10GiB /srv/m1:10GiB
    """
    parsed = [member(text) for text in members]
    body = {
        "name": name,
        "level": level,
        "strip_bytes": strip,
        "members": [{"path": path, "size_bytes": size} for path, size in parsed],
        "force": force,
    }
    print_outcome(client().post("pools", body=body), f"pool {name}", as_json)


@pool.command("import")
@click.argument("members", nargs=-1, type=click.Path())
@click.option("--name", shell_complete=completion.pools, help="What the pool must be called.")
@click.option("--force", is_flag=True, help="Take it although newer members are known: see below.")
@json_option
@socket_option
def import_(members: tuple[str, ...], name: str | None, force: bool, as_json: bool) -> None:
    """Take over a pool that MEMBERS hold; with --name alone, try one on record again.

    A pool whose members are all older than this controller last knew it is refused: what was
    written since is on others. --force takes the older state and forgets those others.

    \b
    scsi-snap pool import /dev/sdb /dev/sdc /dev/sdd
    scsi-snap pool import --name tank
    """
    body = {"members": [absolute(path) for path in members], "name": name, "force": force}
    answer = client().post("pools", "import", body=body)
    if answer["outcome"] == "created" and not as_json:
        found = answer["view"]
        click.echo(f"imported pool {found['name']}")
        if found["state"] != "optimal":
            click.echo(f"  it is {found['state']}: `scsi-snap pool show {found['name']}` tells why")
    else:
        print_outcome(answer, f"pool {answer['view']['name']}", as_json)


@pool.command("export")
@click.argument("names", nargs=-1, required=True, shell_complete=completion.pools)
@if_exists_option
@json_option
@socket_option
def export(names: tuple[str, ...], if_exists: bool, as_json: bool) -> None:
    """Close pools and forget them; members keep everything, for `pool import` elsewhere."""
    remove_each(
        names,
        lambda name: client().post("pools", name, "export"),
        "pool {}".format,
        "exported",
        if_exists=if_exists,
        as_json=as_json,
    )


@pool.command("list")
@json_option
@socket_option
def list_(as_json: bool) -> None:
    """List pools."""
    pools = client().get("pools")
    if as_json:
        print_json(pools)
        return
    rows = [_row(one) for one in pools]
    click.echo(render.table(["NAME", "STATE", "LEVEL", "SIZE", "FREE"], rows, "lllrr"))


@pool.command("show")
@click.argument("name", shell_complete=completion.pools)
@json_option
@socket_option
def show(name: str, as_json: bool) -> None:
    """Show a pool and its members."""
    found = client().get("pools", name)
    if as_json:
        print_json(found)
        return
    pairs = [("name", found["name"]), ("id", found["id"]), ("state", found["state"])]
    if found["reason"]:
        pairs.append(("reason", found["reason"]))
    else:
        pairs += [
            ("level", found["level"]),
            ("strip", render.size(found["strip_bytes"])),
            ("size", render.size(found["size_bytes"])),
            ("free", render.size(found["free_bytes"])),
        ]
    click.echo(render.fields(pairs) + "\n")
    members = [
        [
            "-" if one["role"] is None else str(one["role"]),
            one["name"],
            one["state"],
            str(one["errors"]),
        ]
        for one in found["members"]
    ]
    click.echo(render.table(["ROLE", "MEMBER", "STATE", "ERRORS"], members, "rllr"))


@pool.command("destroy")
@click.argument("names", nargs=-1, required=True, shell_complete=completion.pools)
@click.option("--delete-files", is_flag=True, help="Remove members that are files.")
@if_exists_option
@care_options
@json_option
@socket_option
def destroy(
    names: tuple[str, ...],
    delete_files: bool,
    if_exists: bool,
    as_json: bool,
    yes: bool,
    dry_run: bool,
) -> None:
    """Destroy pools that hold no volume: their members are free for `pool create`.

    Where nobody can be asked, as in a script, it wants --yes.
    """
    remove_with_care(
        names,
        lambda name, plan: client().delete("pools", name, delete_files=delete_files, dry_run=plan),
        "pool {}".format,
        "destroy",
        Care(yes, dry_run, must_say_yes=True),
        if_exists=if_exists,
        as_json=as_json,
    )


@pool.command("fail-member")
@click.argument("pool", shell_complete=completion.pools)
@click.argument("member", shell_complete=completion.members)
@yes_option
@json_option
@socket_option
def fail_member(pool: str, member: str, yes: bool, as_json: bool) -> None:
    """Take a member out of the stripe set by hand. It cannot be taken back.

    Where nobody can be asked, as in a script, it wants --yes.

    \b
    scsi-snap pool fail-member tank /dev/sdb
    """
    member = absolute(member)
    ask_first(f"take {member} out of pool {pool} for good?", yes=yes, must_say_yes=True)
    answer = client().post("pools", pool, "fail-member", body={"member": member})
    print_outcome(answer, f"pool {pool}: {member} is failed", as_json)


def _row(one: Any) -> list[str]:
    if one["state"] == "unavailable":
        return [one["name"], one["state"], "-", "-", "-"]
    sizes = [render.size(one["size_bytes"]), render.size(one["free_bytes"])]
    return [one["name"], one["state"], one["level"], *sizes]
