"""The controller's state directory: one owner, and files that are replaced whole.

    lock                    held by flock while a daemon runs; its text is the daemon's process id
    catalog.json            the state
    catalog.json.previous   the state before the last change, for people
    catalog.json.new        a replacement that was not finished; means nothing

Order of a replacement: write `new`, flush it, drop `previous`, link the current file as
`previous`, rename `new` over the current name, flush the directory. At each point between two
steps the current name holds the old state or the new one, whole; only `previous` may be missing.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from scsi_snap.errors import IoFailed, StateLocked


class StateDirectory:
    """Exclusive use of one directory; `release` gives it up. Raises `StateLocked`, `IoFailed`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise IoFailed(
                f"the state directory {path} cannot be used: {error.strerror}",
                "name a directory that may be written by --state; it is made where it is not there",
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(self._lock, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._lock)
            raise StateLocked(
                f"the state directory {path} is used by another daemon (process {owner})",
                "stop that daemon, or give this one a --state of its own",
            ) from error
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Lets another daemon use it; once is enough."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def read(self, name: str, limit_bytes: int) -> bytes | None:
        """The file's bytes, at most one more than `limit_bytes`; None where there is no file."""
        try:
            with (self.path / name).open("rb") as file:
                return file.read(limit_bytes + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise IoFailed(f"{self.path / name} cannot be read: {error.strerror}") from error

    def replace(self, name: str, content: bytes) -> None:
        """Makes `content` the file `name`: durable when it returns. Raises `IoFailed`, and then
        the old content may be there, or, where only the last flush failed, the new."""
        new, previous = f"{name}.new", f"{name}.previous"
        try:
            self._write_flushed(new, content)
            self._remove(previous)
            self._link(name, previous)
            self._rename(new, name)
            self._flush_directory()
        except OSError as error:
            raise IoFailed(
                f"{self.path / name} cannot be replaced: {error.strerror or error}",
                "the change was not made; see that the state directory is writable and has room",
            ) from error

    def remove(self, name: str) -> None:
        """Removes the file and what replacements have left; there may be none. A power cut may
        bring it back. Raises `IoFailed`."""
        try:
            for each in (name, f"{name}.previous", f"{name}.new"):
                self._remove(each)
        except OSError as error:
            raise IoFailed(f"{self.path / name} cannot be removed: {error.strerror}") from error

    def _write_flushed(self, name: str, content: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.path / name, flags, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)
            file.write(content)
            file.flush()
            os.fsync(descriptor)

    def _remove(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)

    def _link(self, name: str, also: str) -> None:
        if (self.path / name).exists():
            os.link(self.path / name, self.path / also)

    def _rename(self, old: str, new: str) -> None:
        (self.path / old).rename(self.path / new)

    def _flush_directory(self) -> None:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
