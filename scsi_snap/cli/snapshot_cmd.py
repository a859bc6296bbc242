"""scsi-snap snapshot …"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from typing import Any

import click

from scsi_snap.cli import completion, map_picture, render
from scsi_snap.cli.arguments import BlockRange, snapshot_parts
from scsi_snap.cli.context import (
    client,
    json_option,
    print_json,
    print_outcome,
    report_unavailable_pools,
    socket_option,
)
from scsi_snap.cli.removal import Care, care_options, if_exists_option, remove_with_care


@click.group()
def snapshot() -> None:
    """Snapshots: volumes at a point in time."""


@snapshot.command("create")
@click.argument(
    "names",
    metavar="POOL/VOLUME@SNAPSHOT...",
    nargs=-1,
    required=True,
    shell_complete=completion.new_snapshots,
)
@click.option("--range", "block_range", type=BlockRange(), help="Only these blocks: LBA+COUNT.")
@json_option
@socket_option
def create(names: tuple[str, ...], block_range: tuple[int, int] | None, as_json: bool) -> None:
    """Take a snapshot; several names are taken at one consistent point.

    \b
    scsi-snap snapshot create tank/vol0@monday
    scsi-snap snapshot create tank/data@monday tank/log@monday
    scsi-snap snapshot create tank/vol0@head --range 0+2048
    """
    blocks = None
    if block_range is not None:
        blocks = {"first_lba": block_range[0], "blocks": block_range[1]}
    body = {"snapshots": [{"name": name, "range": blocks} for name in names]}
    print_outcome(client().post("snapshots", body=body), f"snapshot {' '.join(names)}", as_json)


@snapshot.command("list")
@click.argument(
    "of", metavar="[POOL[/VOLUME]]", required=False, shell_complete=completion.pools_and_volumes
)
@json_option
@socket_option
def list_(of: str | None, as_json: bool) -> None:
    """List snapshots, of one pool or volume or of all."""
    pool, _, volume = (of or "").partition("/")
    snapshots = client().get("snapshots", pool=pool or None, volume=volume or None)
    if as_json:
        print_json(snapshots)
    else:
        rows = [
            [
                one["name"],
                render.time(one["created_at_ms"]),
                one["state"],
                _range(one),
                render.luns(one["mapped"]),
            ]
            for one in snapshots
        ]
        click.echo(render.table(["NAME", "CREATED", "STATE", "RANGE", "MAPPED"], rows))
    if of is None:
        report_unavailable_pools("snapshots")


@snapshot.command("show")
@click.argument("name", metavar="POOL/VOLUME@SNAPSHOT", shell_complete=completion.snapshots)
@json_option
@socket_option
def show(name: str, as_json: bool) -> None:
    """Show a snapshot."""
    found = client().get("snapshots", *snapshot_parts(name))
    if as_json:
        print_json(found)
        return
    state = found["state"]
    if found["invalid_reason"]:
        state += f": {found['invalid_reason']}"
    pairs = [
        ("name", found["name"]),
        ("id", found["id"]),
        ("created", render.time(found["created_at_ms"])),
        ("state", state),
        ("range", _range(found)),
        ("group", found["group"] or "-"),
        ("serial", found["serial"]),
        ("naa", found["naa"]),
        ("mapped", render.luns(found["mapped"])),
    ]
    click.echo(render.fields(pairs))


@snapshot.command("delete")
@click.argument(
    "names",
    metavar="POOL/VOLUME@SNAPSHOT...",
    nargs=-1,
    required=True,
    shell_complete=completion.snapshots,
)
@if_exists_option
@care_options
@json_option
@socket_option
def delete(
    names: tuple[str, ...], if_exists: bool, as_json: bool, yes: bool, dry_run: bool
) -> None:
    """Delete snapshots; chunks that no other snapshot needs are freed.

    Each is tried, and each that cannot be deleted is reported.
    """
    remove_with_care(
        names,
        lambda name, plan: client().delete("snapshots", *snapshot_parts(name), dry_run=plan),
        "snapshot {}".format,
        "delete",
        Care(yes, dry_run),
        if_exists=if_exists,
        as_json=as_json,
    )


@snapshot.command("diff")
@click.argument("since", metavar="POOL/VOLUME@SNAPSHOT", shell_complete=completion.snapshots)
@click.argument(
    "until",
    metavar="[POOL/VOLUME@SNAPSHOT]",
    required=False,
    shell_complete=completion.snapshots,
)
@json_option
@socket_option
def diff(since: str, until: str | None, as_json: bool) -> None:
    """List what changed since a snapshot: until a later one, or until now.

    \b
    scsi-snap snapshot diff tank/vol0@monday
    scsi-snap snapshot diff tank/vol0@monday tank/vol0@tuesday --json
    """
    _print_pages(_pages(since, "diff", until=until), "changed", as_json)


@snapshot.command("extents")
@click.argument("name", metavar="POOL/VOLUME@SNAPSHOT", shell_complete=completion.snapshots)
@json_option
@socket_option
def extents(name: str, as_json: bool) -> None:
    """List what is allocated of a snapshot; all else of it reads as zeros.

    \b
    scsi-snap snapshot extents tank/vol0@monday
    scsi-snap snapshot extents tank/vol0@monday --json
    """
    _print_pages(_pages(name, "extents"), "allocated", as_json)


@snapshot.command("map")
@click.argument("name", metavar="POOL/VOLUME@SNAPSHOT", shell_complete=completion.snapshots)
@json_option
@socket_option
def map_(name: str, as_json: bool) -> None:
    """Draw the snapshot map: what is preserved, and what is still shared with the origin."""
    terminal_columns = shutil.get_terminal_size((100, 24)).columns
    cells = map_picture.cells_to_ask(terminal_columns)
    answer = client().get("snapshots", *snapshot_parts(name), "map", cells=cells)
    if as_json:
        print_json(answer)
        return
    symbols = map_picture.BLOCKS if _prints_blocks() else map_picture.ASCII
    click.echo("\n".join(map_picture.picture(answer, terminal_columns, symbols)))


def _prints_blocks() -> bool:
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    return encoding.lower().replace("-", "") == "utf8"


def _pages(name: str, of: str, **query: Any) -> Iterator[Any]:
    """Ends with the page that names no next one; each starts beyond the one before."""
    first_lba = 0
    while True:
        page = client().get("snapshots", *snapshot_parts(name), of, first_lba=first_lba, **query)
        yield page
        if page["next_lba"] is None:
            return
        first_lba = page["next_lba"]


def _print_pages(pages: Iterator[Any], what: str, as_json: bool) -> None:
    """Pages of extents, as one list, and their sum in words."""
    if as_json:
        whole = next(pages)
        for page in pages:
            whole["extents"] += page["extents"]
        del whole["next_lba"]
        print_json(whole)
        return
    count = total = 0
    for number, page in enumerate(pages):
        if number == 0:
            click.echo(f"{'LBA':>14} {'BLOCKS':>12} {'BYTES':>16}")
        for one in page["extents"]:
            click.echo(f"{one['first_lba']:>14} {one['blocks']:>12} {one['bytes']:>16}")
            count += 1
            total += one["bytes"]
    noun = "extent" if count == 1 else "extents"
    click.echo(f"{count} {noun}, {render.size(total)} {what}")


def _range(one: Any) -> str:
    return "whole volume" if one["whole_volume"] else f"{one['first_lba']}+{one['blocks']}"
