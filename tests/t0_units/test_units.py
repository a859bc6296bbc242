"""Sizes and ranges as people write and read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scsi_snap.errors import InvalidArgument
from scsi_snap.units import SIZE_BYTES_MAX, exact_size, format_size, parse_block_range, parse_size


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("4096", 4096),
        ("512B", 512),
        ("64KiB", 65536),
        ("64k", 65536),
        ("64 KiB", 65536),
        ("1.5GiB", 3 << 29),
        ("10GiB", 10 << 30),
        ("2T", 2 << 40),
        ("1PiB", 1 << 50),
        ("0.5KiB", 512),
    ],
)
def test_sizes_are_parsed(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-1",
        "10GB",
        "64KB",
        "ten",
        "1e3",
        "1..5K",
        ".5K",
        "0.3KiB",
        "1.5",
        "10XiB",
        "²",
        "9" * 40,
    ],
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_size(text)


def test_a_size_beyond_the_bound_is_refused() -> None:
    assert parse_size(f"{SIZE_BYTES_MAX}") == SIZE_BYTES_MAX
    with pytest.raises(InvalidArgument):
        parse_size(f"{SIZE_BYTES_MAX + 1}")


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0B"),
        (1023, "1023B"),
        (1024, "1KiB"),
        (65536, "64KiB"),
        (3 << 29, "1.5GiB"),
        ((1 << 40) - 1, "1TiB"),
    ],
)
def test_sizes_are_formatted(size_bytes: int, text: str) -> None:
    assert format_size(size_bytes) == text


@given(st.integers(0, SIZE_BYTES_MAX))
def test_a_formatted_size_is_within_a_percent(size_bytes: int) -> None:
    number = format_size(size_bytes).rstrip("BKMGTPEi")
    unit = 1 << (10 * "BKMGTPE".index(format_size(size_bytes)[len(number)]))
    assert abs(float(number) * unit - size_bytes) <= size_bytes / 100


@pytest.mark.parametrize(
    ("text", "block_range"), [("0+1", (0, 1)), ("2048+4096", (2048, 4096)), ("0x10+0x20", (16, 32))]
)
def test_ranges_are_parsed(text: str, block_range: tuple[int, int]) -> None:
    assert parse_block_range(text) == block_range


@pytest.mark.parametrize("text", ["", "1", "1+", "+1", "1+0", "-1+2", "1-2", "a+b", "1+2+3"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_block_range(text)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 bytes"),
        (512, "512 bytes"),
        (4095, "4095 bytes (4KiB)"),
        (4096, "4KiB"),
        (3 << 29, "1.5GiB"),
        ((1 << 60) + 1, "1152921504606846977 bytes (1EiB)"),
        (1 << 60, "1EiB"),
    ],
)
def test_an_exact_size_never_rounds(size_bytes: int, text: str) -> None:
    assert exact_size(size_bytes) == text


def test_exbibytes_are_a_unit() -> None:
    assert parse_size("1EiB") == parse_size("1e") == 1 << 60
    with pytest.raises(InvalidArgument, match="too large"):
        parse_size("2EiB")
    with pytest.raises(InvalidArgument, match="decimal"):
        parse_size("1EB")
