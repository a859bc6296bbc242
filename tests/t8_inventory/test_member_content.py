"""Somebody's data does not become a member of a pool without a word."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scsi_snap.errors import InvalidArgument, MemberRefused, ScsiSnapError
from scsi_snap.inventory import member_content
from scsi_snap.inventory.native import NativePool, translated
from scsi_snap.inventory.native_data_path import NativeDataPath

MIB = 1 << 20
SIZE = 64 * MIB


@pytest.fixture(scope="module")
def data_path() -> Iterator[NativeDataPath]:
    made = NativeDataPath(1)
    yield made
    made.stop()


@pytest.fixture
def member(tmp_path: Path) -> Path:
    """A sparse file of zeros."""
    path = tmp_path / "m0"
    with path.open("wb") as file:
        file.truncate(SIZE)
    return path


def put(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def create(
    data_path: NativeDataPath, *members: tuple[Path, int | None], force: bool = False
) -> NativePool:
    given = [(str(path), size) for path, size in members]
    with translated(data_path):
        return data_path.create_pool("tank", "raid0", 65536, given, force)


def ext4(path: Path) -> None:
    subprocess.run(["mkfs.ext4", "-q", "-L", "home", path], check=True)


def swap(path: Path) -> None:
    subprocess.run(["mkswap", path], check=True, capture_output=True)


def partition_table(path: Path) -> None:
    """One partition in a DOS table."""
    entry = bytes([0, 0, 2, 0, 0x83, 0, 0, 0]) + (2048).to_bytes(4, "little")
    put(path, 446, entry + (4096).to_bytes(4, "little"))
    put(path, 510, b"\x55\xaa")


def qcow2(path: Path) -> None:
    put(path, 0, b"QFI\xfb" + bytes(3) + b"\x03")


KNOWN: list[tuple[Callable[[Path], None], str]] = [
    (ext4, "ext4"),
    (swap, "swap"),
    (partition_table, "dos partition table"),
    (qcow2, "qcow2"),
]


@pytest.mark.parametrize(("make", "name"), KNOWN)
def test_what_has_a_signature_is_refused_by_its_name(
    data_path: NativeDataPath, member: Path, make: Callable[[Path], None], name: str
) -> None:
    make(member)
    before = member.read_bytes()
    with pytest.raises(MemberRefused, match=name) as caught:
        create(data_path, (member, None))
    assert "--force" in caught.value.hint and str(member) in caught.value.message
    assert member.read_bytes() == before
    create(data_path, (member, None), force=True).close()


PLACES = [0, MIB, SIZE // 2 + 12345, SIZE - 4096]


@pytest.mark.parametrize("offset", PLACES)
@pytest.mark.parametrize("knows", [True, False])
def test_data_without_a_signature_is_refused(
    data_path: NativeDataPath,
    member: Path,
    monkeypatch: pytest.MonkeyPatch,
    offset: int,
    knows: bool,
) -> None:
    """Also where libblkid is not installed; wherever in a sparse file it is."""
    if not knows:
        monkeypatch.setattr(member_content, "_libblkid", lambda: None)
    put(member, offset, b"\xa5" * 512)
    with pytest.raises(MemberRefused, match="holds data, at"):
        create(data_path, (member, None))


def test_data_all_over_is_found_where_there_are_no_holes(member: Path) -> None:
    put(member, 0, bytes(SIZE))
    assert member_content.data(str(member)) == ""
    put(member, SIZE // 3, b"\xa5" * (SIZE // member_content.SAMPLES + 1))
    assert member_content.data(str(member)) != ""


def test_nothing_is_wiped_before_all_have_been_looked_at(
    data_path: NativeDataPath, member: Path, tmp_path: Path
) -> None:
    put(member, 4096, b"data")
    held = tmp_path / "held"
    pool = create(data_path, (held, SIZE))
    with pytest.raises(MemberRefused, match="in use"):
        create(data_path, (member, None), (held, None), force=True)
    pool.close()
    assert member.read_bytes()[4096:4100] == b"data"


def test_zeros_and_new_files_are_taken(
    data_path: NativeDataPath, member: Path, tmp_path: Path
) -> None:
    create(data_path, (member, None), (tmp_path / "new", SIZE)).close()
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600


def test_what_a_destroyed_pool_left_is_taken_again(
    data_path: NativeDataPath, tmp_path: Path
) -> None:
    """By its path, and as it was made; until something else was made over it."""
    path = tmp_path / "m0"
    for size in (SIZE, SIZE, None):
        pool = create(data_path, (path, size))
        pool.create_volume("vol0", 4 * MIB, 512, 65536, "drop-snapshot", None, {})
        pool.device("vol0", None).write(0, b"\xa5" * MIB)
        pool.delete_volume("vol0")
        pool.destroy()
    assert member_content.data(str(path)) != "", "what was written is still there"
    ext4(path)
    with pytest.raises(MemberRefused, match="ext4"):
        create(data_path, (path, None))


def test_a_member_of_a_pool_is_refused_by_name(data_path: NativeDataPath, member: Path) -> None:
    pool = create(data_path, (member, None))
    with pytest.raises(MemberRefused, match="in use"):
        create(data_path, (member, None), force=True)
    pool.close()
    with pytest.raises(MemberRefused, match=f"member of pool {data_path.mark(str(member)).pool}"):
        create(data_path, (member, None))
    create(data_path, (member, None), force=True).close()


def test_files_of_a_destroyed_pool_alone_are_deleted(
    data_path: NativeDataPath, member: Path
) -> None:
    put(member, 0, b"data")
    assert not data_path.delete_free(str(member)) and member.exists()
    create(data_path, (member, None), force=True).destroy()
    assert data_path.delete_free(str(member)) and not member.exists()


def test_a_file_of_another_size_is_not_taken_for_the_one_to_make(
    data_path: NativeDataPath, member: Path
) -> None:
    with pytest.raises(MemberRefused, match="64MiB instead of 8MiB"):
        create(data_path, (member, 8 * MIB))
    assert member.stat().st_size == SIZE


@pytest.mark.parametrize("size", [1 << 60, (1 << 63) - 1])
def test_a_size_that_cannot_be_leaves_no_file(
    data_path: NativeDataPath, tmp_path: Path, size: int
) -> None:
    with pytest.raises(ScsiSnapError):
        create(data_path, (tmp_path / "m0", size), (tmp_path / "missing", None))
    assert list(tmp_path.iterdir()) == []


def test_a_mistyped_device_does_not_become_a_file(data_path: NativeDataPath) -> None:
    for path in (Path("/dev/sdzzz"), Path("/dev/./sdzzz")):
        with pytest.raises(InvalidArgument, match="there is no device"):
            create(data_path, (path, SIZE))
        assert not path.exists()


def test_files_in_shared_memory_are_files(data_path: NativeDataPath) -> None:
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == Path("/dev").stat().st_dev:
        pytest.skip("there is no file system at /dev/shm")
    path = shared / f"scsi-snap-test-{os.getpid()}"
    try:
        create(data_path, (path, 8 * MIB)).close()
    finally:
        path.unlink(missing_ok=True)


def test_a_sparse_file_costs_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(1 << 43)
    assert member_content.data(str(path)) == member_content.signature(str(path)) == ""


def test_libblkid_is_found_where_it_is_installed() -> None:
    if shutil.which("blkid") is not None:
        assert member_content._libblkid() is not None
