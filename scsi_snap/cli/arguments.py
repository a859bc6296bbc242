"""Types of arguments: sizes, ranges of blocks, members."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from scsi_snap.errors import InvalidArgument
from scsi_snap.units import parse_block_range, parse_size


class Size(click.ParamType[int]):
    """`64KiB`, `10GiB`, `4096`, in bytes."""

    name = "size"

    def convert(self, value: Any, *_: object) -> int:
        return value if isinstance(value, int) else parse_size(value)


class NewSize(click.ParamType[tuple[bool, int]]):
    """`20GiB`, or `+5GiB`: whether it is added to the size now, and the bytes."""

    name = "size"

    def convert(self, value: Any, *_: object) -> tuple[bool, int]:
        if isinstance(value, tuple):
            return value
        text = str(value)
        return text.startswith("+"), parse_size(text.removeprefix("+"))


class BlockRange(click.ParamType[tuple[int, int]]):
    """`LBA+COUNT`."""

    name = "lba+count"

    def convert(self, value: Any, *_: object) -> tuple[int, int]:
        return value if isinstance(value, tuple) else parse_block_range(value)


def member(text: str) -> tuple[str, int | None]:
    """`PATH` or `PATH:SIZE` as (absolute path, size to make it with). A file whose name ends like
    a size is taken as it is where it exists."""
    path, colon, size = text.rpartition(":")
    # What this user may not look at is for the daemon to judge.
    if not colon or os.path.exists(text):  # noqa: PTH110
        return absolute(text), None
    try:
        return absolute(path), parse_size(size)
    except InvalidArgument:
        if size[:1].isdigit():
            raise
        return absolute(text), None


def absolute(path: str) -> str:
    """The daemon has a working directory of its own. Symbolic links stay: /dev/disk/by-id names
    outlive a reboot, what they point to may not."""
    return path if path.startswith("rbd:") else str(Path(path).absolute())


def volume_parts(name: str) -> tuple[str, str]:
    """POOL/VOLUME as the API's paths have it; what a name may be is decided there."""
    pool, slash, volume = name.partition("/")
    if not slash or not pool or not volume or "@" in name:
        raise InvalidArgument(f"{name!r} is not a volume", "write POOL/VOLUME, like tank/vol0")
    return pool, volume


def snapshot_parts(name: str) -> tuple[str, str, str]:
    """POOL/VOLUME@SNAPSHOT as the API's paths have it."""
    origin, _, snapshot = name.partition("@")
    pool, slash, volume = origin.partition("/")
    if not slash or not pool or not volume or not snapshot:
        raise InvalidArgument(
            f"{name!r} is not a snapshot", "write POOL/VOLUME@SNAPSHOT, like tank/vol0@monday"
        )
    return pool, volume, snapshot
