"""The data path as the control plane sees it: protocols, so that tests run without the extension.

`native_data_path` is the one real implementation. What a pool answers is in `pool_views`; what it
raises becomes our errors here, in one place.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from scsi_snap.errors import InternalError, InvalidArgument, error_of
from scsi_snap.inventory.pool_views import NativeEvent, PoolStatus, VolumeView
from scsi_snap.iscsi.full_feature_text import NormalSessionText
from scsi_snap.iscsi.parameters import SessionParameters
from scsi_snap.os_errors import hint_in
from scsi_snap.scsi.target import Target

Point = tuple["NativePool", str, str, tuple[int, int] | None]
"""(pool, volume, snapshot, (first LBA, blocks) or None for the whole volume)."""


class MemberMark(Protocol):
    """What a file or block device says it is."""

    @property
    def kind(self) -> str:
        """`member` of a pool, `free` (its pool was destroyed), or `none` of these."""

    @property
    def pool(self) -> str | None:
        """The UUID of that pool."""

    @property
    def member(self) -> str | None: ...
    @property
    def event(self) -> int:
        """The event count of its label."""


class NativeDevice(Protocol):
    @property
    def size_bytes(self) -> int: ...
    @property
    def block_bytes(self) -> int: ...
    @property
    def read_only(self) -> bool: ...
    def read(self, offset_bytes: int, length_bytes: int) -> bytes: ...
    def write(self, offset_bytes: int, data: bytes) -> None: ...
    def flush(self) -> None: ...
    def discard(self, offset_bytes: int, length_bytes: int) -> None: ...
    def write_zeroes(self, offset_bytes: int, length_bytes: int) -> None: ...
    def wait_for_writes(self) -> None: ...
    def fast_path_counts(self) -> tuple[int, int, int, int, int, int]: ...
    @property
    def unmap_granularity_bytes(self) -> int: ...
    @property
    def atomic_bytes_max(self) -> int: ...
    def lba_status(self, offset_bytes: int, length_bytes: int) -> list[tuple[int, bool]]: ...
    def compare_and_write(self, offset_bytes: int, expected: bytes, data: bytes) -> int | None: ...
    def or_write(self, offset_bytes: int, data: bytes) -> None: ...
    def write_atomic(self, offset_bytes: int, data: bytes) -> None: ...
    def copy_from(
        self, source: Any, source_offset_bytes: int, offset_bytes: int, length_bytes: int
    ) -> None: ...


class NativePool(Protocol):
    """As `_native.Pool`, whose stub says what each call does."""

    def close(self) -> None: ...
    def destroy(self) -> None: ...
    def status(self) -> PoolStatus: ...
    def fail_member(self, name: str) -> None: ...
    def volumes(self) -> Sequence[VolumeView]: ...
    def volume(self, name: str) -> VolumeView | None: ...
    def volume_of(self, volume_id: str) -> VolumeView | None: ...
    def volumes_with(self, attribute: str, value: str) -> Sequence[VolumeView]: ...
    def volume_names(self) -> list[str]: ...
    def volume_count(self) -> int: ...
    def create_volume(
        self,
        name: str,
        size_bytes: int,
        block_bytes: int,
        chunk_bytes: int,
        policy: str,
        store_limit_bytes: int | None,
        attributes: dict[str, str],
    ) -> None: ...
    def resize_volume(self, name: str, size_bytes: int) -> None: ...
    def set_attributes(self, volume: str, attributes: dict[str, str]) -> None: ...
    def set_store_rules(self, volume: str, policy: str, limit_bytes: int | None) -> None: ...
    def delete_volume(self, name: str) -> None: ...
    def erase_store(self, volume: str) -> None:
        """Zeroes what the exception store and the log of atomic writes hold; refused as "busy"
        while the volume has snapshots. Durable when it returns."""

    def delete_snapshot(self, volume: str, snapshot: str) -> None: ...
    def diff(
        self,
        volume: str,
        since: str,
        until: str | None,
        first_byte: int = 0,
        limit: int | None = None,
    ) -> list[tuple[int, int]]: ...
    def device(self, volume: str, snapshot: str | None) -> NativeDevice: ...
    def check(self, volume: str) -> list[str]: ...
    def compare(self) -> tuple[int, list[tuple[int, int, list[str]]]]: ...
    def probe(self) -> None: ...
    def events(self) -> Sequence[NativeEvent]: ...


class NativeSession(Protocol):
    """A normal session in full-feature phase."""

    def close(self) -> None: ...
    def closed(self) -> bool: ...
    def wait_closed(self, timeout_s: float) -> bool: ...
    def end_reason(self) -> str | None: ...
    def logout_request(self) -> None: ...
    def report_event(self, lun: int, sense: bytes) -> None:
        """Sends an Async Message with sense data (RFC 7143, 11.9.1, event 0)."""

    def counters(self) -> str: ...


class NativeRing(Protocol):
    """A TCMU device that is being served."""

    def stop(self) -> None:
        """Takes no more from the ring; returns when what runs is answered."""

    def closed(self) -> bool: ...
    def end_reason(self) -> str | None: ...
    def settled(self) -> bool:
        """Whether the commands that were found at `attach_ring` are all answered."""

    def counters(self) -> str: ...


class NativeTarget(Protocol):
    """The fast path of one view of a target; it is the command set's gate."""

    def map(self, lun: int, device: NativeDevice, unit: int, read_only: bool) -> None:
        """`unit` is the number of the logical unit, the same wherever it is mapped."""

    def unmap(self, lun: int) -> None: ...
    def set_pending(self, lun: int, nexus: int | None, pending: bool) -> None: ...
    def decline_writes(self, lun: int, declined: bool) -> None: ...
    def abort_tasks(self, lun: int, nexuses: Collection[int]) -> None: ...


