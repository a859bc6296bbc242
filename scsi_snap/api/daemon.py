"""The daemon as it is started: the control service with the API as its face and the real data
path underneath."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from math import inf
from pathlib import Path

from scsi_snap.control import daemon
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
    options = daemon.Options(
        state_directory, listen, control_socket, erase_bytes_per_s, lio, lio_listen
    )
    asyncio.run(daemon.serve(options, lambda: load_data_path(threads), make_face, announce))


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
