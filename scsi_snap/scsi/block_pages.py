"""Vital product data pages of block devices (SBC-4, 6.6), from what the unit can do."""

from typing import TYPE_CHECKING

from scsi_snap.scsi.atomic_commands import atomic_blocks_with_boundary_max, has_atomic_writes
from scsi_snap.scsi.limits import (
    COMPARE_AND_WRITE_BLOCKS_MAX,
    PREFETCH_BYTES_MAX,
    TRANSFER_BYTES_MAX,
    UNMAP_BYTES_MAX,
    UNMAP_DESCRIPTORS_MAX,
    WRITE_SAME_BYTES_MAX,
)
from scsi_snap.scsi.nexus import TargetPort
from scsi_snap.scsi.provisioning import can_unmap, can_unmap_by_write_same, refuses_zero_count
from scsi_snap.scsi.thresholds import threshold_exponent

if TYPE_CHECKING:
    from scsi_snap.scsi.logical_unit import LogicalUnit

_WSNZ = 0x01
_UGAVALID = 0x80
_GRANULARITY_TOLD_UP_TO_BYTES = 512
"""Logical blocks for which there is an OPTIMAL UNMAP GRANULARITY. Told one of 4 KiB to 16 MiB, QEMU
7.2 asks before each long read which blocks are written, for a range that is a multiple of 512 bytes
and not of a longer block, and aborts over that. Without one initiators go by the physical block."""
_VBULS = 0x01
_NOT_ROTATING = 1
_LBPU, _LBPWS, _LBPWS10, _LBPRZ = 0x80, 0x40, 0x20, 0x04
_THIN = 0x02


def block_limits(unit: "LogicalUnit", _port: TargetPort) -> bytes:
    """SBC-4, 6.6.4: what is enforced, in blocks."""
    medium = unit.medium
    page = bytearray(0x3C)
    page[0] = _WSNZ if refuses_zero_count(unit) else 0
    page[1] = COMPARE_AND_WRITE_BLOCKS_MAX
    page[2:4] = medium.physical_block_blocks.to_bytes(2, "big")
    page[4:8] = (TRANSFER_BYTES_MAX // medium.block_bytes).to_bytes(4, "big")
    page[12:16] = (PREFETCH_BYTES_MAX // medium.block_bytes).to_bytes(4, "big")
    if can_unmap(unit):
        page[16:20] = (UNMAP_BYTES_MAX // medium.block_bytes).to_bytes(4, "big")
        page[20:24] = UNMAP_DESCRIPTORS_MAX.to_bytes(4, "big")
    if unit.personality.thin and medium.block_bytes <= _GRANULARITY_TOLD_UP_TO_BYTES:
        page[24:28] = medium.unmap_granularity_blocks.to_bytes(4, "big")
        # UNMAP GRANULARITY ALIGNMENT is zero, and valid: volumes begin at a physical block.
        page[28] = _UGAVALID
    page[32:40] = (WRITE_SAME_BYTES_MAX // medium.block_bytes).to_bytes(8, "big")
    if has_atomic_writes(unit):
        page[40:44] = medium.atomic_blocks_max.to_bytes(4, "big")
        page[44:48] = medium.physical_block_blocks.to_bytes(4, "big")
        page[48:52] = medium.physical_block_blocks.to_bytes(4, "big")
        page[52:56] = atomic_blocks_with_boundary_max(medium).to_bytes(4, "big")
        page[56:60] = medium.atomic_blocks_max.to_bytes(4, "big")
    return bytes(page)


_WABEREQ_READS_SUCCEED = 0x40
"""After a BLOCK ERASE, before any write, reads end without an error (SBC-4)."""


def block_device_characteristics(_unit: "LogicalUnit", _port: TargetPort) -> bytes:
    """SBC-4, 6.6.2: no rotation to schedule for; VBULS: VERIFY compares unmapped blocks as
    zeros.
    """
    page = bytearray(0x3C)
    page[0:2] = _NOT_ROTATING.to_bytes(2, "big")
    page[3] = _WABEREQ_READS_SUCCEED
    page[4] = _VBULS
    return bytes(page)


def logical_block_provisioning(unit: "LogicalUnit", _port: TargetPort) -> bytes:
    """SBC-4, 6.6.7: LBPU, LBPWS, LBPWS10; LBPRZ 001b, unmapped blocks read as zeros; no anchored
    blocks, no minimum percentage; thin. All zero of a unit that is provisioned fully. A snapshot
    says what its volume says: that its medium is write protected is said elsewhere.
    """
    if not unit.personality.thin:
        return bytes(4)
    by_unmap = _LBPU if can_unmap(unit) else 0
    by_write_same = _LBPWS | _LBPWS10 if can_unmap_by_write_same(unit) else 0
    exponent = threshold_exponent(unit.medium.block_bytes) if unit.has_thresholds else 0
    return bytes([exponent, by_unmap | by_write_same | _LBPRZ, _THIN, 0])
