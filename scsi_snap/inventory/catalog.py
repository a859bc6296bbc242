"""The durable catalog of the controller: `State` in one file, versioned and checksummed.

Format, write order and what to do with a damaged file: docs/formats/catalog.md.

Invariants: what `state` shows is what is on disk; a change is durable when `update` returns, and
not made when it raises. Readers take `state` without a lock: it is replaced, never changed.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable

from scsi_snap import limits
from scsi_snap.errors import StateDamaged
from scsi_snap.inventory.catalog_versions import VERSION, upgraded
from scsi_snap.inventory.records import Json, State
from scsi_snap.inventory.state_directory import StateDirectory

FILE = "catalog.json"
FORMAT = "scsi_snap catalog"


class NewerVersion(ValueError):
    """A catalog that a newer scsi_snap has written."""


class Catalog:
    """Opens the state in `directory`; an empty directory is an empty state."""

    def __init__(self, directory: StateDirectory) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._state, self._sequence = _load(directory)

    @property
    def state(self) -> State:
        return self._state

    def check_place(self) -> None:
        """Raises `StateLocked` where a change would go to another directory than it came from."""
        self._directory.check()

    def update(self, change: Callable[[State], State]) -> State:
        """Applies `change` to the state as it is; what `change` raises is passed on."""
        with self._lock:
            state = change(self._state)
            if state != self._state:
                self._directory.replace(FILE, encode(state, self._sequence + 1))
                self._state, self._sequence = state, self._sequence + 1
            return state


def encode(state: State, sequence: int) -> bytes:
    """The bytes of the file: what the checksum is of, and the checksum behind it."""
    body: Json = {
        "format": FORMAT,
        "version": VERSION,
        "sequence": sequence,
        "state": state.to_json(),
    }
    text = _canonical(body)
    return f'{text[:-1]},"sha256":"{_digest(text)}"}}\n'.encode()


def decode(content: bytes) -> tuple[State, int]:
    """State and sequence number of a file's bytes. Raises `ValueError` with what is wrong."""
    if len(content) > limits.CATALOG_BYTES_MAX:
        raise ValueError("it is too large to be a catalog")
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON ({error})") from error
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        raise ValueError("it is not a catalog of scsi_snap")
    version = body.get("version")
    if type(version) is int and version > VERSION:
        raise NewerVersion(f"its version is {version}; this scsi_snap reads 1 to {VERSION}")
    if type(version) is not int or version < 1:
        raise ValueError(f"its version is {version!r}; this scsi_snap reads 1 to {VERSION}")
    if body.pop("sha256", None) != _digest(_canonical(body)):
        raise ValueError("its checksum is wrong")
    sequence = body.get("sequence")
    if not isinstance(sequence, int) or isinstance(sequence, bool) or sequence < 1:
        raise ValueError("its sequence number is wrong")
    return State.from_json(upgraded(body.get("state"), version)), sequence


def _canonical(body: Json) -> str:
    return json.dumps(body, sort_keys=True, separators=(",", ":"))


def _digest(canonical: str) -> str:
    return hashlib.sha256(canonical.encode()).hexdigest()


def _load(directory: StateDirectory) -> tuple[State, int]:
    content = directory.read(FILE, limits.CATALOG_BYTES_MAX)
    if content is None:
        if directory.read(f"{FILE}.previous", limits.CATALOG_BYTES_MAX) is not None:
            raise _damaged(directory, "it is missing, though an earlier state is there")
        return State(), 0
    try:
        return decode(content)
    except NewerVersion as error:
        raise StateDamaged(
            f"{directory.path / FILE} was written by a newer scsi_snap: {error}",
            "start that one again; nothing was changed",
        ) from error
    except ValueError as error:
        raise _damaged(directory, str(error)) from error


def _damaged(directory: StateDirectory, reason: str) -> StateDamaged:
    """A catalog that is not trusted is left as it is: guessing could show a LUN to the wrong
    initiators. The hint offers the earlier state where that one can be trusted."""
    path = directory.path / FILE
    anew = "start with another --state directory and `scsi-snap pool import`: pools lose nothing"
    earlier = directory.read(f"{FILE}.previous", limits.CATALOG_BYTES_MAX)
    try:
        _, sequence = decode(earlier or b"")
    except ValueError:
        return StateDamaged(f"{path} cannot be trusted: {reason}", anew)
    return StateDamaged(
        f"{path} cannot be trusted: {reason}",
        f"the state before the last change (number {sequence}) is whole: "
        f"`cp {path}.previous {path}` goes back to it; or {anew}",
    )
