"""`scsi-snap`: the root of the command line."""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module
from typing import Any

import click

from scsi_snap import __version__
from scsi_snap.cli.context import ErrorReportingGroup, socket_option

COMMANDS = {
    "daemon": "daemon_cmd",
    "pool": "pool_cmd",
    "volume": "volume_cmd",
    "snapshot": "snapshot_cmd",
    "target": "target_cmd",
    "lun": "lun_cmd",
    "portal": "portal_cmd",
    "discovery": "portal_cmd",
    "session": "session_cmd",
    "shell": "shell_cmd",
    "check": "daemon_cmd",
    "events": "event_cmd",
    "status": "daemon_cmd",
    "health": "daemon_cmd",
}
"""What is under `scsi-snap`, and the module that has it by that name."""


COMPLETION_VARIABLE = "_SCSI_SNAP_COMPLETE"


class Root(ErrorReportingGroup):
    """Imports the module of the command that is asked for, and no other."""

    def main(self, *args: Any, **extra: Any) -> Any:
        if COMPLETION_VARIABLE in os.environ:
            from scsi_snap.cli.bash_completion import register

            register()
        return super().main(*args, **extra)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        found = getattr(import_module(f"scsi_snap.cli.{module}"), cmd_name)
        assert isinstance(found, click.Command)
        return found


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="scsi-snap")
@socket_option
def cli() -> None:
    """A SCSI target with copy-before-write snapshots.

    Names: POOL, POOL/VOLUME, POOL/VOLUME@SNAPSHOT. Start with `scsi-snap daemon --state DIR`.
    """


def main() -> None:
    # A path that the terminal's encoding lacks must not end a command half-way.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    cli(prog_name="scsi-snap")
