"""Tables, times, shares, members and the picture: pure, so by table."""

from __future__ import annotations

from pathlib import Path

import pytest

from scsi_snap.cli import map_picture, render
from scsi_snap.cli.arguments import member
from scsi_snap.errors import InvalidArgument

KIB = 1024


def test_a_table_aligns_its_columns() -> None:
    assert render.table(["A", "SIZE"], [["x", "1"], ["long", "22"]], "lr") == (
        "A     SIZE\nx        1\nlong    22"
    )
    assert render.table(["A", "B"], []) == "A  B"


def test_times_are_utc() -> None:
    assert render.time(0) == "1970-01-01 00:00:00Z"
    assert render.time(253_402_300_799_999) == "9999-12-31 23:59:59Z"


@pytest.mark.parametrize("at_ms", [253_402_300_800_000, 1 << 63, (1 << 64) - 1])
def test_a_time_without_a_date_is_shown_all_the_same(at_ms: int) -> None:
    assert str(at_ms) in render.time(at_ms)


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 0, "0%"),
        (0, 5, "0%"),
        (1, 1000, "<1%"),
        (1, 2, "50%"),
        (999, 1000, ">99%"),
        (5, 5, "100%"),
    ],
)
def test_shares(part: int, whole: int, text: str) -> None:
    assert render.percent(part, whole) == text


def test_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd:1G").touch()
    (tmp_path / "link").symlink_to("/dev/null")
    assert member("/dev/sda") == ("/dev/sda", None)
    assert member("m1:1GiB") == (str(tmp_path / "m1"), 1 << 30)
    assert member("odd:1G") == (str(tmp_path / "odd:1G"), None)
    assert member("link") == (str(tmp_path / "link"), None)
    assert member("/dev/disk/by-path/pci-0:a") == ("/dev/disk/by-path/pci-0:a", None)
    assert member("rbd:pool/image") == ("rbd:pool/image", None)
    with pytest.raises(InvalidArgument):
        member("m1:10GB")


def answer(*cells: tuple[int, int]) -> dict[str, object]:
    """Cells of 64 KiB as (covered, preserved) in KiB."""
    covered, preserved = (sum(column) * KIB for column in zip(*cells, strict=True))
    return {
        "name": "tank/vol0@monday",
        "volume_bytes": len(cells) * 64 * KIB,
        "chunk_bytes": 4 * KIB,
        "cell_bytes": 64 * KIB,
        "covered_bytes": covered,
        "preserved_bytes": preserved,
        "cells": [{"covered_bytes": one * KIB, "preserved_bytes": two * KIB} for one, two in cells],
    }


def test_each_kind_of_cell_has_its_symbol() -> None:
    drawn = answer((0, 0), (64, 0), (64, 4), (64, 32), (64, 64), (32, 32))
    lines = map_picture.picture(drawn, 80, map_picture.BLOCKS)
    assert lines[1].strip() == "0 | ·▒▓██|"
    lines = map_picture.picture(drawn, 80, map_picture.ASCII)
    assert lines[1].strip() == "0 | .-x##|"
    assert [line.split()[:2] for line in lines[2:]] == [
        ["#", "preserved"],
        [".", "shared"],
        ["outside", "the"],
        ["x", "at"],
        ["-", "less"],
    ]
    plain = map_picture.picture(answer((64, 0), (64, 64)), 80, map_picture.ASCII)
    assert len(plain) == 4, "the legend has what is drawn"
    assert "tank/vol0@monday" in lines[0] and "384KiB" in lines[0] and "4KiB" in lines[0]
    assert [line.split()[-1] for line in lines[2:5]] == ["34%", "41%", "25%"]


@pytest.mark.parametrize("terminal_columns", [1, 20, 40, 80, 200, 1000])
def test_the_picture_fits_the_terminal(terminal_columns: int) -> None:
    cells = map_picture.cells_to_ask(terminal_columns)
    assert cells <= 4096
    lines = map_picture.picture(answer(*[(64, 0)] * cells), terminal_columns, map_picture.BLOCKS)
    drawn = [line for line in lines if line.endswith("|")]
    assert sum(line.count("·") for line in drawn) == cells
    assert len(drawn) <= map_picture.ROWS_MAX
    if terminal_columns >= 40:
        assert all(len(line) <= terminal_columns + 1 for line in drawn)


def test_lines_say_where_they_begin() -> None:
    lines = map_picture.picture(answer(*[(64, 0)] * 60), 32, map_picture.ASCII)
    assert [line.split()[0] for line in lines[1:4]] == ["0", "1.25MiB", "2.5MiB"]
