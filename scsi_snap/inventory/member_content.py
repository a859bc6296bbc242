"""What a file or block device holds already, before it becomes a member of a pool.

libblkid (util-linux) names file systems, volume managers, encryption and partition tables. Beyond
what it knows, and where it is not installed, whatever is not zero is somebody's: the first and the
last MiB are looked at, and `SAMPLES` places between; a hole is passed over, so that a sparse file
costs what it holds.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

END_BYTES: Final = 1 << 20
SAMPLE_BYTES: Final = 64 << 10
SAMPLES: Final = 256

_IMAGES: Final = ((b"QFI\xfb", "a qcow2 image"), (b"KDMV", "a VMDK image"), (b"vhdxfile", "VHDX"))

# From blkid.h: what a superblock is asked for, also where its checksum is wrong.
_LABEL, _TYPE, _USAGE, _BAD_CHECKSUM = 1 << 1, 1 << 5, 1 << 7, 1 << 10


def signature(path: str) -> str:
    """What is there by its signature, in words; empty where none is known."""
    descriptor = _opened(path)
    try:
        start = os.pread(descriptor, 16, 0)
        images = [name for magic, name in _IMAGES if start.startswith(magic)]
        return images[0] if images else _by_libblkid(descriptor)
    finally:
        os.close(descriptor)


def data(path: str) -> str:
    """Where there is something other than zeros, in words; empty where nothing was found."""
    descriptor = _opened(path)
    try:
        size_bytes = os.lseek(descriptor, 0, os.SEEK_END)
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        for offset, length in _places(size_bytes):
            found = _next_data(descriptor, offset) if regular else offset
            if found is not None and any(os.pread(descriptor, length, found)):
                return f"data, at byte {found} first"
        return ""
    finally:
        os.close(descriptor)


def wipe(path: str) -> None:
    """Zeroes the first and the last MiB, durably: where signatures are."""
    block = stat.S_ISBLK(Path(path).stat().st_mode)
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | (os.O_EXCL if block else 0))
    try:
        size_bytes = os.lseek(descriptor, 0, os.SEEK_END)
        for offset in {0, max(0, size_bytes - END_BYTES)}:
            os.pwrite(descriptor, bytes(min(END_BYTES, size_bytes - offset)), offset)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _opened(path: str) -> int:
    # A FIFO would hold up whoever opens it.
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)


def _places(size_bytes: int) -> list[tuple[int, int]]:
    step = max(SAMPLE_BYTES, size_bytes // SAMPLES)
    between = [(offset, SAMPLE_BYTES) for offset in range(END_BYTES, size_bytes, step)]
    return [(0, END_BYTES), (max(0, size_bytes - END_BYTES), END_BYTES), *between]


def _next_data(descriptor: int, offset: int) -> int | None:
    try:
        return os.lseek(descriptor, offset, os.SEEK_DATA)
    except OSError as error:
        # Nothing but a hole from there on; a file system without holes says EINVAL.
        return None if error.errno == errno.ENXIO else offset


def _by_libblkid(descriptor: int) -> str:
    library = _libblkid()
    probe = library.blkid_new_probe() if library else None
    if not library or not probe:
        return ""
    try:
        if library.blkid_probe_set_device(probe, descriptor, 0, 0) != 0:
            return ""
        flags = _LABEL | _TYPE | _USAGE | _BAD_CHECKSUM
        library.blkid_probe_set_superblocks_flags(probe, flags)
        library.blkid_probe_enable_partitions(probe, 1)
        if library.blkid_do_fullprobe(probe) != 0:
            return ""
        found = {
            name: _value(library, probe, name) for name in ("TYPE", "USAGE", "LABEL", "PTTYPE")
        }
    finally:
        library.blkid_free_probe(probe)
    if not found["TYPE"]:
        return f"a {found['PTTYPE']} partition table" if found["PTTYPE"] else ""
    usage = f" ({found['USAGE']})" if found["USAGE"] else ""
    label = f" labelled {found['LABEL']!r}" if found["LABEL"] else ""
    return f"{found['TYPE']}{usage}{label}"


def _value(library: ctypes.CDLL, probe: int, name: str) -> str:
    text, length = ctypes.c_char_p(), ctypes.c_size_t()
    failed = library.blkid_probe_lookup_value(
        probe, name.encode(), ctypes.byref(text), ctypes.byref(length)
    )
    return "" if failed or text.value is None else text.value.decode("utf-8", "replace")


@cache
def _libblkid() -> ctypes.CDLL | None:
    """None where it is not installed."""
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL("libblkid.so.1", use_errno=True)
        probe = ctypes.c_void_p
        library.blkid_new_probe.restype = probe
        library.blkid_free_probe.argtypes = [probe]
        library.blkid_probe_set_device.argtypes = [
            probe,
            ctypes.c_int,
            ctypes.c_int64,
            ctypes.c_int64,
        ]
        library.blkid_probe_set_superblocks_flags.argtypes = [probe, ctypes.c_int]
        library.blkid_probe_enable_partitions.argtypes = [probe, ctypes.c_int]
        library.blkid_do_fullprobe.argtypes = [probe]
        library.blkid_probe_lookup_value.argtypes = [
            probe,
            ctypes.c_char_p,
            ctypes.POINTER(ctypes.c_char_p),
            ctypes.POINTER(ctypes.c_size_t),
        ]
        return library
    return None
