"""Changes of a device that are more than one write, through the built module."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scsi_snap import _native
from tests.native import MIB, runtime, scratch

BLOCK = 512


@pytest.fixture
def pool() -> Iterator[_native.Pool]:
    with scratch() as directory:
        members: list[tuple[str, int | None]] = [
            (str(Path(directory) / f"m{number}"), 16 * MIB) for number in range(2)
        ]
        made = _native.Pool.create(runtime(), "tank", "raid1", 64 << 10, members)
        for name in ("one", "two"):
            made.create_volume(name, 2 * MIB, BLOCK, 64 << 10, "drop-snapshot", None, {})
        yield made
        made.close()


def code_of(failure: pytest.ExceptionInfo[_native.NativeError]) -> str:
    return failure.value.code


def test_compare_and_write_tells_the_first_difference(pool: _native.Pool) -> None:
    device = pool.device("one", None)
    device.write(BLOCK, b"a" * BLOCK * 3)
    assert device.compare_and_write(BLOCK, b"a" * 1000 + b"b" * 536, b"c" * 1536) == 1000
    assert device.read(BLOCK, 3 * BLOCK) == b"a" * 3 * BLOCK
    assert device.compare_and_write(BLOCK, b"a" * 1536, b"c" * 1536) is None
    assert device.read(0, 5 * BLOCK) == bytes(BLOCK) + b"c" * 1536 + bytes(BLOCK)
    assert device.compare_and_write(0, b"", b"") is None


def test_or_write_sets_bits(pool: _native.Pool) -> None:
    device = pool.device("one", None)
    device.write(0, b"\x0f" * BLOCK)
    device.or_write(0, b"\x50" * 2 * BLOCK)
    assert device.read(0, 3 * BLOCK) == b"\x5f" * BLOCK + b"\x50" * BLOCK + bytes(BLOCK)


def test_no_increment_of_several_threads_is_lost(pool: _native.Pool) -> None:
    device = pool.device("one", None)

    def count() -> None:
        for _ in range(100):
            while True:
                value = device.read(0, BLOCK)
                raised = (int.from_bytes(value, "big") + 1).to_bytes(BLOCK, "big")
                if device.compare_and_write(0, value, raised) is None:
                    break

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert int.from_bytes(device.read(0, BLOCK), "big") == 300


def test_atomic_writes_are_bounded_and_arrive(pool: _native.Pool) -> None:
    device = pool.device("one", None)
    longest = device.atomic_bytes_max
    assert longest > 0 and longest % 4096 == 0
    device.write_atomic(BLOCK, b"x" * longest)
    assert device.read(0, longest + 2 * BLOCK) == bytes(BLOCK) + b"x" * longest + bytes(BLOCK)
    with pytest.raises(_native.NativeError) as failure:
        device.write_atomic(0, bytes(longest + BLOCK))
    assert code_of(failure) == "invalid-argument"
    assert pool.check("one") == []


def test_copies_go_from_image_to_volume(pool: _native.Pool) -> None:
    source, destination = pool.device("one", None), pool.device("two", None)
    source.write(0, b"s" * MIB + b"t" * MIB)
    _native.Pool.create_snapshots([(pool, "one", "s", None), (pool, "two", "s", None)])
    source.write(0, b"later..." * (BLOCK // 8))
    image = pool.device("one", "s")
    destination.copy_from(image, 0, BLOCK, 2 * MIB - BLOCK)
    assert destination.read(0, 2 * MIB) == bytes(BLOCK) + b"s" * MIB + b"t" * (MIB - BLOCK)
    assert pool.device("two", "s").read(0, 2 * MIB) == bytes(2 * MIB)
    with pytest.raises(_native.NativeError) as failure:
        destination.copy_from(image, BLOCK, 0, 2 * MIB)
    assert code_of(failure) == "invalid-argument"


def test_a_snapshot_refuses_every_change(pool: _native.Pool) -> None:
    _native.Pool.create_snapshots([(pool, "one", "s", None)])
    image, volume = pool.device("one", "s"), pool.device("one", None)
    assert image.atomic_bytes_max == 0
    block = bytes(BLOCK)
    changes: list[Callable[[], object]] = [
        lambda: image.compare_and_write(0, block, block),
        lambda: image.or_write(0, block),
        lambda: image.write_atomic(0, block),
        lambda: image.copy_from(volume, 0, 0, BLOCK),
    ]
    for change in changes:
        with pytest.raises(_native.NativeError) as failure:
            change()
        assert code_of(failure) == "read-only"
    with pytest.raises(_native.NativeError) as failure:
        volume.compare_and_write(0, block, block + block)
    assert code_of(failure) == "invalid-argument"
