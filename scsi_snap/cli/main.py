"""`scsi-snap`: the root of the command line."""

from __future__ import annotations

import io
import sys

import click

from scsi_snap import __version__
from scsi_snap.cli.context import ErrorReportingGroup, socket_option
from scsi_snap.cli.daemon_cmd import check, daemon, status
from scsi_snap.cli.event_cmd import events
from scsi_snap.cli.lun_cmd import lun
from scsi_snap.cli.pool_cmd import pool
from scsi_snap.cli.portal_cmd import discovery, portal
from scsi_snap.cli.session_cmd import session
from scsi_snap.cli.shell_cmd import shell
from scsi_snap.cli.snapshot_cmd import snapshot
from scsi_snap.cli.target_cmd import target
from scsi_snap.cli.volume_cmd import volume


@click.group(cls=ErrorReportingGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="scsi-snap")
@socket_option
def cli() -> None:
    """A SCSI target with copy-before-write snapshots.

    Names: POOL, POOL/VOLUME, POOL/VOLUME@SNAPSHOT. Start with `scsi-snap daemon --state DIR`.
    """


for command in (
    daemon,
    pool,
    volume,
    snapshot,
    target,
    lun,
    portal,
    discovery,
    session,
    shell,
    check,
    events,
    status,
):
    cli.add_command(command)


def main() -> None:
    # A path that the terminal's encoding lacks must not end a command half-way.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    cli(prog_name="scsi-snap")
