"""QEMU's iSCSI initiator: data that goes in comes out, and a snapshot stays what it was."""

import json
import re
from pathlib import Path

import pytest

from tests.conformance.conftest import Disk
from tests.conformance.initiator import (
    ToolFailedError,
    digest,
    digest_of_unit,
    make_ext4,
    qemu_io,
    read_image,
    run,
    write_image,
)

pytestmark = pytest.mark.conformance


@pytest.fixture
def image(disk: Disk, tmp_path: Path) -> Path:
    """An ext4 image as large as the disk, with files of every size class."""
    contents = tmp_path / "contents"
    contents.mkdir()
    for number, size_bytes in enumerate((0, 1, 4095, 65536, 1_000_003, 5_000_000)):
        (contents / f"file{number}").write_bytes(bytes([number + 1]) * size_bytes)
    image = tmp_path / "image"
    make_ext4(image, disk.size_bytes, contents)
    return image


def test_the_size_is_the_volume_s(disk: Disk) -> None:
    said = run("qemu-img", "info", "-f", "raw", disk.url)
    assert re.search(rf"virtual size: .*\({disk.size_bytes} bytes\)", said)


def test_an_image_written_is_the_image_read(disk: Disk, image: Path, tmp_path: Path) -> None:
    write_image(image, disk.url)
    run("qemu-img", "compare", "-f", "raw", "-F", "raw", image, disk.url)
    assert digest_of_unit(disk.url, tmp_path / "copy") == digest(image)


def test_a_snapshot_keeps_what_is_overwritten(disk: Disk, image: Path, tmp_path: Path) -> None:
    write_image(image, disk.url)
    url = disk.map(1, disk.snapshot("before"))
    qemu_io(disk.url, "write -P 0xa5 1M 3M", "write -P 0x5a 40000k 4k", "flush")
    run("qemu-img", "compare", "-f", "raw", "-F", "raw", image, url)
    qemu_io(disk.url, "read -P 0xa5 1M 3M", "read -P 0x5a 40000k 4k")
    with pytest.raises(ToolFailedError, match="Content mismatch at offset 1048576"):
        run("qemu-img", "compare", "-f", "raw", "-F", "raw", image, disk.url)


def test_discard_and_zeroes_leave_the_snapshot_alone(disk: Disk, image: Path) -> None:
    write_image(image, disk.url)
    url = disk.map(1, disk.snapshot("before"))
    qemu_io(disk.url, "write -z 0 8M", "discard 8M 16M", "write -z -u 32M 1M", "flush")
    qemu_io(disk.url, "read -P 0 0 24M", "read -P 0 32M 1M")
    run("qemu-img", "compare", "-f", "raw", "-F", "raw", image, url)


def test_the_diff_names_what_was_overwritten_and_no_more(disk: Disk) -> None:
    name = disk.snapshot("before")
    qemu_io(disk.url, "write -P 1 0 64k", "write -P 2 1M 4k", "write -P 3 2096640 1k", "flush")
    diff = disk.daemon.json("snapshot", "diff", name)
    extents = [(one["first_lba"] * diff["block_bytes"], one["bytes"]) for one in diff["extents"]]
    chunk = 64 << 10
    # The last write straddles the end of the chunk below 2 MiB.
    assert extents == [(0, chunk), (1 << 20, chunk), ((2 << 20) - chunk, 2 * chunk)]


MIB = 1 << 20


def allocated(url: str) -> list[tuple[int, int]]:
    """What QEMU takes to hold data: (offset, length)."""
    runs = json.loads(run("qemu-img", "map", "--output=json", "-f", "raw", url))
    return [(one["start"], one["length"]) for one in runs if one["data"]]


def test_a_full_copy_of_a_snapshot_skips_what_it_has_not_allocated(
    disk: Disk, tmp_path: Path
) -> None:
    qemu_io(disk.url, "write -P 1 3M 3M", "write -P 2 12M 3M", "flush")
    name = disk.snapshot("before")
    url = disk.map(1, name)
    assert allocated(url) == [(3 * MIB, 3 * MIB), (12 * MIB, 3 * MIB)]
    # Overwritten, given back, and written since for the first time: the snapshot stays what it was.
    later = ("write -P 3 4M 64k", "write -z -u 12M 3M", "write -P 4 24M 3M", "write -P 5 0 4k")
    qemu_io(disk.url, *later, "flush")
    assert allocated(url) == [(3 * MIB, 3 * MIB), (12 * MIB, 3 * MIB)]
    now = allocated(disk.url)
    assert (24 * MIB, 3 * MIB) in now and now[0][0] == 0
    found = disk.daemon.json("snapshot", "extents", name)
    listed = [(one["first_lba"] * found["block_bytes"], one["bytes"]) for one in found["extents"]]
    assert listed == allocated(url)
    copy = tmp_path / "copy"
    read_image(url, copy)
    checks = ("read -P 0 0 3M", "read -P 1 3M 3M", "read -P 0 6M 6M", "read -P 2 12M 3M")
    qemu_io(str(copy), *checks, f"read -P 0 15M {disk.size_bytes - 15 * MIB}", read_only=True)


def test_a_snapshot_refuses_writes(disk: Disk) -> None:
    url = disk.map(1, disk.snapshot("fixed"))
    with pytest.raises(ToolFailedError):
        qemu_io(url, "write -P 1 0 4k")


def test_unaligned_io_within_a_block_size(disk: Disk) -> None:
    commands = [f"write -P {n} {n * 700_000 // 512 * 512} {512 * n}" for n in range(1, 60)]
    checks = [word.replace("write", "read") for word in commands]
    qemu_io(disk.url, *commands, "flush", *checks)


@pytest.mark.parametrize("block_bytes", [512, 4096])
def test_what_is_not_written_reads_as_zeros(disk: Disk, block_bytes: int) -> None:
    """QEMU asks first whether 64 KiB and more are written, and version 7.2 ends itself over how it
    asks (`block_pages`)."""
    name = f"tank/unwritten-{block_bytes}"
    disk.daemon("volume", "create", name, "64MiB", "--block", block_bytes)
    url = disk.map(1, name)
    qemu_io(url, "read -P 0 0 64k", "read -P 0 1M 8M", "write -P 1 2M 64k", "flush")
    qemu_io(url, "read -P 0 0 2M", "read -P 1 2M 64k", "read -P 0 2112k 4M", "discard 2M 64k")
    run("qemu-img", "map", "-f", "raw", url)


def test_two_initiators_at_a_time_write_apart(disk: Disk) -> None:
    other = disk.daemon.url(disk.target, 0)
    qemu_io(disk.url, "write -P 1 0 1M", "flush")
    qemu_io(other, "write -P 2 1M 1M", "flush")
    qemu_io(disk.url, "read -P 1 0 1M", "read -P 2 1M 1M")
