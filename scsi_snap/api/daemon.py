"""The daemon as it is started: the control service with the API as its face and the real data
path underneath."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Sequence
from math import inf
from pathlib import Path

from scsi_snap import limits
from scsi_snap.control import daemon, log_output
from scsi_snap.control.service import Service
from scsi_snap.errors import InternalError
from scsi_snap.inventory.native import DataPath


def run(
    state_directory: Path,
    listen: Sequence[str],
    control_socket: Path,
    threads: int,
    erase_bytes_per_s: float = inf,
    lio: bool = True,
    lio_listen: Sequence[str] = (),
) -> None:
    """Runs until SIGTERM. Raises `ScsiSnapError` when it cannot start."""
    log_output.begin()
    _raise_descriptor_limit()
    options = daemon.Options(
        state_directory, listen, control_socket, erase_bytes_per_s, lio, lio_listen
    )
    asyncio.run(daemon.serve(options, lambda: load_data_path(threads), make_face, announce))


def _raise_descriptor_limit() -> None:
    """Members, sessions and requests have a descriptor each; the usual soft limit is for the sake
    of select(2), which is not used here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = limits.DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, limits.DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def load_data_path(threads: int) -> DataPath:
    try:
        from scsi_snap.inventory.native_data_path import NativeDataPath
    except ImportError as error:
        raise InternalError(
            f"the data path cannot be loaded: {error}",
            "build it by `pip install .` in a checkout, or install a wheel",
        ) from error
    return NativeDataPath(threads)


def make_face(service: Service, control_socket: Path) -> daemon.Face:
    # Imported when initiators have what they wait for after a restart: it takes its time.
    from scsi_snap.api.app import make_app
    from scsi_snap.api.server import ApiServer

    return ApiServer(make_app(service), control_socket)


def announce(line: str) -> None:
    print(line, flush=True)
