"""The controller's state directory: one owner, and files that are replaced whole.

    lock                    held by flock while a daemon runs; its text is the daemon's process id
    catalog.json            the state
    catalog.json.previous   the state before the last change, for people
    catalog.json.new        a replacement that was not finished; means nothing

Order of a replacement: write `new`, flush it, drop `previous`, link the current file as
`previous`, rename `new` over the current name, flush the directory. At each point between two
steps the current name holds the old state or the new one, whole; only `previous` may be missing.

A directory that was removed, or that another one has replaced, is not this daemon's any more:
nothing is written there, since another daemon may have locked what is there now.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from scsi_snap.errors import IoFailed, StateLocked
from scsi_snap.lock_files import is_at, locked_file


class StateDirectory:
    """Exclusive use of one directory; `release` gives it up. Raises `StateLocked`, `IoFailed`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._lock = locked_file(path / "lock")
        except BlockingIOError as error:
            raise StateLocked(
                f"the state directory {path} is used by another daemon ({error.strerror})",
                "stop that daemon, or give this one a --state of its own",
            ) from error
        except OSError as error:
            raise IoFailed(
                f"the state directory {path} cannot be used: {error.strerror}",
                "name a directory that may be written by --state; it is made where it is not there",
            ) from error

    def release(self) -> None:
        """Lets another daemon use it; once is enough."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def read(self, name: str, limit_bytes: int) -> bytes | None:
        """The file's bytes, at most one more than `limit_bytes`; None where there is no file."""
        try:
            # Not waiting for who writes into a FIFO.
            descriptor = os.open(self.path / name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise IoFailed(
                        f"{self.path / name} is not a regular file",
                        "remove it, or restore the file",
                    )
                return file.read(limit_bytes + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise IoFailed(f"{self.path / name} cannot be read: {error.strerror}") from error

    def check(self) -> None:
        """Raises `StateLocked` where the directory is not the one that is locked."""
        if not is_at(self.path / "lock", self._lock):
            raise StateLocked(
                f"the state directory {self.path} was removed or replaced while the daemon used it",
                "stop this daemon, and start one over the directory that is to count",
            )

    def replace(self, name: str, content: bytes) -> None:
        """Makes `content` the file `name`: durable when it returns. Raises `IoFailed`, and then
        the old content may be there, or, where only the last flush failed, the new."""
        new, previous = f"{name}.new", f"{name}.previous"
        self.check()
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
        self.check()
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
