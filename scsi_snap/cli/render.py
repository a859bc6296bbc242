"""Tables and lists for people. Pure: values in, text out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from scsi_snap.units import format_size


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], right: str = "") -> str:
    """Columns two spaces apart; those whose letter in `right` is `r` are aligned to the right."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    lines = []
    for row in [headings, *rows]:
        cells = [
            cell.rjust(width) if right[index : index + 1] == "r" else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def fields(pairs: Sequence[tuple[str, str]]) -> str:
    """One field a line, values aligned."""
    width = max(len(name) for name, _ in pairs)
    return "\n".join(f"{name.ljust(width)}  {value}".rstrip() for name, value in pairs)


def time(at_ms: int) -> str:
    """UTC, to the second; a clock that was far off may have written a time that has no date."""
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{at_ms}ms after 1970"


def event(one: Mapping[str, Any]) -> str:
    """A line of a list of events."""
    words = f"{one['severity']:<7}  {one['kind']}  {event_text(one)}"
    return f"{one['number']}  {time(one['at_ms'])}  {words}"


def event_text(one: Mapping[str, Any]) -> str:
    """What it is about, and what is said of it."""
    about = f"{one['subject']}: " if one["subject"] else ""
    times = f" ({one['count']} times)" if one["count"] > 1 else ""
    return f"{about}{one['message']}{times}"


def findings(health: Mapping[str, Any]) -> list[str]:
    """What is not well, each with what to do on the line below."""
    return [
        line
        for one in health["findings"]
        for line in (
            f"{one['severity']}: {one['subject'] + ': ' if one['subject'] else ''}{one['message']}",
            f"  {one['hint']}",
        )
    ]


def size(size_bytes: int | None) -> str:
    return "-" if size_bytes is None else format_size(size_bytes)


def luns(mapped: Iterable[Any]) -> str:
    """Where a volume or snapshot is shown: `IQN LUN 0, IQN LUN 3`."""
    return ", ".join(f"{one['target']} LUN {one['lun']}" for one in mapped) or "-"


def percent(part: int, whole: int) -> str:
    """Rounded, but neither 0% for something nor 100% for not all."""
    if whole == 0:
        return "0%"
    share = 100 * part / whole
    if 0 < share < 1:
        return "<1%"
    if 99 < share < 100:
        return ">99%"
    return f"{share:.0f}%"
