"""A device in memory whose every block is filled with its own number, and a gate that remembers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from itertools import groupby, islice


class CodedFailure(Exception):
    """As the native module's error: a stable code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class MemoryDevice:
    """Block n holds n as eight bytes, over and over; `calls` is what was asked of the device.

    Every call is made under one lock, so that each is one with respect to all others.
    """

    unmap_granularity_bytes = 4096
    runs_max = 1000
    run_blocks_max = 1 << 32
    """How many runs one `lba_status` finds, and how long they are."""

    def __init__(
        self, blocks: int = 64, block_bytes: int = 512, *, read_only: bool = False
    ) -> None:
        self.block_bytes = block_bytes
        self.read_only = read_only
        self.atomic_bytes_max = 0 if read_only else 8 * 4096
        self.deallocated: set[int] = set()
        self._lock = threading.RLock()
        self.data = bytearray(b"".join(self.filled(lba) for lba in range(blocks)))
        self.calls: list[tuple[str, int, int]] = []
        self.fast_path = (0, 0, 0, 0, 0, 0)
        self.fail: Callable[[str], str | None] = lambda call: None

    def filled(self, lba: int) -> bytes:
        return lba.to_bytes(8, "big") * (self.block_bytes // 8)

    def fast_path_counts(self) -> tuple[int, int, int, int, int, int]:
        return self.fast_path

    def block(self, lba: int) -> bytes:
        return bytes(self.data[lba * self.block_bytes : (lba + 1) * self.block_bytes])

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    def _called(self, name: str, offset: int, length: int) -> None:
        assert offset % self.block_bytes == 0 and length % self.block_bytes == 0, "part of a block"
        assert offset >= 0 and offset + length <= len(self.data), "outside the device"
        code = self.fail(name)
        if code is not None:
            raise CodedFailure(code)
        if self.read_only and name not in ("read", "flush", "lba_status"):
            raise CodedFailure("read-only")
        self.calls.append((name, offset // self.block_bytes, length // self.block_bytes))

    def _lbas(self, offset_bytes: int, length_bytes: int) -> range:
        return range(
            offset_bytes // self.block_bytes, (offset_bytes + length_bytes) // self.block_bytes
        )

    def _store(self, offset_bytes: int, data: bytes) -> None:
        self.data[offset_bytes : offset_bytes + len(data)] = data
        self.deallocated.difference_update(self._lbas(offset_bytes, len(data)))

    def wait_for_writes(self) -> None:
        """There is no fast path; a test may hold it up here."""
        assert self.fail("wait_for_writes") is None

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        with self._lock:
            self._called("read", offset_bytes, length_bytes)
            return bytes(self.data[offset_bytes : offset_bytes + length_bytes])

    def write(self, offset_bytes: int, data: bytes) -> None:
        with self._lock:
            self._called("write", offset_bytes, len(data))
            self._store(offset_bytes, data)

    def flush(self) -> None:
        self._called("flush", 0, 0)

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        with self._lock:
            self._called("discard", offset_bytes, length_bytes)
            self.data[offset_bytes : offset_bytes + length_bytes] = bytes(length_bytes)
            self.deallocated.update(self._lbas(offset_bytes, length_bytes))

    def write_zeroes(self, offset_bytes: int, length_bytes: int) -> None:
        with self._lock:
            self._called("write_zeroes", offset_bytes, length_bytes)
            self._store(offset_bytes, bytes(length_bytes))

    def compare_and_write(self, offset_bytes: int, expected: bytes, data: bytes) -> int | None:
        assert len(expected) == len(data)
        with self._lock:
            self._called("compare_and_write", offset_bytes, len(data))
            found = self.data[offset_bytes : offset_bytes + len(expected)]
            for index, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
                if ours != theirs:
                    return index
            self._store(offset_bytes, data)
            return None

    def or_write(self, offset_bytes: int, data: bytes) -> None:
        with self._lock:
            self._called("or_write", offset_bytes, len(data))
            found = self.data[offset_bytes : offset_bytes + len(data)]
            self._store(offset_bytes, bytes(a | b for a, b in zip(found, data, strict=True)))

    def write_atomic(self, offset_bytes: int, data: bytes) -> None:
        assert len(data) <= self.atomic_bytes_max
        with self._lock:
            self._called("write_atomic", offset_bytes, len(data))
            self._store(offset_bytes, data)

    def lba_status(self, offset_bytes: int, length_bytes: int) -> list[tuple[int, bool]]:
        with self._lock:
            self._called("lba_status", offset_bytes, length_bytes)
            lbas = self._lbas(offset_bytes, length_bytes)[: self.run_blocks_max]
            runs = islice(groupby(lbas, lambda lba: lba not in self.deallocated), self.runs_max)
            return [(len(list(lbas)) * self.block_bytes, mapped) for mapped, lbas in runs]

    def copy_from(
        self,
        source: MemoryDevice,
        source_offset_bytes: int,
        offset_bytes: int,
        length_bytes: int,
    ) -> None:
        data = source.read(source_offset_bytes, length_bytes)
        with self._lock:
            self._called("copy_from", offset_bytes, length_bytes)
            self._store(offset_bytes, data)


class MemoryEraser:
    """What stands for the pool; `calls` is what was asked of it. The note outlives units."""

    def __init__(self) -> None:
        self.kept_note = ""
        self.has_snapshots = False
        self.calls: list[str] = []
        self.fail: Callable[[str], str | None] = lambda call: None

    def _called(self, name: str) -> None:
        code = self.fail(name)
        if code is not None:
            raise CodedFailure(code)
        self.calls.append(name)

    def note(self) -> str:
        return self.kept_note

    def begin(self, note: str) -> bool:
        self._called("begin")
        if not self.has_snapshots:
            self.kept_note = note
        return not self.has_snapshots

    def set_note(self, note: str) -> None:
        self._called("set_note")
        self.kept_note = note

    def erase_remains(self) -> None:
        self._called("erase_remains")


class HollowDevice(MemoryDevice):
    """Of any size, and zeros all over: for limits, where only `calls` matters."""

    def __init__(self, blocks: int) -> None:
        super().__init__(blocks=0)
        self._size_bytes = blocks * self.block_bytes

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def _called(self, name: str, offset: int, length: int) -> None:
        self.calls.append((name, offset // self.block_bytes, length // self.block_bytes))

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        self._called("read", offset_bytes, length_bytes)
        return bytes(length_bytes)

    def write(self, offset_bytes: int, data: bytes) -> None:
        self._called("write", offset_bytes, len(data))

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        self._called("discard", offset_bytes, length_bytes)


class SlowWriteDevice(MemoryDevice):
    """A write or a copy waits, before it changes anything, until `release` is set."""

    def __init__(self, blocks: int = 64) -> None:
        super().__init__(blocks)
        self.begun, self.release = threading.Event(), threading.Event()

    def _wait(self) -> None:
        self.begun.set()
        assert self.release.wait(60.0), "nobody lets it go"

    def write(self, offset_bytes: int, data: bytes) -> None:
        self._wait()
        super().write(offset_bytes, data)

    def copy_from(
        self, source: MemoryDevice, source_offset_bytes: int, offset_bytes: int, length_bytes: int
    ) -> None:
        self._wait()
        super().copy_from(source, source_offset_bytes, offset_bytes, length_bytes)


class RecordingGate:
    """What the fast path knows; `lun` and None, or `lun` and a nexus, are pending."""

    def __init__(self) -> None:
        self._pending: set[tuple[int, int | None]] = set()
        self._declined: set[int] = set()
        self.aborted: list[tuple[int, list[int]]] = []

    def set_pending(self, lun: int, nexus: int | None, pending: bool) -> None:
        if pending:
            self._pending.add((lun, nexus))
        else:
            self._pending.discard((lun, nexus))

    def decline_writes(self, lun: int, declined: bool) -> None:
        (self._declined.add if declined else self._declined.discard)(lun)

    def declines_writes(self, lun: int = 0) -> bool:
        return lun in self._declined

    def abort_tasks(self, lun: int, nexuses: Collection[int]) -> None:
        self.aborted.append((lun, sorted(nexuses)))

    def pending(self, nexus: int, lun: int = 0) -> bool:
        return bool({(lun, nexus), (lun, None)} & self._pending)
