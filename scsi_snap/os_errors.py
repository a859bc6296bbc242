"""What the operating system refuses, as an error of ours: the one table from errno to kind and
hint.

Both sides go through it: the daemon for every verb (`api.app`), for the reasons of the data path
(`inventory.native`) and for its state directory; the command line for its own files.
"""

from __future__ import annotations

import errno
import os
import re

from scsi_snap.errors import (
    Busy,
    InvalidArgument,
    IoFailed,
    LimitReached,
    NoSpace,
    NotFound,
    NotPermitted,
    ReadOnly,
    ScsiSnapError,
)

_PERMISSION = (
    "see that the user who runs the daemon may search every directory above it, and use it"
)
_TABLE: dict[int, tuple[type[ScsiSnapError], str]] = {
    errno.EACCES: (NotPermitted, _PERMISSION),
    errno.EPERM: (NotPermitted, _PERMISSION),
    errno.ENOENT: (NotFound, "see that the path is right, and that its directory exists"),
    errno.ENOTDIR: (InvalidArgument, "a part of the path is a file, not a directory"),
    errno.EISDIR: (InvalidArgument, "it is a directory; name a file or block device"),
    errno.ELOOP: (InvalidArgument, "its symbolic links lead in a circle"),
    errno.ENAMETOOLONG: (InvalidArgument, "each part of a path has at most 255 bytes"),
    errno.EFBIG: (InvalidArgument, "the file system has no files of that size; name a smaller one"),
    errno.EOVERFLOW: (InvalidArgument, "name a smaller size"),
    errno.EBUSY: (Busy, "it is mounted, or another program holds it"),
    errno.ETXTBSY: (Busy, "another program holds it"),
    errno.EROFS: (ReadOnly, "its file system is read-only; under systemd, see ReadWritePaths"),
    errno.ENOSPC: (NoSpace, "free some space on its file system"),
    errno.EDQUOT: (NoSpace, "the user's quota is used up"),
    errno.ENOMEM: (LimitReached, "the machine is out of memory"),
    errno.EMFILE: (LimitReached, "raise the limit on open files (LimitNOFILE, `ulimit -n`)"),
    errno.ENFILE: (LimitReached, "raise the machine's limit on open files (fs.file-max)"),
    errno.ENODEV: (IoFailed, "the device is not there any more"),
    errno.ENXIO: (IoFailed, "the device is not there any more"),
    errno.EIO: (IoFailed, "the kernel's log tells more"),
}
_IN_WORDS = re.compile(r"\(os error ([0-9]+)\)")


def of_os_error(error: OSError, what: str = "") -> ScsiSnapError:
    """`what` says what was being done; without it, the error's own path stands for it."""
    kind, hint = _TABLE.get(error.errno or 0, (IoFailed, ""))
    place = what or ("" if error.filename is None else os.fsdecode(error.filename))
    return kind(": ".join(filter(None, (place, reason(error)))), hint)


def reason(error: OSError) -> str:
    """The error without its path and number."""
    return error.strerror or str(error) or type(error).__name__


def hint_in(text: str) -> str:
    """The hint for the errno that the data path has put into words; empty where there is none."""
    found = _IN_WORDS.search(text)
    return _TABLE.get(int(found[1]), (IoFailed, ""))[1] if found else ""
