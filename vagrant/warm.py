"""`scsi-snap` for scenarios without a start of Python for each verb, which takes long emulated.

    warm.py REQUESTS

imports all of scsi_snap once, the daemon's part too, and then reads requests from the named pipe
REQUESTS, a line each, quoted as for the shell: `DIRECTORY VERB [ARGUMENT]...`. Each verb runs in a
process of its own, as if started by itself, forked before any thread exists. In DIRECTORY: `pid`,
its process; `out` and `err`, what it says; `status`, as soon as it has ended: its exit status, or
minus the signal that ended it. Where `done` is a named pipe, a line is written there then.
"""

import contextlib
import os
import shlex
import signal
import sys
from pathlib import Path

# What `scsi-snap daemon` imports as it starts.
import scsi_snap.api.app
import scsi_snap.api.daemon
import scsi_snap.api.server
import scsi_snap.inventory.native_data_path
import scsi_snap.lio.rtslib_target
import scsi_snap.lio.tcmu_events  # noqa: F401
from scsi_snap.cli.main import main as scsi_snap_main


def serve(requests: Path) -> None:
    """Until it is killed. Opened for writing too, so that the pipe never ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with os.fdopen(os.open(requests, os.O_RDWR)) as lines:
        for line in lines:
            directory, *words = shlex.split(line)
            if os.fork() == 0:
                keep(Path(directory), words)
                os._exit(0)


def keep(directory: Path, words: list[str]) -> None:
    """Runs one verb, and tells how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    process = os.fork()
    if process == 0:
        run(directory, words)
    (directory / "pid").write_text(str(process))
    _, ended = os.waitpid(process, 0)
    status = str(os.waitstatus_to_exitcode(ended))
    with contextlib.suppress(FileNotFoundError):
        (directory / "status.new").write_text(status)
        (directory / "status.new").rename(directory / "status")
        if (directory / "done").exists():
            (directory / "done").write_text(status + "\n")


def run(directory: Path, words: list[str]) -> None:
    """The verb itself, in this process."""
    os.setsid()
    for descriptor, path, how in (
        (0, Path(os.devnull), os.O_RDONLY),
        (1, directory / "out", os.O_WRONLY | os.O_CREAT | os.O_APPEND),
        (2, directory / "err", os.O_WRONLY | os.O_CREAT | os.O_APPEND),
    ):
        os.dup2(os.open(path, how, 0o644), descriptor)
    os.closerange(3, 64)
    sys.argv = ["scsi-snap", *words]
    status: object = 0
    try:
        scsi_snap_main()
    except SystemExit as end:
        status = end.code
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else 0 if status is None else 1)


serve(Path(sys.argv[1]))
