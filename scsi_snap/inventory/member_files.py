"""Member files that `pool create` makes: gone again when it fails, so that it can be repeated."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path


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
                if stat.S_ISREG(found.st_mode) and found.st_size == size:
                    path.unlink()
        raise
