"""Files and block devices before they become members: what may be used, what is made, and what is
gone again when `pool create` fails, so that it can be repeated; and whether the paths of members
still lead to what this process has open.

Somebody's data is not overwritten without a word (`member_content`). What a destroyed pool left
free is taken as it is, and so is a file of exactly the size that it is to be made with.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from scsi_snap import units
from scsi_snap._native import MEMBER_TAIL_BYTES
from scsi_snap.errors import InvalidArgument, MemberRefused
from scsi_snap.inventory import member_content
from scsi_snap.inventory.native import MemberMark

MemberToMake = tuple[str, int | None]
"""A member's path, and the size to make it with (None: it exists)."""


def usable(
    members: Sequence[MemberToMake], mark_of: Callable[[str], MemberMark], force: bool
) -> list[MemberToMake]:
    """`members` as the data path is to take them: those that are to be made and are there already,
    in that size, are used as they are. With `force` what they hold is wiped; nothing is written
    before all have been looked at. Raises `MemberRefused` with what was found."""
    found = [_present(path, size_bytes) for path, size_bytes in members]
    to_wipe = []
    for path, size_bytes in found:
        content = "" if size_bytes is not None else _content(path, mark_of(path))
        if content and not force:
            raise MemberRefused(
                f"the member {path} holds {content}",
                "name another one; `--force` wipes it, and what it holds is lost",
            )
        if content:
            to_wipe.append(path)
    for path in to_wipe:
        member_content.wipe(path)
    return found


def _present(path: str, size_bytes: int | None) -> MemberToMake:
    if size_bytes is None:
        return path, None
    try:
        there = Path(path).stat()
    except FileNotFoundError:
        _refuse_among_devices(path)
        return path, size_bytes
    if not stat.S_ISREG(there.st_mode):
        raise MemberRefused(
            f"the member {path} is there and is not a file", "name a device without :SIZE"
        )
    if there.st_size == 0:
        return path, size_bytes
    if not has_size(path, size_bytes):
        has, wanted = map(units.format_size, (there.st_size, size_bytes))
        raise MemberRefused(
            f"the member {path} is there already, with {has} instead of {wanted}",
            "name it without :SIZE to use it as it is, or remove it",
        )
    return path, None


def _refuse_among_devices(path: str) -> None:
    """A mistyped device must not become a file in memory."""
    parent = Path(path).parent.resolve()
    with suppress(OSError):
        beside_devices = parent.stat().st_dev == Path("/dev").stat().st_dev
        if beside_devices and parent.is_relative_to("/dev"):
            raise InvalidArgument(
                f"there is no device {path}, and a file among devices is lost at a restart",
                "`lsblk` shows the devices; files belong on a file system",
            )


def _content(path: str, mark: MemberMark) -> str:
    """What would be lost, in words."""
    match mark.kind:
        case "member":
            return f"a member of pool {mark.pool}"
        case "free":
            return member_content.signature(path)
        case _:
            return member_content.signature(path) or member_content.data(path)


@contextmanager
def removed_on_failure(members: Sequence[MemberToMake]) -> Iterator[None]:
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
                # Empty: it could be made, and not with that size.
                made = found.st_size in (0, size, size + MEMBER_TAIL_BYTES)
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


def delete_free(path: str, mark_of: Callable[[str], MemberMark]) -> bool:
    """Removes a file that a destroyed pool has left free; whether it did. Devices stay."""
    if not stat.S_ISREG(Path(path).stat().st_mode) or mark_of(path).kind != "free":
        return False
    Path(path).unlink()
    return True


def is_file(path: str) -> bool:
    with suppress(OSError):
        return stat.S_ISREG(Path(path).stat().st_mode)
    return False


def has_size(path: str, size_bytes: int) -> bool:
    """Whether the file is as long as one that was made with this size."""
    return Path(path).stat().st_size - size_bytes in (0, MEMBER_TAIL_BYTES)
