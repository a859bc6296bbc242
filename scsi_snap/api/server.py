"""The API on a Unix socket, inside the daemon's event loop. Who may connect is decided by the
file system: the socket is 0600, and a directory that is made for it 0700.

The socket is bound at its own name: what cleans directories up looks for that in the kernel's list
of sockets. A lock file beside it, `NAME.lock`, says whose the name is, so that of two daemons one
gives way, and each removes only what it has made.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from scsi_snap import limits
from scsi_snap.errors import Busy, IoFailed
from scsi_snap.lock_files import is_at, locked_file

_BACKLOG = 64
STOP_WAIT_S = 30
"""What requests that run are given when the daemon stops."""


class ApiServer:
    """Listens from construction on; `start` serves; `stop` ends requests, removes the socket."""

    def __init__(self, app: FastAPI, path: Path) -> None:
        self._listener = ControlSocket(path)
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            access_log=False,
            lifespan="on",
            limit_concurrency=limits.API_CONNECTIONS_MAX,
            # How often the loop tries to accept in a row, and complains where it cannot.
            backlog=_BACKLOG,
            timeout_graceful_shutdown=STOP_WAIT_S,
            server_header=False,
        )
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._server.serve(sockets=[self._listener.socket]))

    async def stop(self) -> None:
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        self._listener.close()


class _Server(uvicorn.Server):
    """Leaves signals to the daemon."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class ControlSocket:
    """A listening socket at `path`. One that nobody answers on is replaced; raises `Busy` where
    somebody does, `IoFailed` where there cannot be one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock_path = path.with_name(f"{path.name}.lock")
        try:
            self._lock = locked_file(self._lock_path)
        except BlockingIOError as error:
            raise _answered(path, error.strerror) from error
        except OSError as error:
            raise _impossible(path, error) from error
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _remove_stale(path)
            # Before it has a name: nobody else can connect at any moment.
            os.fchmod(self.socket.fileno(), 0o600)
            self.socket.bind(str(path))
            self._made = path.lstat()
            self.socket.listen(_BACKLOG)
        except OSError as error:
            self._release()
            raise _impossible(path, error) from error
        except BaseException:
            self._release()
            raise

    def close(self) -> None:
        with suppress(OSError):
            if os.path.samestat(self._path.lstat(), self._made):
                self._path.unlink()
        self._release()

    def _release(self) -> None:
        self.socket.close()
        # While it is locked: who waits for it finds that it has gone, and makes another one.
        if is_at(self._lock_path, self._lock):
            self._lock_path.unlink(missing_ok=True)
        os.close(self._lock)


def _remove_stale(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise IoFailed(f"{path} is there and is no socket", "choose another by --socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(5)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise _answered(path, "which has lost its lock file")


def _answered(path: Path, who: str | None) -> Busy:
    return Busy(
        f"another daemon answers on {path} ({who})", "stop that one, or choose another by --socket"
    )


def _impossible(path: Path, error: OSError) -> IoFailed:
    reason = error.strerror or str(error)
    return IoFailed(
        f"the control socket {path} cannot be made: {reason}", "choose another by --socket"
    )
