"""A device in memory whose every block is filled with its own number, and a gate that remembers."""

from __future__ import annotations

from collections.abc import Callable


class CodedFailure(Exception):
    """As the native module's error: a stable code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class MemoryDevice:
    """Block n holds n as eight bytes, over and over; `calls` is what was asked of the device."""

    def __init__(
        self, blocks: int = 64, block_bytes: int = 512, *, read_only: bool = False
    ) -> None:
        self.block_bytes = block_bytes
        self.read_only = read_only
        self.data = bytearray(b"".join(self.filled(lba) for lba in range(blocks)))
        self.calls: list[tuple[str, int, int]] = []
        self.fail: Callable[[str], str | None] = lambda call: None

    def filled(self, lba: int) -> bytes:
        return lba.to_bytes(8, "big") * (self.block_bytes // 8)

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
        if self.read_only and name in ("copy_from", "compare_and_write"):
            raise CodedFailure("read-only")
        if self.read_only and name in ("write", "discard", "write_zeroes"):
            raise CodedFailure("read-only")
        self.calls.append((name, offset // self.block_bytes, length // self.block_bytes))

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        self._called("read", offset_bytes, length_bytes)
        return bytes(self.data[offset_bytes : offset_bytes + length_bytes])

    def write(self, offset_bytes: int, data: bytes) -> None:
        self._called("write", offset_bytes, len(data))
        self.data[offset_bytes : offset_bytes + len(data)] = data

    def flush(self) -> None:
        self._called("flush", 0, 0)

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        self._called("discard", offset_bytes, length_bytes)
        self.data[offset_bytes : offset_bytes + length_bytes] = bytes(length_bytes)

    def write_zeroes(self, offset_bytes: int, length_bytes: int) -> None:
        self._called("write_zeroes", offset_bytes, length_bytes)
        self.data[offset_bytes : offset_bytes + length_bytes] = bytes(length_bytes)

    def compare_and_write(self, offset_bytes: int, expected: bytes, data: bytes) -> int | None:
        assert len(expected) == len(data)
        self._called("compare_and_write", offset_bytes, len(data))
        found = self.data[offset_bytes : offset_bytes + len(data)]
        if found != expected:
            return next(at for at in range(len(data)) if found[at] != expected[at])
        self.data[offset_bytes : offset_bytes + len(data)] = data
        return None

    def copy_from(
        self,
        source: MemoryDevice,
        source_offset_bytes: int,
        offset_bytes: int,
        length_bytes: int,
    ) -> None:
        data = source.read(source_offset_bytes, length_bytes)
        self._called("copy_from", offset_bytes, length_bytes)
        self.data[offset_bytes : offset_bytes + length_bytes] = data


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


class RecordingGate:
    """What the fast path knows; `lun` and None, or `lun` and a nexus, are pending."""

    def __init__(self) -> None:
        self._pending: set[tuple[int, int | None]] = set()

    def set_pending(self, lun: int, nexus: int | None, pending: bool) -> None:
        if pending:
            self._pending.add((lun, nexus))
        else:
            self._pending.discard((lun, nexus))

    def pending(self, nexus: int, lun: int = 0) -> bool:
        return bool({(lun, nexus), (lun, None)} & self._pending)
