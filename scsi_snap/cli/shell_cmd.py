"""scsi-snap shell"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from scsi_snap.cli.context import client, socket_option


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@socket_option
def shell(command: tuple[str, ...]) -> None:
    """Walk through pools, volumes, snapshots, targets and sessions as a tree.

    With COMMAND, run that one and exit. Where standard input is no terminal, commands are read from
    it, one a line, until one fails.

    \b
    scsi-snap shell
    scsi-snap shell ls /scsi_snap/pools
    scsi-snap shell /scsi_snap/pools/tank/vol0 snapshot monday
    """
    # Imported here: the library is an optional one, and slows every other command.
    from scsi_snap.shell import session

    if command:
        session.run_commands(client(), [" ".join(command)])
    elif sys.stdin.isatty():
        home = Path("~").expanduser()
        session.run_interactive(client(), session.preferences_directory(os.environ, home))
    else:
        session.run_commands(client(), sys.stdin)
