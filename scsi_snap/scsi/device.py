"""What the command set needs of a volume or a snapshot image, and what its failures become.

A device reports a failure as an exception with a stable `code` (that of the native module, which is
not imported here, so that the command set stands alone). `Medium` is the only caller of a device:
it turns every coded failure into sense data, and lets everything else pass as the defect that it
is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

from scsi_snap.scsi.limits import TRANSFER_BYTES_MAX
from scsi_snap.scsi.sense import CheckCondition, Sense, SenseCode


class BlockDevice(Protocol):
    """A volume or a snapshot image. All calls block; offsets and lengths are bytes, whole
    blocks.
    """

    @property
    def size_bytes(self) -> int:
        """Now; it may grow."""

    @property
    def block_bytes(self) -> int:
        """The logical block length; it stays."""

    @property
    def read_only(self) -> bool:
        """A snapshot image, or a volume exported as such; it stays."""

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        """The whole range."""

    def write(self, offset_bytes: int, data: bytes) -> None:
        """Durable after a later flush."""

    def flush(self) -> None:
        """Makes durable what was completed before."""

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        """Zeroes a range and gives its space back where possible."""

    def write_zeroes(self, offset_bytes: int, length_bytes: int) -> None:
        """Zeroes a range."""

    @property
    def unmap_granularity_bytes(self) -> int:
        """What a deallocation should begin and end at to give space back; it stays."""

    @property
    def atomic_bytes_max(self) -> int:
        """The longest atomic write; 0 where there is none. It stays."""

    def lba_status(self, offset_bytes: int, length_bytes: int) -> list[tuple[int, bool]]:
        """The range from its beginning in runs: (length in bytes, whether it is mapped). At least
        one; the list may end before the range does.
        """

    def compare_and_write(self, offset_bytes: int, expected: bytes, data: bytes) -> int | None:
        """Writes `data` where `expected` is, against every other change at once; else where the
        first byte differs, from the offset on.
        """

    def or_write(self, offset_bytes: int, data: bytes) -> None:
        """Sets the bits that are set in `data`, against every other change at once."""

    def write_atomic(self, offset_bytes: int, data: bytes) -> None:
        """All of it or nothing, after a power cut too. At most `atomic_bytes_max`."""

    def copy_from(
        self,
        source: Any,  # Another device of the same maker, which is all that the maker can copy from.
        source_offset_bytes: int,
        offset_bytes: int,
        length_bytes: int,
    ) -> None:
        """Copies from another device, or within this one, whole blocks of both."""

    def wait_for_writes(self) -> None:
        """Returns when the WRITEs that have passed a gate, wherever the device is mapped, and do
        not come up to the command set, have ended.
        """

    def fast_path_counts(self) -> tuple[int, int, int, int, int, int]:
        """What was done without the command set: READs, their bytes and nanoseconds; WRITEs, their
        bytes and nanoseconds.
        """


class MediumEraser(Protocol):
    """What SANITIZE needs of whoever keeps the volume, beside its blocks. All calls block, and
    fail as those of a device do.

    The note says what sanitize operation is under way, or has failed; it outlives the process.
    """

    def note(self) -> str:
        """Empty where there is nothing of the kind."""

    def begin(self, note: str) -> bool:
        """Notes it, durable when this returns, and from then on until the note is empty nobody
        takes a snapshot of the volume. False, and nothing changed, where there are snapshots.
        """

    def set_note(self, note: str) -> None:
        """Replaces the note; durable when this returns."""

    def erase_remains(self) -> None:
        """Erases whatever else once held data of the volume: preserved chunks of snapshots that
        are gone, and the log of atomic writes. Durable when this returns.
        """


FAILURES: Final[dict[str, SenseCode]] = {
    "read-only": SenseCode.WRITE_PROTECTED,
    # A host must not retry these: there is no room now, and a later write may find some.
    "store-full": SenseCode.SPACE_ALLOCATION_FAILED_WRITE_PROTECT,
    "no-space": SenseCode.SPACE_ALLOCATION_FAILED_WRITE_PROTECT,
    # NOT READY would make a host wait for the unit or fail the path over. The data is gone for good
    # and on every path, which is what MEDIUM ERROR says: the read fails at once.
    "snapshot-invalid": SenseCode.UNRECOVERED_READ_ERROR,
    "outside-snapshot": SenseCode.LBA_OUT_OF_RANGE,
    "closed": SenseCode.LOGICAL_UNIT_NOT_SUPPORTED,
}
"""Sense data by failure code, where it does not depend on what was being done."""


class Medium:
    """A device addressed by logical blocks."""

    def __init__(self, device: BlockDevice, physical_block_bytes: int) -> None:
        self._device = device
        self.block_bytes: Final = device.block_bytes
        # In logical blocks.
        self.physical_block_blocks: Final = max(physical_block_bytes // device.block_bytes, 1)
        self.atomic_blocks_max: Final = self._whole_physical_blocks(device.atomic_bytes_max)

    def _whole_physical_blocks(self, length_bytes: int) -> int:
        blocks = min(length_bytes, TRANSFER_BYTES_MAX) // self.block_bytes
        return blocks - blocks % self.physical_block_blocks

    @property
    def unmap_granularity_blocks(self) -> int:
        """What a deallocation should begin and end at, in logical blocks."""
        return max(self._device.unmap_granularity_bytes // self.block_bytes, 1)

    @property
    def block_count(self) -> int:
        """Logical blocks now; a volume may grow."""
        with _failures_as(SenseCode.INTERNAL_TARGET_FAILURE, None):
            return self._device.size_bytes // self.block_bytes

    @property
    def read_only(self) -> bool:
        """Whether every change of it would be refused."""
        return self._device.read_only

    def read(self, lba: int, blocks: int) -> bytes:
        """The blocks, whole."""
        with _failures_as(SenseCode.UNRECOVERED_READ_ERROR, lba):
            return self._device.read(lba * self.block_bytes, blocks * self.block_bytes)

    def write(self, lba: int, data: bytes) -> None:
        """Whole blocks from `lba` on."""
        with _failures_as(SenseCode.WRITE_ERROR, lba):
            self._device.write(lba * self.block_bytes, data)

    def write_zeroes(self, lba: int, blocks: int) -> None:
        """Zeroes the blocks, which stay as mapped as they are."""
        with _failures_as(SenseCode.WRITE_ERROR, lba):
            self._device.write_zeroes(lba * self.block_bytes, blocks * self.block_bytes)

    def discard(self, lba: int, blocks: int) -> None:
        """Deallocates; the blocks read as zeros afterwards, which is what LBPRZ promises."""
        with _failures_as(SenseCode.WRITE_ERROR, lba):
            self._device.discard(lba * self.block_bytes, blocks * self.block_bytes)

    def compare_and_write(self, lba: int, expected: bytes, data: bytes) -> int | None:
        """Writes where the blocks are as expected; else the index of the first byte that is not."""
        with _failures_as(SenseCode.WRITE_ERROR, lba):
            return self._device.compare_and_write(lba * self.block_bytes, expected, data)

    def or_write(self, lba: int, data: bytes) -> None:
        """Sets the bits that are set in `data`."""
        with _failures_as(SenseCode.WRITE_ERROR, lba):
            self._device.or_write(lba * self.block_bytes, data)

    def write_atomic(self, lba: int, data: bytes) -> None:
        """Whole physical blocks, at most `atomic_blocks_max`."""
        with _failures_as(SenseCode.WRITE_ERROR, lba):
            self._device.write_atomic(lba * self.block_bytes, data)

    def lba_status(self, lba: int, blocks: int) -> list[tuple[int, bool]]:
        """Runs of blocks from `lba` on, mapped or not; they may end before the range does."""
        with _failures_as(SenseCode.UNRECOVERED_READ_ERROR, lba):
            runs = self._device.lba_status(lba * self.block_bytes, blocks * self.block_bytes)
        assert runs and all(length % self.block_bytes == 0 for length, _ in runs)
        return [(length // self.block_bytes, mapped) for length, mapped in runs]

    def copy_from(
        self, source: "Medium", source_offset_bytes: int, offset_bytes: int, length_bytes: int
    ) -> None:
        """Copies whole blocks, of both ends, within the data path. Where the range overlaps itself
        the copy goes forward.
        """
        with _failures_as(SenseCode.WRITE_ERROR, None):
            self._device.copy_from(source._device, source_offset_bytes, offset_bytes, length_bytes)

    def replace_part(self, lba: int, start_byte: int, data: bytes) -> None:
        """Writes a part of one block, whose other bytes stay, whoever writes to it meanwhile."""
        # Ends: it goes round only after somebody else's write of this very block.
        while True:
            old = self.read(lba, 1)
            new = old[:start_byte] + data + old[start_byte + len(data) :]
            if self.compare_and_write(lba, old, new) is None:
                return

    def wait_for_writes(self) -> None:
        """Returns when the WRITEs of the fast path that have passed their gates have ended."""
        with _failures_as(SenseCode.INTERNAL_TARGET_FAILURE, None):
            self._device.wait_for_writes()

    def flush(self) -> None:
        """Makes every completed write durable. A failure names no LBA: any of them may be lost."""
        with _failures_as(SenseCode.WRITE_ERROR, None):
            self._device.flush()


class Remains:
    """A medium's eraser, its failures turned into sense data as a medium's are."""

    def __init__(self, eraser: MediumEraser) -> None:
        self._eraser = eraser

    def note(self) -> str:
        """What sanitize operation is under way, or has failed; or nothing. A failure passes."""
        return self._eraser.note()

    def begin(self, note: str) -> bool:
        """Notes a sanitize operation; False where the volume has snapshots."""
        with _failures_as(SenseCode.WRITE_ERROR, None):
            return self._eraser.begin(note)

    def set_note(self, note: str) -> None:
        """Replaces the note."""
        with _failures_as(SenseCode.WRITE_ERROR, None):
            self._eraser.set_note(note)

    def erase(self) -> None:
        """Erases what is not in the blocks."""
        with _failures_as(SenseCode.WRITE_ERROR, None):
            self._eraser.erase_remains()


@contextmanager
def _failures_as(io_error: SenseCode, lba: int | None) -> Iterator[None]:
    try:
        yield
    except Exception as failure:
        code = getattr(failure, "code", None)
        if not isinstance(code, str):
            raise
        if code == "io-error":
            raise CheckCondition(Sense(io_error, information=lba)) from failure
        cause = FAILURES.get(code, SenseCode.INTERNAL_TARGET_FAILURE)
        raise CheckCondition(Sense(cause)) from failure