class DataPath(Protocol):
    """Makes pools and targets; one per process. A call may raise `error`, whose `code` is
    stable."""

    error: type[Exception]
    driver: str
    threads: int

    def create_pool(
        self,
        name: str,
        level: str,
        strip_bytes: int,
        members: list[tuple[str, int | None]],
        force: bool = False,
    ) -> NativePool:
        """Members that hold something are refused; with `force` they are wiped first."""

    def mark(self, path: str) -> MemberMark:
        """What a file or block device says it is; nothing is written. An error where it cannot be
        opened, or somebody holds it."""

    def delete_free(self, path: str) -> bool:
        """Removes a file that a destroyed pool has left; whether it did. Devices stay."""

    def open_pool(self, members: list[str], at_least_event: int = 0) -> NativePool:
        """Every member must fit. `pool-unavailable`, with nothing written, where the newest event
        count of the members is below `at_least_event`."""

    def open_available(
        self, members: list[str], at_least_event: int = 0
    ) -> tuple[NativePool, list[str]]:
        """Without the members that do not fit, as far as the level allows; and why not."""

    def settle_groups(self, pools: list[NativePool]) -> int:
        """Completes or drops consistent points over several pools that a crash cut short."""

    def create_snapshots(self, points: list[Point]) -> None: ...
    def make_target(self, command_set: Target) -> NativeTarget: ...
    def adopt(
        self,
        target: NativeTarget,
        descriptor: int,
        nexus: int,
        parameters: SessionParameters,
        text: NormalSessionText,
        received: bytes,
    ) -> NativeSession:
        """Takes the connection's file descriptor over."""

    def attach_ring(
        self,
        target: NativeTarget,
        nexus: int,
        lun: int,
        region: int,
        region_bytes: int,
        doorbell: int,
        records: str,
        once: dict[int, bool],
    ) -> NativeRing:
        """Serves a TCMU device from its ring as it stands: commands that are found there are
        carried out first. `lun` is the eight-byte LUN of the target that the device is; `region`
        (of `region_bytes`) and `doorbell` are file descriptors, which stay the caller's. `records`:
        the file of what must not be carried out twice, which is the operation codes `once`."""

    def displaced_members(self, paths: Iterable[str]) -> dict[str, str]:
        """Of members that are open: by path, why it does not lead to what is open any more."""

    def wait_for_events(self, seen: int, timeout_s: float) -> int:
        """Blocks until more than `seen` events have been raised, or until the time is over; how
        many it were. 0 at first, then the last answer: none is missed between two calls."""

    def wake_event_waiter(self) -> None:
        """Ends `wait_for_events` as an event does."""

    def stop(self) -> None: ...


# The hints that the control plane can give and the data path cannot.
_HINTS = {
    "member-refused": "leave it out or name another one; PATH:SIZE makes a file that is not there",
    "pool-unavailable": "name all of its members that are left",
    "no-space": "delete a volume or a snapshot, or make a smaller volume",
    "damaged": "`scsi-snap check` tells more; what is damaged is left as it is",
}


@contextmanager
def translated(data_path: DataPath) -> Iterator[None]:
    """What the data path raises inside leaves as an error of `scsi_snap.errors`."""
    try:
        yield
    except data_path.error as error:
        code = getattr(error, "code", InternalError.code)
        raise error_of(code, str(error), hint_in(str(error)) or _HINTS.get(code, "")) from error
    except (UnicodeEncodeError, OverflowError) as error:
        # A number beyond 64 bits, or text that is not Unicode, which JSON can carry.
        raise InvalidArgument(f"an argument cannot be represented: {error}") from error
