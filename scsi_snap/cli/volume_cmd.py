"""scsi-snap volume …"""

from __future__ import annotations

from typing import Any

import click

from scsi_snap.cli import completion, render
from scsi_snap.cli.arguments import NewSize, Size, volume_parts
from scsi_snap.cli.context import (
    Decorated,
    client,
    json_option,
    print_json,
    print_outcome,
    report_unavailable_pools,
    socket_option,
)
from scsi_snap.cli.removal import Care, care_options, if_exists_option, remove_with_care


@click.group()
def volume() -> None:
    """Volumes: what initiators see as logical units."""


def _name_options(command: Decorated) -> Decorated:
    """What initiators know the unit by."""
    for option in (
        click.option("--naa", help="NAA identifier, in hexadecimal.  [default: from the UUID]"),
        click.option("--serial", help="Unit serial number.  [default: the UUID]"),
        click.option("--product", help="Product identification, up to 16 characters."),
        click.option("--vendor", help="Vendor identification, up to 8 characters."),
    ):
        command = option(command)
    return command


@volume.command("create")
@click.argument("name", metavar="POOL/VOLUME", shell_complete=completion.new_volumes)
@click.argument("size", type=Size())
@click.option("--block", type=Size(), default="512", show_default=True, help="Logical block.")
@click.option("--chunk", type=Size(), default="64KiB", show_default=True, help="Unit of copying.")
@click.option(
    "--policy",
    default="drop-snapshot",
    show_default=True,
    shell_complete=completion.one_of("drop-snapshot", "fail-write"),
    help="When the store is full: drop-snapshot (the oldest) or fail-write.",
)
@click.option("--store-limit", type=Size(), help="What preserved chunks may take at most.")
@click.option(
    "--provisioning",
    default="thin",
    show_default=True,
    shell_complete=completion.one_of("thin", "full"),
    help="thin: UNMAP gives blocks back; full: their space is set aside.",
)
@click.option(
    "--deallocation",
    default="any",
    show_default=True,
    shell_complete=completion.one_of("any", "unmap", "write-same"),
    help="What gives blocks back: UNMAP, WRITE SAME with UNMAP, or any of them.",
)
@click.option(
    "--physical-block",
    default="4096",
    show_default=True,
    shell_complete=completion.one_of("512", "4096"),
    help="What the disk says it writes as one: 512 or 4096 bytes.",
)
@click.option("--read-only", is_flag=True, help="Initiators may not write.")
@click.option("--removable", is_flag=True, help="Its medium can be ejected and loaded.")
@_name_options
@json_option
@socket_option
def create(
    name: str,
    size: int,
    block: int,
    chunk: int,
    policy: str,
    store_limit: int | None,
    as_json: bool,
    **traits: Any,
) -> None:
    """Make a volume that reads as zeros.

    \b
    scsi-snap volume create tank/vol0 10GiB
    scsi-snap volume create tank/vol0 10GiB --store-limit 2GiB --policy fail-write
    scsi-snap volume create tank/vol0 10GiB --provisioning full --block 4096 --serial A1
    """
    body = {
        "name": name,
        "size_bytes": size,
        "block_bytes": block,
        "chunk_bytes": chunk,
        "policy": policy,
        "store_limit_bytes": store_limit,
        **traits,
    }
    print_outcome(client().post("volumes", body=body), f"volume {name}", as_json)


@volume.command("set")
@click.argument("name", metavar="POOL/VOLUME", shell_complete=completion.volumes)
@click.option(
    "--read-only/--read-write", default=None, help="Whether initiators may not, or may, write."
)
@click.option(
    "--removable/--fixed", default=None, help="Whether its medium can be ejected and loaded."
)
@click.option(
    "--provisioning",
    shell_complete=completion.one_of("thin", "full"),
    help="As it was made with: it cannot change.",
)
@click.option(
    "--policy",
    shell_complete=completion.one_of("drop-snapshot", "fail-write"),
    help="When the store is full: drop-snapshot (the oldest) or fail-write.",
)
@click.option(
    "--store-limit",
    "store_limit_bytes",
    type=Size(),
    help="What preserved chunks may take at most; 0: as far as the pool goes.",
)
@_name_options
@json_option
@socket_option
def set_(name: str, as_json: bool, **traits: Any) -> None:
    """Change what a volume's logical unit says it is, or the rules of its exception store.

    Initiators stay logged in and are told. An empty text goes back to the default. Snapshots take
    vendor, product and removable from their volume; they are always read-only, and have a serial
    number and a NAA identifier of their own.

    \b
    scsi-snap volume set tank/vol0 --read-only
    scsi-snap volume set tank/vol0 --policy fail-write --store-limit 2GiB
    scsi-snap volume set tank/vol0 --vendor ACME --product DISK --serial ""
    """
    answer = client().patch("volumes", *volume_parts(name), body=traits)
    print_outcome(answer, f"volume {name}", as_json)


