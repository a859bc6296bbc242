"""`scsi-snap`, and `python -m scsi_snap`: the command line."""

from __future__ import annotations

import sys


def main() -> None:
    try:
        # Within: an interrupt while modules are loaded is one too.
        from scsi_snap.cli.main import main as command_line

        command_line()
    except KeyboardInterrupt:
        print("Aborted!", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
