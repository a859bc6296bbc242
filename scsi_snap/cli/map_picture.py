"""The picture of a snapshot map. Pure: the API's answer in, lines out.

Each character is one cell of the volume, from its first byte to its last, line by line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scsi_snap.cli.render import percent
from scsi_snap.units import format_size

LABEL_COLUMNS = 10
ROWS_MAX = 16
COLUMNS_MAX = 128
COLUMNS_MIN = 16


@dataclass(frozen=True)
class Symbols:
    preserved: str
    mostly: str
    partly: str
    shared: str
    outside: str


BLOCKS = Symbols(preserved="█", mostly="▓", partly="▒", shared="·", outside=" ")
ASCII = Symbols(preserved="#", mostly="x", partly="-", shared=".", outside=" ")


def columns(terminal_columns: int) -> int:
    """Cells in a line."""
    return min(max(terminal_columns - LABEL_COLUMNS - 2, COLUMNS_MIN), COLUMNS_MAX)


def cells_to_ask(terminal_columns: int) -> int:
    return columns(terminal_columns) * ROWS_MAX


def picture(answer: Any, terminal_columns: int, symbols: Symbols) -> list[str]:
    """`answer`: a `SnapshotMap` as the API gives it."""
    width = columns(terminal_columns)
    drawn = "".join(_symbol(cell, symbols) for cell in answer["cells"])
    cell_bytes = answer["cell_bytes"]
    heading = f"{answer['name']}: {format_size(answer['volume_bytes'])} in chunks of"
    heading += f" {format_size(answer['chunk_bytes'])}; one character is {format_size(cell_bytes)}"
    lines = [heading]
    for start in range(0, len(drawn), width):
        label = format_size(start * cell_bytes) if start else "0"
        lines.append(f"{label:>{LABEL_COLUMNS}} |{drawn[start : start + width]}|")
    return lines + _legend(answer, symbols, drawn)


def _symbol(cell: Any, symbols: Symbols) -> str:
    covered, preserved = cell["covered_bytes"], cell["preserved_bytes"]
    if covered == 0:
        return symbols.outside
    if preserved == 0:
        return symbols.shared
    if preserved == covered:
        return symbols.preserved
    return symbols.mostly if 2 * preserved >= covered else symbols.partly


def _legend(answer: Any, symbols: Symbols, drawn: str) -> list[str]:
    """Of the symbols that are drawn, and always of the first two."""
    whole, covered = answer["volume_bytes"], answer["covered_bytes"]
    preserved = answer["preserved_bytes"]
    rows = [
        (symbols.preserved, "preserved", preserved),
        (symbols.shared, "shared with the origin", covered - preserved),
    ]
    if covered != whole:
        rows.append((symbols.outside, "outside the snapshot's range", whole - covered))
    width = max(len(text) for _, text, _ in rows)
    indent = " " * (LABEL_COLUMNS + 2)
    lines = [
        f"{indent}{symbol} {text:{width}}  {format_size(size):>8}  {percent(size, whole)}"
        for symbol, text, size in rows
    ]
    if symbols.mostly in drawn:
        lines.append(f"{indent}{symbols.mostly} at least half preserved")
    if symbols.partly in drawn:
        lines.append(f"{indent}{symbols.partly} less than half preserved")
    return lines
