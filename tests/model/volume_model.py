"""A volume as plain bytes: what it holds, what each snapshot of it holds, which chunks changed."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Shape:
    """How a volume is made. Each size ends in the midst of a chunk where blocks are smaller."""

    chunk_bytes: int
    block_bytes: int
    chunks: int
    policy: str
    store_limit_bytes: int | None

    @property
    def size_bytes(self) -> int:
        short = self.block_bytes if self.chunk_bytes > self.block_bytes else 0
        return self.chunks * self.chunk_bytes - short

    @property
    def fills(self) -> bool:
        """Whether its store can be full."""
        return self.store_limit_bytes is not None

    @property
    def drops(self) -> bool:
        """Whether it can lose snapshots to a full store."""
        return self.fills and self.policy == "drop-snapshot"


@dataclass
class ModelSnapshot:
    """`point` counts the snapshots taken of the volume up to this one, deleted ones too."""

    point: int
    data: bytes
    first_byte: int
    end_byte: int
    live: bool = True


@dataclass
class ModelVolume:
    """Ranges given to it are inside it and whole blocks."""

    shape: Shape
    data: bytearray = field(init=False)
    snapshots: dict[str, ModelSnapshot] = field(default_factory=dict)
    points: int = 0
    changes: set[tuple[int, int]] = field(default_factory=set)
    """(point, chunk): the chunk was changed after that point and before the next."""

    def __post_init__(self) -> None:
        self.data = bytearray(self.shape.size_bytes)

    def change(self, offset_bytes: int, data: bytes) -> None:
        if not data:
            return
        end = offset_bytes + len(data)
        self.data[offset_bytes:end] = data
        chunk = self.shape.chunk_bytes
        self.changes |= {(self.points, c) for c in range(offset_bytes // chunk, -(-end // chunk))}

    def take(self, name: str, block_range: tuple[int, int] | None) -> None:
        assert name not in self.snapshots
        self.points += 1
        block = self.shape.block_bytes
        first, count = block_range or (0, len(self.data) // block)
        self.snapshots[name] = ModelSnapshot(
            self.points, bytes(self.data), first * block, (first + count) * block
        )

    def live(self) -> list[str]:
        """Names of the snapshots that can be read, oldest first."""
        return [name for name, snapshot in self.snapshots.items() if snapshot.live]

    def diff(self, since: str, until: str | None) -> list[tuple[int, int]]:
        """Whole changed chunks within the range of both, ascending, merged."""
        older = self.snapshots[since]
        first, end, before = older.first_byte, older.end_byte, self.points + 1
        if until is not None:
            newer = self.snapshots[until]
            first, end = max(first, newer.first_byte), min(end, newer.end_byte)
            before = newer.point
        chunks = {chunk for point, chunk in self.changes if older.point <= point < before}
        runs: list[tuple[int, int]] = []
        for chunk in sorted(chunks):
            start = max(first, chunk * self.shape.chunk_bytes)
            stop = min(end, (chunk + 1) * self.shape.chunk_bytes)
            if start >= stop:
                continue
            if runs and sum(runs[-1]) == start:
                start = runs.pop()[0]
            runs.append((start, stop - start))
        return runs
