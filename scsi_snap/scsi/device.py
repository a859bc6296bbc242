"""What the command set needs of a volume or a snapshot image, and what its failures become.

A device reports a failure as an exception with a stable `code` (that of the native module, which is
not imported here, so that the command set stands alone). `Medium` is the only caller of a device:
it turns every coded failure into sense data, and lets everything else pass as the defect that it
is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

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

    def fast_path_counts(self) -> tuple[int, int, int, int, int, int]:
        """What was done without the command set: READs, their bytes and nanoseconds; WRITEs, their
        bytes and nanoseconds.
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

    def __init__(self, device: BlockDevice) -> None:
        self._device = device
        self.block_bytes: Final = device.block_bytes

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

    def flush(self) -> None:
        """Makes every completed write durable. A failure names no LBA: any of them may be lost."""
        with _failures_as(SenseCode.WRITE_ERROR, None):
            self._device.flush()


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
