"""Condenses a snapshot map to the cells of a picture. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from scsi_snap.control.views import MapCell, SnapshotMap
from scsi_snap.inventory.pool_views import SnapshotView, VolumeView


def draw_cells(
    name: str,
    volume: VolumeView,
    snapshot: SnapshotView,
    preserved: Sequence[tuple[int, int]],
    cells: int,
) -> SnapshotMap:
    """`preserved`: (first byte, length) of what has been copied, ascending and disjoint.

    A cell is a whole number of chunks, so that one chunk is never split between two.
    """
    chunks = -(-snapshot.volume_bytes // volume.chunk_bytes)
    cell_bytes = -(-chunks // cells) * volume.chunk_bytes
    count = -(-snapshot.volume_bytes // cell_bytes)
    first, end = snapshot.first_byte, snapshot.first_byte + snapshot.length_bytes
    clipped = [
        (max(offset, first), min(offset + length, end))
        for offset, length in preserved
        if offset < end and offset + length > first
    ]
    covered_in = _bytes_per_cell([(first, end)], cell_bytes, count)
    preserved_in = _bytes_per_cell(clipped, cell_bytes, count)
    return SnapshotMap(
        name=name,
        volume_bytes=snapshot.volume_bytes,
        chunk_bytes=volume.chunk_bytes,
        cell_bytes=cell_bytes,
        covered_bytes=sum(covered_in),
        preserved_bytes=sum(preserved_in),
        cells=tuple(
            MapCell(covered, kept) for covered, kept in zip(covered_in, preserved_in, strict=True)
        ),
    )


def _bytes_per_cell(ranges: list[tuple[int, int]], cell_bytes: int, count: int) -> list[int]:
    """How many bytes of the (first, end) ranges lie in each cell."""
    totals = [0] * count
    for first, end in ranges:
        for cell in range(first // cell_bytes, -(-end // cell_bytes)):
            start = cell * cell_bytes
            totals[cell] += min(end, start + cell_bytes) - max(first, start)
    return totals
