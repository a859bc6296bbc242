"""A store that fills, by each policy: what the origin, the snapshots and the writer get of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.model.subject import Pool, Volume
from tests.model.volume_model import Shape
from tests.native import MIB, scratch

CHUNK_BYTES = 65536
CHUNKS = 24
ANSWER_SECONDS = 20


@pytest.fixture
def pool() -> Iterator[Pool]:
    with scratch() as directory:
        made = Pool("tank", "raid5", Path(directory))
        yield made
        made.close()


def full_of_data(pool: Pool, policy: str) -> Volume:
    """A volume without a zero in it, and with a store that cannot preserve all of it."""
    pool.create_volume("a", Shape(CHUNK_BYTES, 512, CHUNKS, policy, MIB))
    volume = pool.volumes["a"]
    for chunk in range(CHUNKS):
        overwrite(volume, chunk, 1)
    return volume


def overwrite(volume: Volume, chunk: int, fill: int) -> None:
    """Changes one chunk, in the volume and in the model if it can be."""
    start = chunk * CHUNK_BYTES
    length = min(CHUNK_BYTES, volume.model.shape.size_bytes - start)
    volume.change("write", start, bytes([fill, chunk]) * (length // 2))


def take(volume: Volume, name: str, block_range: tuple[int, int] | None = None) -> None:
    pool, _ = volume.opened()
    pool.create_snapshots([(pool, volume.name, name, block_range)])
    volume.model.take(name, block_range)


def events(volume: Volume) -> list[str]:
    return [one.kind for one in volume.opened()[0].events() if one.volume]


def test_dropping_gives_up_the_oldest_and_only_what_it_must(pool: Pool) -> None:
    volume = full_of_data(pool, "drop-snapshot")
    take(volume, "old")
    for chunk in range(8):
        overwrite(volume, chunk, 2)
    take(volume, "young")
    assert volume.model.live() == ["old", "young"]
    chunk = 8
    while len(volume.model.live()) == 2:
        overwrite(volume, chunk, 3)
        chunk += 1
    # The eight chunks that only the old one read have made room.
    assert volume.model.live() == ["young"]
    assert {"store-full", "snapshots-dropped"} <= set(events(volume))
    overwrite(volume, 0, 4)
    volume.compare()
    volume.check()
    for chunk in range(CHUNKS):
        overwrite(volume, chunk, 5)
    assert volume.model.live() == []
    volume.compare()
    pool.reopen()
    volume.compare()
    volume.check()


def test_failing_writes_keeps_every_snapshot(pool: Pool) -> None:
    volume = full_of_data(pool, "fail-write")
    take(volume, "old")
    before = bytes(volume.model.data)
    for chunk in range(CHUNKS):
        overwrite(volume, chunk, 2)
    changed = [c for c in range(CHUNKS) if volume.model.data[c * CHUNK_BYTES] == 2]
    # The first that found no room failed, and so did all that need some.
    assert changed == list(range(len(changed)))
    assert 8 <= len(changed) < CHUNKS
    assert volume.model.snapshots["old"].data == before
    assert "store-full" in events(volume) and volume.model.live() == ["old"]
    # What is preserved may be changed again; what is freed makes room.
    overwrite(volume, 0, 3)
    assert volume.model.data[0] == 3
    pool.reopen()
    volume.compare()
    del volume.model.snapshots["old"]
    volume.opened()[0].delete_snapshot("a", "old")
    overwrite(volume, CHUNKS - 1, 4)
    assert volume.model.data[-2] == 4
    volume.check()


def test_a_change_of_many_chunks_that_fails_changes_nothing(pool: Pool) -> None:
    volume = full_of_data(pool, "fail-write")
    take(volume, "old")
    before = bytes(volume.model.data)
    volume.change("write", 0, b"\x02" * (16 * CHUNK_BYTES))
    assert volume.model.data == before
    volume.compare()
    volume.check()


@pytest.mark.parametrize("chunks", [5, 8, 16])
def test_a_change_of_many_chunks_drops_a_snapshot_when_they_do_not_all_fit(
    pool: Pool, chunks: int
) -> None:
    """Room for some of its chunks is not room for all: it must not wait for what never comes."""
    volume = full_of_data(pool, "drop-snapshot")
    take(volume, "old")
    writer = threading.Thread(target=write_everything, args=(volume, chunks), daemon=True)
    writer.start()
    writer.join(ANSWER_SECONDS)
    assert not writer.is_alive(), "a write does not end"
    assert volume.model.live() == []
    volume.compare()
    volume.check()


def write_everything(volume: Volume, chunks_at_once: int) -> None:
    size_bytes = volume.model.shape.size_bytes
    step = chunks_at_once * CHUNK_BYTES
    for start in range(0, size_bytes, step):
        volume.change("write", start, b"\x02" * min(step, size_bytes - start))
