"""The API's client, for the other faces: standard library only, so that they start quickly."""

from __future__ import annotations

import http.client
import json
import os
import socket
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from scsi_snap import limits
from scsi_snap.errors import DaemonUnreachable, InvalidArgument, NotPermitted, Refused, error_of

SOCKET_VARIABLE = "SCSI_SNAP_SOCKET"


def default_socket(environment: Mapping[str, str], user_id: int) -> Path:
    """`SCSI_SNAP_SOCKET`, else under /run for root, else under the user's runtime directory, else,
    where the user has none, under a directory in /tmp that is the user's alone. Raises
    `NotPermitted` where somebody else has made that one."""
    chosen = environment.get(SOCKET_VARIABLE)
    if chosen:
        return Path(chosen)
    if user_id == 0:
        return Path("/run/scsi-snap/control.sock")
    runtime = environment.get("XDG_RUNTIME_DIR")
    if runtime:
        return Path(runtime) / "scsi-snap/control.sock"
    made_at_login = Path(f"/run/user/{user_id}")
    if made_at_login.is_dir():
        return made_at_login / "scsi-snap/control.sock"
    # Who owns it is looked at, so that nobody else's is used.
    return _own(Path(f"/tmp/scsi-snap-{user_id}"), user_id) / "control.sock"  # noqa: S108


def _own(directory: Path, user_id: int) -> Path:
    with suppress(FileNotFoundError):
        found = directory.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != user_id or found.st_mode & 0o077:
            raise NotPermitted(
                f"{directory} is not a directory of this user alone",
                f"remove it, or name the control socket by --socket or {SOCKET_VARIABLE}",
            )
    return directory


class Client:
    """One daemon, by the path of its socket. Each call is one connection."""

    def __init__(
        self, socket_path: Path, timeout_s: float | None = limits.CLIENT_TIMEOUT_S
    ) -> None:
        self._socket_path = socket_path
        self._timeout_s = timeout_s

    def get(self, *parts: str | int, **query: str | float | bool | None) -> Any:
        return self._call("GET", parts, query, None)

    def post(self, *parts: str | int, body: object = None, **query: str | bool | None) -> Any:
        return self._call("POST", parts, query, body)

    def put(self, *parts: str | int, body: object = None) -> Any:
        return self._call("PUT", parts, {}, body)

    def patch(self, *parts: str | int, body: object) -> Any:
        return self._call("PATCH", parts, {}, body)

    def delete(self, *parts: str | int, **query: str | bool | list[str] | None) -> Any:
        return self._call("DELETE", parts, query, None)

    def _call(
        self,
        method: str,
        parts: tuple[str | int, ...],
        query: Mapping[str, str | float | bool | list[str] | None],
        body: object,
    ) -> Any:
        """The answer's JSON. Raises the error that the daemon answered, or `DaemonUnreachable`."""
        given = {name: value for name, value in query.items() if value is not None}
        try:
            path = "/v1/" + "/".join(quote(str(part), safe="") for part in parts)
            if given:
                path += "?" + urlencode(given, doseq=True)
        except UnicodeEncodeError as error:
            text = error.object
            raise InvalidArgument(f"{text!r} is not UTF-8", "names are ASCII") from error
        connection = _UnixConnection(self._socket_path, self._timeout_s)
        try:
            content = None if body is None else json.dumps(body)
            headers = {} if content is None else {"Content-Type": "application/json"}
            connection.request(method, path, content, headers)
            response = connection.getresponse()
            content_read = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()
        return _answer(response.status, content_read)

    def _unreachable(self, error: Exception) -> DaemonUnreachable:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        hint = (
            "start one by `scsi-snap daemon --state DIR`, or name its socket by --socket"
            f" or {SOCKET_VARIABLE}"
        )
        if isinstance(error, PermissionError):
            hint = "only the user who runs the daemon, and root, may open its socket"
        return DaemonUnreachable(f"no daemon answers on {self._socket_path}: {reason}", hint)


def _answer(status: int, content: bytes) -> Any:
    try:
        answer = json.loads(content)
    except ValueError as error:
        # The HTTP server's own words, when more requests are under way than it takes.
        text = content[:200].decode("utf-8", "replace")
        raise Refused(f"the daemon answered {status}: {text}", "try again in a while") from error
    if status < 400:
        return answer
    if not isinstance(answer, dict):
        answer = {}
    message = answer.get("message", f"status {status}, and no word why")
    raise error_of(answer.get("code", ""), message, answer.get("hint", ""))


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float | None) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(os.fspath(self._path))