@volume.command("list")
@click.argument("pool", required=False, shell_complete=completion.pools)
@json_option
@socket_option
def list_(pool: str | None, as_json: bool) -> None:
    """List volumes, of one pool or of all."""
    volumes = client().get("volumes", pool=pool)
    if as_json:
        print_json(volumes)
    else:
        rows = [
            [
                one["name"],
                render.size(one["size_bytes"]),
                str(one["snapshots"]),
                render.size(one["store_used_bytes"]),
                render.luns(one["mapped"]),
            ]
            for one in volumes
        ]
        headings = ["NAME", "SIZE", "SNAPSHOTS", "STORE", "MAPPED"]
        click.echo(render.table(headings, rows, "lrrrl"))
    if pool is None:
        report_unavailable_pools("volumes")


@volume.command("show")
@click.argument("name", metavar="POOL/VOLUME", shell_complete=completion.volumes)
@json_option
@socket_option
def show(name: str, as_json: bool) -> None:
    """Show a volume."""
    found = client().get("volumes", *volume_parts(name))
    if as_json:
        print_json(found)
        return
    store = f"{render.size(found['store_used_bytes'])} used"
    store += f" of {render.size(found['store_capacity_bytes'])}"
    if found["store_limit_bytes"] is not None:
        store += f", at most {render.size(found['store_limit_bytes'])}"
    pairs = [
        ("name", found["name"]),
        ("id", found["id"]),
        ("created", render.time(found["created_at_ms"])),
        ("size", f"{render.size(found['size_bytes'])} ({found['size_bytes']} bytes)"),
        ("block", render.size(found["block_bytes"])),
        ("chunk", render.size(found["chunk_bytes"])),
        ("store", store),
        ("policy", found["policy"]),
        ("provisioning", found["provisioning"]),
        ("deallocation", found["deallocation"]),
        ("physical block", render.size(found["physical_block_bytes"])),
        ("access", "read-only" if found["read_only"] else "read-write"),
        ("removable", "yes" if found["removable"] else "no"),
        ("vendor", found["vendor"]),
        ("product", found["product"]),
        ("serial", found["serial"]),
        ("naa", found["naa"]),
        ("snapshots", str(found["snapshots"])),
        ("mapped", render.luns(found["mapped"])),
    ]
    click.echo(render.fields(pairs))


@volume.command("resize")
@click.argument("name", metavar="POOL/VOLUME", shell_complete=completion.volumes)
@click.argument("size", type=NewSize())
@json_option
@socket_option
def resize(name: str, size: tuple[bool, int], as_json: bool) -> None:
    """Make a volume larger while it is in use. Initiators are told, and need no new login.

    \b
    scsi-snap volume resize tank/vol0 20GiB
    scsi-snap volume resize tank/vol0 +5GiB
    """
    is_added, size_bytes = size
    if is_added:
        size_bytes += client().get("volumes", *volume_parts(name))["size_bytes"]
    body = {"size_bytes": size_bytes}
    answer = client().post("volumes", *volume_parts(name), "resize", body=body)
    print_outcome(answer, f"volume {name}", as_json)


@volume.command("delete")
@click.argument(
    "names",
    metavar="POOL/VOLUME...",
    nargs=-1,
    required=True,
    shell_complete=completion.volumes,
)
@click.option("--snapshots", is_flag=True, help="Delete its snapshots too.")
@if_exists_option
@care_options
@json_option
@socket_option
def delete(
    names: tuple[str, ...],
    snapshots: bool,
    if_exists: bool,
    as_json: bool,
    yes: bool,
    dry_run: bool,
) -> None:
    """Delete volumes and give their space back.

    Each is tried, and each that cannot be deleted is reported.
    """
    remove_with_care(
        names,
        lambda name, plan: client().delete(
            "volumes", *volume_parts(name), with_snapshots=snapshots, dry_run=plan
        ),
        "volume {}".format,
        "delete",
        Care(yes, dry_run),
        if_exists=if_exists,
        as_json=as_json,
    )
