"""Bounds of the command set, each with its reason. The Block Limits page reports those a host can
meet.
"""

from typing import Final

TRANSFER_BYTES_MAX: Final = 16 << 20
"""One READ, WRITE or VERIFY: held in memory whole, so a few hundred of them must still fit."""

WRITE_SAME_BYTES_MAX: Final = 16 << 20
"""One WRITE SAME: what a slow device still writes well inside a host's time-out."""

UNMAP_BYTES_MAX: Final = 256 << 20
"""All descriptors of one UNMAP together: each chunk that a snapshot needs is copied first."""

UNMAP_DESCRIPTORS_MAX: Final = 256
"""Descriptors of one UNMAP: a parameter list of four kibibytes."""

PREFETCH_BYTES_MAX: Final = 16 << 20
"""One PRE-FETCH: what is taken to fit the cache, and read well inside a host's time-out."""

COMPARE_AND_WRITE_BLOCKS_MAX: Final = 255
"""One COMPARE AND WRITE: what MAXIMUM COMPARE AND WRITE LENGTH, of one byte, can say."""

LBA_STATUS_RUNS_MAX: Final = 1024
"""Runs that one GET LBA STATUS looks at: 16 kibibytes of descriptors, and seconds of looking."""

PIECE_BYTES: Final = 1 << 20
"""VERIFY and WRITE SAME hold this much of their range in memory at a time."""

LUNS_MAX: Final = 16384
"""Logical units of one target: what the flat space address method can number (SAM-5)."""

REGISTRATIONS_MAX: Final = 512
"""Registered I_T nexuses of one unit: 64 hosts of eight paths. The record of them is written whole
at each change, and has to stay small.
"""

NEXUSES_REMEMBERED: Final = 1024
"""I_T nexuses of one unit that are gone, and that learn of the loss when they come again. One that
was forgotten learns of a power on instead, which says more.
"""

PREEMPT_AND_ABORTS_MAX: Final = 4
"""At once, over all units: each waits in a thread of the command set for tasks that need one of the
others. A further one is answered BUSY.
"""

COPY_CSCD_DESCRIPTORS_MAX: Final = 16
"""Of one EXTENDED COPY: hosts name two; a few more cost nothing."""

COPY_SEGMENTS_MAX: Final = 64
"""Segments of one EXTENDED COPY: hosts send up to eight."""

COPY_DESCRIPTOR_LIST_BYTES_MAX: Final = COPY_CSCD_DESCRIPTORS_MAX * 32 + COPY_SEGMENTS_MAX * 32
"""All descriptors of one EXTENDED COPY: as many as may be, in their longest form."""

COPY_SEGMENT_BYTES_MAX: Final = 256 << 20
"""One segment: what 65535 blocks of 4096 bytes, the most that a segment can say, fit in."""

COPY_BYTES_MAX: Final = 1 << 30
"""All segments of one EXTENDED COPY: what a slow pool still copies inside a host's time-out."""

COPY_PIECE_BYTES: Final = 8 << 20
"""Between two of these a copy looks again whether both of its ends still admit it."""

COPY_RESULTS_MAX: Final = 16
"""Copies whose outcome is kept for one I_T nexus; the oldest gives way."""

COPY_CONCURRENT_MAX: Final = 8
"""Copies at once, which is what the threads behind the command set can do; others wait."""

BACKGROUND_STEP_BYTES: Final = 1 << 20
"""SANITIZE holds this much of its pattern in memory, and ends within one such step when the unit
goes."""

BACKGROUND_ERASE_BYTES: Final = 64 << 20
"""As much is deallocated or zeroed at a time, where nothing is held in memory."""

BACKGROUND_WAIT_S: Final = 5.0
"""How long FORMAT UNIT or SANITIZE without IMMED waits for its end. A command that waited for
hours would hold up every task management function after it."""
