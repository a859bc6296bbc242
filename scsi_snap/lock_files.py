"""Files that say, by flock, that one process uses what lies beside them."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path


def locked_file(path: Path) -> int:
    """The descriptor of the file, which holds its lock until it is closed; its text is our process
    id. It and its directory (0700) are made where they are missing. Raises `BlockingIOError`, which
    names the other process, where another one holds it."""
    # Ends: the file was removed only as often as somebody removes it.
    while True:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_at(path, descriptor):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
                return descriptor
        except BlockingIOError as error:
            owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise BlockingIOError(errno.EWOULDBLOCK, f"process {owner}") from error
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def is_at(path: Path, descriptor: int) -> bool:
    """Whether what is open is what that name stands for now."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except OSError:
        return False
