"""The built data path, for tests of any floor: one runtime, and room for members in memory."""

from __future__ import annotations

import atexit
import functools
import os
import tempfile
from pathlib import Path

from scsi_snap import _native

MIB = 1 << 20
SHARED_MEMORY = Path("/dev/shm")


@functools.cache
def runtime() -> _native.Runtime:
    """The process's only runtime."""
    made = _native.Runtime(2)
    atexit.register(made.stop)
    return made


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A directory in memory where there is one that can be written."""
    in_memory = SHARED_MEMORY.is_dir() and os.access(SHARED_MEMORY, os.W_OK)
    return tempfile.TemporaryDirectory(
        prefix="scsi-snap-test-", dir=SHARED_MEMORY if in_memory else None
    )


def copy_sparsely(source: Path, destination: Path) -> None:
    """Copies what a file holds, and its holes as holes."""
    with source.open("rb") as reading, destination.open("wb") as writing:
        size = os.fstat(reading.fileno()).st_size
        writing.truncate(size)
        start = 0
        while start < size:
            try:
                start = os.lseek(reading.fileno(), start, os.SEEK_DATA)
            except OSError:
                return
            end = os.lseek(reading.fileno(), start, os.SEEK_HOLE)
            while start < end:
                piece = os.pread(reading.fileno(), min(MIB, end - start), start)
                start += os.pwrite(writing.fileno(), piece, start)
