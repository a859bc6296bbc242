"""What of a device is allocated, found in bounded time."""

from __future__ import annotations

from scsi_snap import limits
from scsi_snap.inventory.native import NativeDevice


def allocated(
    device: NativeDevice, start: int, end: int, limit: int
) -> tuple[list[tuple[int, int]], int]:
    """The first `limit` allocated ranges between two offsets, as (offset, length), and how far was
    looked: to `end`, or to where there may be more. All in bytes; ranges are widened to whole
    blocks.
    """
    block_bytes = device.block_bytes
    found: list[tuple[int, int]] = []
    reached = start
    for _ in range(limits.EXTENTS_LOOKS_MAX):
        if reached >= end:
            break
        for length_bytes, is_mapped in device.lba_status(reached, end - reached):
            stop = reached + length_bytes
            if is_mapped:
                first, last = reached - reached % block_bytes, stop + -stop % block_bytes
                if found and first <= sum(found[-1]):
                    first, _ = found.pop()
                elif len(found) == limit:
                    return found, reached
                found.append((first, last - first))
            reached = stop
    return found, reached
