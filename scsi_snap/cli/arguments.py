"""Types of arguments: sizes, ranges of blocks, members."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from scsi_snap.errors import InvalidArgument
from scsi_snap.units import parse_block_range, parse_size


class Size(click.ParamType[int]):
    """`64KiB`, `10GiB`, `4096`, in bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        return value if isinstance(value, int) else parse_size(value)


class BlockRange(click.ParamType[tuple[int, int]]):
    """`LBA+COUNT`."""

    name = "lba+count"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        return value if isinstance(value, tuple) else parse_block_range(value)


def member(text: str) -> tuple[str, int | None]:
    """`PATH` or `PATH:SIZE` as (absolute path, size to make it with). A file whose name ends like
    a size is taken as it is where it exists."""
    path, colon, size = text.rpartition(":")
    if not colon or Path(text).exists():
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
