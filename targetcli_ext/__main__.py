"""`scsi-snap-targetcli`, or `python -m targetcli_ext`: targetcli with our nodes, typed as ever."""

from __future__ import annotations

import os
import sys

from scsi_snap.api.client import Client, default_socket
from scsi_snap.cli.exit_codes import EXIT_CODES
from scsi_snap.errors import ScsiSnapError
from targetcli_ext import stock


def main() -> None:
    try:
        program = stock.load()
        # After it: the nodes are made of the configshell that targetcli has loaded.
        from targetcli_ext.graft import graft

        graft(program, Client(default_socket(os.environ, os.getuid())))
    except ScsiSnapError as error:
        print(f"error: {error.message}\n  {error.hint}", file=sys.stderr)
        sys.exit(EXIT_CODES[error.code])
    program.main()


if __name__ == "__main__":
    main()
