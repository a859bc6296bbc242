"""scsi-snap daemon, status, health, check"""

from __future__ import annotations

import os
import time
from math import inf
from pathlib import Path
from typing import Any

import click

from scsi_snap.api.client import Client
from scsi_snap.cli import completion, render
from scsi_snap.cli.arguments import Size
from scsi_snap.cli.context import (
    client,
    json_option,
    print_json,
    socket_option,
    socket_path,
)
from scsi_snap.cli.exit_codes import PROBLEMS_FOUND, UNWELL
from scsi_snap.errors import DaemonUnreachable


@click.command()
@click.option("--state", required=True, type=click.Path(path_type=Path), help="State directory.")
@click.option(
    "--listen",
    default=["127.0.0.1:3260"],
    show_default=True,
    multiple=True,
    metavar="ADDRESS:PORT",
    help="Where initiators log in, beside `portal create`; may be repeated; port 0: a free one.",
)
@click.option("--no-listen", is_flag=True, help="Only at the portals of `portal create`.")
@click.option(
    "--lio-listen",
    multiple=True,
    metavar="ADDRESS:PORT",
    help="The same for the kernel's target (LIO); may be repeated.  [default: 127.0.0.1:3261]",
)
@click.option("--no-lio", is_flag=True, help="Leave the kernel's target alone.")
@click.option("--threads", type=click.IntRange(1, 1024), help="Of the data path; one per core.")
@click.option(
    "--erase-rate",
    type=Size(),
    metavar="SIZE",
    help="What FORMAT UNIT and SANITIZE do in a second, of each disk.  [default: all they can]",
)
@socket_option
def daemon(
    state: Path,
    listen: tuple[str, ...],
    no_listen: bool,
    lio_listen: tuple[str, ...],
    no_lio: bool,
    threads: int | None,
    erase_rate: int | None,
) -> None:
    """Run the controller until SIGTERM.

    Root may export by the kernel's target (LIO) too, where the kernel has it: `target create --via`
    chooses.

    \b
    scsi-snap daemon --state /var/lib/scsi-snap
    scsi-snap daemon --state ~/snap --listen :3260 --socket /tmp/snap.sock
    scsi-snap daemon --state ~/snap --listen 192.0.2.1:3260 --listen [2001:db8::1]:3260
    """
    if no_lio and lio_listen:
        raise click.UsageError("either --lio-listen or --no-lio")
    # Imported here: the web framework and the data path would slow every other command.
    from scsi_snap.api.daemon import run

    run(
        state_directory=state.absolute(),
        listen=() if no_listen else listen,
        control_socket=socket_path(click.get_current_context()).absolute(),
        threads=threads or os.cpu_count() or 1,
        erase_bytes_per_s=erase_rate or inf,
        lio=not no_lio,
        lio_listen=lio_listen,
    )


@click.command()
@click.option(
    "--wait",
    type=click.FloatRange(0),
    default=0,
    metavar="SECONDS",
    help="Wait so long for a daemon that is starting.",
)
@json_option
@socket_option
@click.pass_context
def status(ctx: click.Context, /, wait: float, as_json: bool) -> None:
    """Show the daemon: where it listens, what it has, and whether all of it is well.

    Ends as `scsi-snap health` does: 0 where all is well, 11 degraded, 12 failing.
    """
    found, health = _answered_within(client(), wait), client().get("health")
    if as_json:
        print_json(found | {"health": health})
    else:
        pairs = [
            ("version", found["version"]),
            ("listens on", ", ".join(found["addresses"]) or "-"),
            ("kernel's target", _lio(found)),
            ("data path", f"{found['driver']}, {found['threads']} threads"),
            ("state", found["state_directory"]),
            ("pools", _pools(found["pool_states"])),
            ("targets", str(found["targets"])),
            ("sessions", str(found["sessions"])),
            ("health", health["state"]),
        ]
        click.echo("\n".join([render.fields(pairs), *render.findings(health)]))
    ctx.exit(UNWELL[health["state"]])


@click.command()
@json_option
@socket_option
@click.pass_context
def health(ctx: click.Context, /, as_json: bool) -> None:
    """Say what is not well, and what to do.

    Ends with 0 where all is well; with 11 where it is degraded: initiators are served, and
    something is short of what it should be; with 12 where it is failing: data or access is not
    there, or is about to be lost.
    """
    found = client().get("health")
    if as_json:
        print_json(found)
    else:
        click.echo("\n".join([found["state"], *render.findings(found)]))
    ctx.exit(UNWELL[found["state"]])


def _pools(states: dict[str, int]) -> str:
    """`3`, or `3: 1 degraded, 2 optimal`."""
    count = str(sum(states.values()))
    if states.keys() <= {"optimal"}:
        return count
    return f"{count}: " + ", ".join(f"{number} {state}" for state, number in sorted(states.items()))


def _answered_within(daemon: Client, wait_s: float) -> Any:
    """What the daemon says of itself, asked until it answers. Raises its last error."""
    end_s = time.monotonic() + wait_s
    while True:
        try:
            return daemon.get("daemon")
        except DaemonUnreachable:
            left_s = end_s - time.monotonic()
            if left_s <= 0:
                raise
            time.sleep(min(_ASK_AGAIN_S, left_s))


_ASK_AGAIN_S = 0.1


def _lio(found: Any) -> str:
    if found["lio_obstacle"]:
        return f"not used: {found['lio_obstacle']}"
    return "listens on " + (", ".join(found["lio_addresses"]) or "-")


@click.command()
@click.argument(
    "of", metavar="[POOL[/VOLUME]]", required=False, shell_complete=completion.pools_and_volumes
)
@json_option
@socket_option
@click.pass_context
def check(ctx: click.Context, of: str | None, as_json: bool) -> None:
    """Check the formats on disk: one volume, one pool, or everything.

    A pool's check also compares its copies or its parity, which reads all that is written.
    """
    pool, _, volume = (of or "").partition("/")
    if volume:
        results = [client().post("volumes", pool, volume, "check")]
    else:
        results = client(timeout_s=None).post("check", pool=pool or None)
    if as_json:
        print_json(results)
    else:
        for one in results:
            for problem in one["problems"] or ["clean"]:
                click.echo(f"{one['volume']}: {problem}")
    if any(one["problems"] for one in results):
        ctx.exit(PROBLEMS_FOUND)
