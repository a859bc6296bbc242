"""The thing under test beside its model: pools of the built data path, with their volumes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

from scsi_snap import _native
from tests.model.volume_model import ModelVolume, Shape
from tests.native import MIB, copy_sparsely, runtime

MEMBERS = {
    "raid0": (2, 24 * MIB),
    "raid1": (2, 40 * MIB),
    "raid10": (4, 24 * MIB),
    "raid5": (3, 24 * MIB),
}
"""Level to the count of members and the size of each: some 40 MiB of room at each level."""
STRIP_BYTES = 16384
PIECE_CHUNKS = 16
"""A change of up to this many chunks is preserved as one: it happens whole or not at all."""


def code_of(call: Callable[..., object], *arguments: object) -> str | None:
    """The code that a call fails with; None where it does not."""
    try:
        call(*arguments)
    except _native.NativeError as failure:
        return failure.code
    return None


class Volume:
    """A volume and its model. After `drop` it must be found again in a pool that was opened."""

    def __init__(self, name: str, shape: Shape) -> None:
        self.name = name
        self.model = ModelVolume(shape)
        self.drop()

    def find(self, pool: _native.Pool) -> None:
        self.pool: _native.Pool | None = pool
        self.device: _native.Device | None = pool.device(self.name, None)

    def drop(self) -> None:
        """Forgets every object of the pool: members are given back with the last of them."""
        self.pool = self.device = None

    def opened(self) -> tuple[_native.Pool, _native.Device]:
        assert self.pool is not None and self.device is not None
        return self.pool, self.device

    def change(self, verb: str, offset_bytes: int, data: bytes) -> None:
        """`verb` is that of the device; `data` is what the range holds afterwards."""
        _, device = self.opened()
        call: Callable[..., object] = getattr(device, verb)
        failure = code_of(call, offset_bytes, data if verb == "write" else len(data))
        if failure is None:
            self.model.change(offset_bytes, data)
        self.compare_states()
        if failure is not None:
            assert failure == "store-full", failure
            shape = self.model.shape
            assert shape.fills and not shape.drops
            assert self.model.live(), "no snapshot needs anything of a store"
            self.compare()

    @property
    def piece_bytes(self) -> int:
        """The longest change that happens whole or not at all."""
        return PIECE_CHUNKS * self.model.shape.chunk_bytes

    def compare_states(self) -> None:
        """Snapshots are those of the model; only a full store ends some, the oldest first."""
        pool, _ = self.opened()
        volume = pool.volume(self.name)
        assert volume is not None
        states = {one.name: one.state == "live" for one in volume.snapshots}
        live_before = self.model.live()
        assert list(states) == list(self.model.snapshots)
        live_now = [name for name, live in states.items() if live]
        dropped = len(live_before) - len(live_now)
        assert live_now == live_before[dropped:], "not the oldest were dropped"
        if dropped:
            assert self.model.shape.drops
            for name in live_before[:dropped]:
                self.model.snapshots[name].live = False

    def compare(self) -> None:
        """Every byte of the volume and of its snapshots; every diff of neighbours and to now."""
        pool, device = self.opened()
        self.compare_states()
        self.compare_part(0, self.model.shape.size_bytes)
        live = self.model.live()
        pairs: list[tuple[str, str | None]] = [(name, None) for name in live]
        for older, newer in [*pairs, *itertools.pairwise(live)]:
            changed = self.model.diff(older, newer)
            assert pool.diff(self.name, older, newer) == changed
            assert list(self.pages(older, newer)) == changed
        assert device.size_bytes == self.model.shape.size_bytes

    def pages(self, older: str, newer: str | None) -> Iterator[tuple[int, int]]:
        """A diff in pages of two, each asked for where the one before it ended."""
        pool, _ = self.opened()
        first_byte = 0
        while page := pool.diff(self.name, older, newer, first_byte, 2):
            assert len(page) <= 2
            yield from page
            first_byte = sum(page[-1])

    def compare_part(self, start: int, end: int) -> None:
        """A range of the volume and of its snapshots."""
        pool, device = self.opened()
        assert_same(device.read(start, end - start), self.model.data[start:end], self.name, start)
        assert_unmapped_is_zero(device, start, self.model.data[start:end])
        for name, snapshot in self.model.snapshots.items():
            if not snapshot.live:
                assert code_of(pool.device, self.name, name) == "snapshot-invalid"
                continue
            image = pool.device(self.name, name)
            first, stop = max(start, snapshot.first_byte), min(end, snapshot.end_byte)
            if first < stop:
                found = image.read(first, stop - first)
                assert_same(found, snapshot.data[first:stop], f"{self.name}@{name}", first)
                assert_unmapped_is_zero(image, first, snapshot.data[first:stop])
            if start < snapshot.first_byte or end > snapshot.end_byte:
                assert code_of(image.read, start, end - start) == "outside-snapshot"

    def check(self) -> None:
        pool, _ = self.opened()
        assert pool.check(self.name) == []


def assert_unmapped_is_zero(
    device: _native.Device, start: int, expected: bytes | bytearray
) -> None:
    """What a device says is not mapped is zeros, and it says something of the whole range."""
    offset = 0
    for length, mapped in device.lba_status(start, len(expected)):
        assert mapped or not any(expected[offset : offset + length]), f"{length} bytes at {offset}"
        offset += length
    assert offset == len(expected)


def assert_same(found: bytes, expected: bytes | bytearray, what: str, start: int) -> None:
    """As `==`, and says where: no megabytes in a message."""
    if found == expected:
        return
    assert len(found) == len(expected), f"{what}: {len(found)} bytes, not {len(expected)}"
    at = next(i for i, pair in enumerate(zip(found, expected, strict=True)) if pair[0] != pair[1])
    raise AssertionError(
        f"{what} differs at byte {start + at}: {found[at : at + 16].hex()}, "
        f"not {expected[at : at + 16].hex()}"
    )


class Pool:
    """A pool over member files of its own."""

    def __init__(self, name: str, level: str, directory: Path) -> None:
        count, size_bytes = MEMBERS[level]
        self.level, self._lives = level, 0
        self.paths = [directory / f"{name}-{number}" for number in range(count)]
        self.failed: int | None = None
        self.volumes: dict[str, Volume] = {}
        members: list[tuple[str, int | None]] = [(str(path), size_bytes) for path in self.paths]
        self.native: _native.Pool | None = _native.Pool.create(
            runtime(), name, level, STRIP_BYTES, members
        )

    def opened(self) -> _native.Pool:
        assert self.native is not None
        return self.native

    def create_volume(self, name: str, shape: Shape) -> None:
        self.opened().create_volume(
            name,
            shape.size_bytes,
            shape.block_bytes,
            shape.chunk_bytes,
            shape.policy,
            shape.store_limit_bytes,
            {},
        )
        self.volumes[name] = Volume(name, shape)
        self.volumes[name].find(self.opened())

    def delete_volume(self, name: str) -> None:
        volume = self.volumes.pop(name)
        for snapshot in volume.model.snapshots:
            self.opened().delete_snapshot(name, snapshot)
        self.opened().delete_volume(name)

    def fail_member(self, number: int) -> None:
        self.opened().fail_member(str(self.paths[number]))
        self.failed = number
        assert self.state() == "degraded"

    def state(self) -> str:
        return self.opened().status().state

    def close(self) -> None:
        native = self.opened()
        self._drop()
        native.close()

    def _drop(self) -> None:
        for volume in self.volumes.values():
            volume.drop()
        self.native = None

    def reopen(self) -> None:
        """A clean stop and start."""
        self.close()
        self._open()

    def copy(self) -> list[Path]:
        """Copies of the members as a process that is killed now would leave them."""
        self._lives += 1
        copies = [path.with_suffix(f".{self._lives}") for path in self.paths]
        for path, copy in zip(self.paths, copies, strict=True):
            copy_sparsely(path, copy)
        return copies

    def go_on_with(self, copies: list[Path]) -> None:
        """Ends this pool and opens another over `copies`, as the same."""
        self.close()
        for path in self.paths:
            path.unlink()
        self.paths = copies
        self._open()

    def _open(self) -> None:
        paths = [str(path) for path in self.paths]
        if self.failed is None:
            self.native = _native.Pool.open(runtime(), paths)
            assert self.state() == "optimal"
        else:
            assert code_of(_native.Pool.open, runtime(), paths) == "member-refused"
            self.native, refused = _native.Pool.open_available(runtime(), paths)
            assert len(refused) == 1 and paths[self.failed] in refused[0]
            assert self.state() == "degraded"
        for volume in self.volumes.values():
            volume.find(self.native)
