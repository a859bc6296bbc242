"""A whole ext4 image is written while snapshots are taken and deleted underneath.

Each snapshot must read the same as long as it lives, whatever is written meanwhile: its digest is
taken when it is new and again at the end. What was written must be what is read.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conformance.conftest import Disk
from tests.conformance.initiator import check_ext4, digest, digest_of_unit, make_ext4, read_image

pytestmark = pytest.mark.conformance
WRITE_SECONDS = 120
SNAPSHOTS_KEPT = 3


@contextmanager
def writing(image: Path, url: str) -> Iterator[subprocess.Popen[str]]:
    """QEMU writing an image into a unit. It must end well; it is ended where the test fails."""
    command = ["qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", "-t", "none", "-r", "8M"]
    process = subprocess.Popen(
        [*command, str(image), url],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
        _, said = process.communicate(timeout=WRITE_SECONDS)
        assert process.returncode == 0, said
    finally:
        process.kill()
        process.wait()


def make_image(directory: Path, fill: int, size_bytes: int) -> Path:
    contents = directory / f"contents{fill}"
    contents.mkdir()
    for number in range(40):
        (contents / f"file{number}").write_bytes(bytes([fill, number]) * 500_000)
    image = directory / f"image{fill}"
    make_ext4(image, size_bytes, contents)
    return image


def test_snapshots_come_and_go_under_a_writer(disk: Disk, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    digests: dict[str, str] = {}
    image = tmp_path
    for fill in (1, 2):
        image = make_image(tmp_path, fill, disk.size_bytes)
        taken = 0
        with writing(image, disk.url) as writer:
            while writer.poll() is None:
                name = disk.snapshot(f"pass{fill}-{taken}")
                taken += 1
                digests[name] = read_snapshot(disk, name, scratch)
                if len(digests) > SNAPSHOTS_KEPT:
                    # Neither the oldest nor the newest: its neighbours inherit its chunks.
                    victim = list(digests)[1]
                    disk.daemon("snapshot", "delete", victim)
                    del digests[victim]
        assert taken > 0
    assert digest_of_unit(disk.url, scratch) == digest(image)
    check_ext4(scratch)
    assert {name: read_snapshot(disk, name, scratch) for name in digests} == digests
    assert '"problems": []' in disk.daemon("check", disk.volume, "--json")


def read_snapshot(disk: Disk, name: str, scratch: Path) -> str:
    """Digest of a snapshot, read by an initiator through a LUN mapped for the while."""
    url = disk.map(9, name)
    read_image(url, scratch)
    disk.daemon("lun", "unmap", disk.target, 9)
    return digest(scratch)


def test_a_group_is_one_point(disk: Disk) -> None:
    disk.daemon("volume", "create", "tank/vol1", "16MiB")
    disk.daemon("snapshot", "create", "tank/vol0@both", "tank/vol1@both")
    group = {one["group"] for one in disk.daemon.json("snapshot", "list")}
    assert len(group) == 1
    assert group != {None}
