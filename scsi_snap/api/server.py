"""The API on a Unix socket, inside the daemon's event loop. Who may connect is decided by the
file system: the socket is 0600, and a directory that is made for it 0700.
"""

from __future__ import annotations

import asyncio
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from scsi_snap import limits
from scsi_snap.errors import Busy, IoFailed

STOP_WAIT_S = 30
"""What requests that run are given when the daemon stops."""


class ApiServer:
    """Listens from construction on; `start` serves; `stop` ends requests, removes the socket."""

    def __init__(self, app: FastAPI, path: Path) -> None:
        self._path = path
        self._socket = listen_on(path)
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            access_log=False,
            lifespan="on",
            limit_concurrency=limits.API_CONNECTIONS_MAX,
            timeout_graceful_shutdown=STOP_WAIT_S,
            server_header=False,
        )
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))

    async def stop(self) -> None:
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        self._socket.close()
        self._path.unlink(missing_ok=True)


class _Server(uvicorn.Server):
    """Leaves signals to the daemon."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen_on(path: Path) -> socket.socket:
    """A listening socket at `path`. A stale one (nobody answers) is replaced, a live one is not."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_stale(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # Bound under another name and renamed: nobody connects before the mode is set.
        hidden = path.with_name(f".{path.name}.new")
        hidden.unlink(missing_ok=True)
        listener.bind(str(hidden))
        hidden.chmod(0o600)
        listener.listen()
        hidden.rename(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise IoFailed(
            f"the control socket {path} cannot be made: {reason}", "choose another by --socket"
        ) from error
    return listener


def _remove_stale(path: Path) -> None:
    if not path.exists():
        return
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise IoFailed(f"{path} is there and is no socket", "choose another by --socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(5)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise Busy(f"another daemon answers on {path}", "stop that one, or choose another by --socket")
