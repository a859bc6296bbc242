"""Files of members: gone again when `pool create` fails, so that it can be repeated; and whether
their paths still lead to what this process has open."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from scsi_snap._native import MEMBER_TAIL_BYTES


@contextmanager
def removed_on_failure(members: Sequence[tuple[str, int | None]]) -> Iterator[None]:
    """Members are (path, size to make it with, or None for one that exists). What was there
    before is never touched, nor what has by now another size than was asked for."""
    to_make = [(Path(path), size) for path, size in members if size is not None]
    absent = [(path, size) for path, size in to_make if not path.exists()]
    try:
        yield
    except BaseException:
        for path, size in absent:
            with suppress(OSError):
                found = path.lstat()
                made = found.st_size - size in (0, MEMBER_TAIL_BYTES)
                if stat.S_ISREG(found.st_mode) and made:
                    path.unlink()
        raise


def displaced(paths: Iterable[str]) -> dict[str, str]:
    """Of members that this process has open: what is wrong with the paths that do not lead to an
    open file any more, as somebody has deleted or replaced it."""
    opened = _open_files()
    found = {}
    for path in paths:
        try:
            there = Path(path).stat()
        except FileNotFoundError:
            found[path] = "the file was deleted under the daemon"
        except OSError as error:
            found[path] = f"its path cannot be looked at: {error.strerror}"
        else:
            if _identity(there) not in opened:
                found[path] = "its path leads to another file than the one that is open"
    return found


def _identity(status: os.stat_result) -> tuple[int, int]:
    """The same for every path of one file, and for every node of one block device."""
    if stat.S_ISBLK(status.st_mode):
        return (-1, status.st_rdev)
    return (status.st_dev, status.st_ino)


def _open_files() -> set[tuple[int, int]]:
    found = set()
    for entry in os.scandir("/proc/self/fd"):
        with suppress(OSError):
            found.add(_identity(os.fstat(int(entry.name))))
    return found
