"""Sizes as people write and read them, and ranges of logical blocks.

Sizes are bytes with binary units (`64KiB`, `10GiB`); `K`, `M`, `G`, `T` alone mean the binary
unit too, as ZFS, LVM and targetcli users type them. Decimal units (`10GB`) are refused rather
than guessed: the two readings differ by 7%.
"""

from __future__ import annotations

import re

from scsi_snap.errors import InvalidArgument

_SIZE = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?) ?(?P<unit>[a-z]*)", re.IGNORECASE)
_UNITS = ("", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_SHIFTS = {
    spelling: 10 * power
    for power, unit in enumerate(_UNITS)
    for spelling in (("", "b", "bytes") if not unit else (unit.lower(), unit[0].lower()))
}
_DECIMAL = {"kb", "mb", "gb", "tb", "pb", "eb"}
SECTOR_BYTES = 512
"""The smallest logical block: sizes are whole multiples of it."""

SIZE_BYTES_MAX = 1 << 60
"""Above what LBAs of 64 bits and our arithmetic are tried with; far above any volume."""


def parse_size(text: str) -> int:
    """Bytes of `text`, such as `4096`, `64KiB` or `1.5GiB`. Raises `InvalidArgument`."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InvalidArgument(f"{text!r} is not a size", "write it like 64KiB, 10GiB or 4096")
    unit = match["unit"].lower()
    if unit in _DECIMAL:
        raise InvalidArgument(
            f"{text!r} has a decimal unit", f"write {unit[0].upper()}iB: sizes here are binary"
        )
    if unit not in _SHIFTS:
        raise InvalidArgument(
            f"{text!r} has no unit that is known", "units are KiB, MiB, GiB, TiB, PiB and EiB"
        )
    size_bytes = _scaled(match["number"], 1 << _SHIFTS[unit], text)
    if size_bytes > SIZE_BYTES_MAX:
        raise InvalidArgument(f"{text!r} is too large", f"at most {format_size(SIZE_BYTES_MAX)}")
    return size_bytes


def _scaled(number: str, unit_bytes: int, text: str) -> int:
    whole, _, fraction = number.partition(".")
    if len(whole) > 19 or len(fraction) > 19:
        raise InvalidArgument(f"{text[:60]!r} has too many digits")
    scale: int = 10 ** len(fraction)
    parts = int(fraction or "0") * unit_bytes
    if parts % scale:
        raise InvalidArgument(f"{text!r} is not a whole number of bytes")
    return int(whole) * unit_bytes + parts // scale


def format_size(size_bytes: int) -> str:
    """`size_bytes` to three or four figures in the largest unit that fits: `64KiB`, `1.5GiB`."""
    power = 0
    # From 1023.95 of a unit on, it would be written as 1024.
    while power + 1 < len(_UNITS) and size_bytes * 20 >= 20479 << (10 * power):
        power += 1
    if power == 0:
        return f"{size_bytes}B"
    value = size_bytes / (1 << (10 * power))
    figures = f"{value:.2f}" if value < 10 else f"{value:.1f}"
    return figures.rstrip("0").rstrip(".") + _UNITS[power]


def exact_size(size_bytes: int) -> str:
    """The same to the byte: `64KiB`, or `4095 bytes (4KiB)` where that would be rounded."""
    text = format_size(size_bytes)
    number = text.rstrip("KMGTPEiB")
    unit = text[len(number) :].lower()
    if unit == "b":
        return f"{size_bytes} bytes"
    is_exact = float(number) * (1 << _SHIFTS[unit]) == size_bytes
    return text if is_exact else f"{size_bytes} bytes ({text})"


def parse_block_range(text: str) -> tuple[int, int]:
    """`LBA+COUNT` as (first LBA, number of blocks), such as `2048+4096` or `0x800+0x1000`."""
    first, plus, count = text.partition("+")
    try:
        parsed = (int(first, 0), int(count, 0))
    except ValueError:
        parsed = (-1, -1)
    if not plus or parsed[0] < 0 or parsed[1] < 1:
        raise InvalidArgument(
            f"{text!r} is not a range of blocks", "write LBA+COUNT, such as 2048+4096"
        )
    return parsed
