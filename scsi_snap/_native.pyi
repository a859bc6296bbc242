"""The data path, bound by `rust/binding`. Every call but a property may block and releases the GIL.

What a pool says about itself is a frozen object, which holds what was so when it was asked for; a
property costs nothing that is not read. Counters of sessions and rings are JSON. Names of states,
levels and policies are lower case with dashes; UUIDs are text with hyphens.
"""

from collections.abc import Collection
from typing import Protocol, final, type_check_only

from scsi_snap.iscsi.parameters import SessionParameters

__all__ = [
    "MEMBER_TAIL_BYTES",
    "Device",
    "Event",
    "MemberMark",
    "MemberView",
    "NativeError",
    "Pool",
    "PoolStatus",
    "Ring",
    "Runtime",
    "Session",
    "SnapshotView",
    "StoreView",
    "Target",
    "VolumeView",
]

MEMBER_TAIL_BYTES: int
"""A regular file that is made as a member is so many bytes longer than was asked for."""

class NativeError(Exception):
    """`code` is that of `PoolError` or `IoError`: "not-found", "exists", "busy", "no-space",
    "member-refused", "pool-unavailable", "damaged", "invalid-argument", "io-error",
    "store-full", "read-only", "outside-snapshot", "snapshot-invalid", "closed"."""

    code: str

@type_check_only
class CommandSet(Protocol):
    """Implemented in Python, called from several native threads at once."""

    def execute(
        self,
        nexus: int,
        lun: int,
        cdb: bytes,
        attribute: int,
        data_out: bytes,
        expected: tuple[int, int],
        repeated: bool = False,
    ) -> tuple[int, bytes, bytes, int]:
        """-> status, sense, data_in (cut to the allocation length, not to the room), and the
        bytes of Data-Out that the command wanted. `expected`: which way the initiator expects data
        to move (0 neither, 1 in, 2 out, 3 not said) and how many bytes. `repeated`: a process that
        has died may have carried it out, in whole or in part."""
    def task_management(self, nexus: int, lun: int, function: int) -> int:
        """Called after the tasks have ended; returns the response (RFC 7143, 11.6.1) in the lowest
        byte, and above it the three bytes of Additional Response Information (RFC 7144), the first
        in the next byte."""
    def nexus_lost(self, nexus: int) -> None: ...

@type_check_only
class TextNegotiator(Protocol):
    """Of one session; called from native threads, one call at a time."""

    def negotiate(self, request: bytes, begins: bool) -> tuple[bytes, int] | None:
        """-> the text that a whole Text Request is answered, and the initiator's
        MaxRecvDataSegmentLength from now on; None: it is rejected, and the exchange over.
        `begins`: it is the first of an exchange (RFC 7143, 11.10.4)."""

@final
class Runtime:
    """Worker threads; one per process."""

    def __new__(cls, threads: int) -> Runtime: ...
    @property
    def driver(self) -> str:
        """ "io_uring" or "polling"."""
    def wait_for_events(self, seen: int, timeout_s: float) -> int:
        """Blocks until more than `seen` events of pools and volumes have been raised in this
        process, or until the time is over; how many it were. 0 at first, then the last answer:
        none is missed between two calls."""
    def wake_event_waiter(self) -> None:
        """Ends `wait_for_events` as an event does."""
    def stop(self) -> None: ...

@final
class MemberMark:
    @property
    def kind(self) -> str:
        """ "member" of a pool, "free" (its pool was destroyed), or "none" of these."""
    @property
    def pool(self) -> str | None:
        """The UUID of that pool."""
    @property
    def member(self) -> str | None:
        """The UUID of the member, where it is one."""
    @property
    def event(self) -> int:
        """The event count of its label; 0 where it is no member."""

@final
class Pool:
    @staticmethod
    def create(
        runtime: Runtime,
        name: str,
        level: str,
        strip_bytes: int,
        members: list[tuple[str, int | None]],
    ) -> Pool:
        """Members are (path, size in bytes to make it with, or None for one that exists)."""
    @staticmethod
    def open(runtime: Runtime, members: list[str], at_least_event: int | None = None) -> Pool:
        """Imports: every member must fit; "member-refused" names the first that does not.
        "pool-unavailable", with nothing written, where the newest event count of the members is
        below `at_least_event`."""
    @staticmethod
    def open_available(
        runtime: Runtime, members: list[str], at_least_event: int | None = None
    ) -> tuple[Pool, list[str]]:
        """The same, but leaves out members that cannot be used, as far as the level allows; and
        why."""
    @staticmethod
    def mark(runtime: Runtime, path: str) -> MemberMark:
        """What is there says of itself; nothing is written. "member-refused" where it cannot be
        opened or is held by somebody."""
    @staticmethod
    def settle_groups(pools: list[Pool]) -> int:
        """Completes or drops what a crash left of consistent points over several pools: called
        once every pool is open. Returns how many were not whole."""
    def close(self) -> None: ...
    def destroy(self) -> None:
        """Erases the labels and closes; "busy" while the pool has volumes."""
    def status(self) -> PoolStatus: ...
    def fail_member(self, name: str) -> None: ...
    def volumes(self) -> list[VolumeView]:
        """By name. Where one volume is wanted, or their number, ask for that."""
    def volume(self, name: str) -> VolumeView | None:
        """None where there is none of that name. What it costs does not grow with other volumes or
        with its snapshots."""
    def volume_of(self, volume_id: str) -> VolumeView | None:
        """The same, by its UUID."""
    def volumes_with(self, attribute: str, value: str) -> list[VolumeView]:
        """Those whose attribute has that value."""
    def volume_names(self) -> list[str]:
        """Ascending."""
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
    ) -> None:
        """It reads as zeros. The attribute "provisioning" is "thin" (also where there is none) or
        "full": then its room is taken from the members' file systems, so that no write wants for
        any; "no-space" where they have too little. Until it returns nothing else of the pool
        grows."""
    def resize_volume(self, name: str, size_bytes: int) -> None:
        """Grows it, online: "invalid-argument" where it would shrink, or have more than 2**32
        chunks. The new part reads as zeros; snapshots keep their size. The same size changes
        nothing."""
    def set_attributes(self, volume: str, attributes: dict[str, str]) -> None:
        """Replaces the named ones; an empty value removes one. Durable when it returns. At most 32,
        names of 64 bytes, values of 16384; "provisioning" is fixed."""
    def set_store_rules(self, volume: str, policy: str, limit_bytes: int | None) -> None:
        """What the exception store may take (None: as far as the pool goes), and what happens when
        that is not enough. Durable and in force when it returns."""
    def erase_store(self, volume: str) -> None:
        """Overwrites all that snapshots have preserved, and the log of atomic writes; "busy" while
        a snapshot is live. May take long."""
    def delete_volume(self, name: str) -> None: ...
    def delete_snapshot(self, volume: str, snapshot: str) -> None: ...
    def diff(
        self,
        volume: str,
        since: str,
        until: str | None,
        first_byte: int = 0,
        limit: int | None = None,
    ) -> list[tuple[int, int]]:
        """(first byte, length in bytes), ascending, merged. Until None: the volume as it is now.
        From `first_byte` on, which clips an extent that begins before it, and at most `limit` of
        them: what it costs is what it gives."""
    def device(self, volume: str, snapshot: str | None) -> Device: ...
    def check(self, volume: str) -> list[str]:
        """What is wrong with the formats that hold the volume, in words; empty where all is
        well."""
    def compare(self) -> tuple[int, list[tuple[int, int, list[str]]]]:
        """Bytes about which members disagree: copies that differ, parity that is wrong. And the
        first 64 ranges of them: bytes from the members' start, length in bytes, members. Reads all
        that is mapped, while I/O goes on; "closed" where the pool is closed first. Nothing where
        there is nothing to compare with: raid0, and raid5 without a member."""
    def probe(self) -> None:
        """Takes out members that are known not to be what was opened, such as files that were cut.
        Raises where the pool cannot do without them."""
    def events(self) -> list[Event]:
        """What happened since the last call: to the pool, then to its volumes."""
    @staticmethod
    def create_snapshots(
        points: list[tuple[Pool, str, str, tuple[int, int] | None]],
    ) -> None:
        """(pool, volume, snapshot, (first LBA, blocks) or None): one consistent point."""

@final
class PoolStatus:
    @property
    def name(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def level(self) -> str: ...
    @property
    def strip_bytes(self) -> int: ...
    @property
    def event(self) -> int:
        """The event count of its labels: grows with each change of them; what `at_least_event` asks
        for."""
    @property
    def state(self) -> str:
        """ "optimal", "degraded" or "failed"."""
    @property
    def size_bytes(self) -> int: ...
    @property
    def free_bytes(self) -> int: ...
    @property
    def granule_bytes(self) -> int: ...
    @property
    def members(self) -> tuple[MemberView, ...]:
        """By role."""

@final
class MemberView:
    @property
    def name(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def role(self) -> int:
        """Its place in the set, from 0."""
    @property
    def state(self) -> str:
        """ "in-sync", "failed" or "missing"."""
    @property
    def errors(self) -> int:
        """Calls that it failed since the pool was opened."""
    @property
    def repairs(self) -> int:
        """Ranges of it that were found wrong and rewritten since the pool was opened."""

@final
class VolumeView:
    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def created_at_ms(self) -> int: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def block_bytes(self) -> int: ...
    @property
    def chunk_bytes(self) -> int: ...
    @property
    def policy(self) -> str:
        """ "drop-snapshot" or "fail-write"."""
    @property
    def store(self) -> StoreView: ...
    @property
    def attributes(self) -> dict[str, str]: ...
    @property
    def snapshot_count(self) -> int: ...
    @property
    def snapshots(self) -> tuple[SnapshotView, ...]:
        """Oldest first."""
    def snapshot(self, name: str) -> SnapshotView | None: ...
    def snapshot_of(self, snapshot_id: str) -> SnapshotView | None:
        """By its UUID."""

@final
class StoreView:
    @property
    def used_bytes(self) -> int: ...
    @property
    def capacity_bytes(self) -> int: ...
    @property
    def limit_bytes(self) -> int | None:
        """None: as far as the pool goes."""
    @property
    def preserved_chunks(self) -> int: ...
    @property
    def checksums_repaired(self) -> int:
        """Parts of the snapshot map or preserved data that were damaged and are right again, since
        the volume was opened."""
    @property
    def checksums_lost(self) -> int:
        """Those that no copy has right; the snapshots that needed them are invalid."""

@final
class SnapshotView:
    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def created_at_ms(self) -> int: ...
    @property
    def epoch(self) -> int: ...
    @property
    def first_byte(self) -> int: ...
    @property
    def length_bytes(self) -> int: ...
    @property
    def state(self) -> str:
        """ "live" or "invalid"."""
    @property
    def invalid_reason(self) -> str | None: ...
    @property
    def group(self) -> str | None:
        """The consistent point that it belongs to, where several snapshots were taken at once."""
    @property
    def volume_bytes(self) -> int:
        """The size that its volume had when it was taken."""

@final
class Event:
    """`kind`: "member-failed" (member, reason), "member-missing" (member), "resynced" (bytes of
    each member that were compared), "set-failed" (reason), "repaired" (member, offset_bytes,
    length_bytes), "snapshots-dropped" (volume, snapshots, reason), "map-repaired" (volume,
    reason: what was damaged), "store-full" (volume),
    "store-threshold" (volume, percent). What a kind has nothing for is None or empty."""

    @property
    def kind(self) -> str: ...
    @property
    def member(self) -> str | None: ...
    @property
    def volume(self) -> str | None: ...
    @property
    def snapshots(self) -> list[str]: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def bytes(self) -> int | None: ...
    @property
    def offset_bytes(self) -> int | None: ...
    @property
    def length_bytes(self) -> int | None: ...
    @property
    def percent(self) -> int | None: ...

@final
class Device:
    """A volume or a snapshot image."""

    @property
    def size_bytes(self) -> int: ...
    @property
    def block_bytes(self) -> int: ...
    @property
    def read_only(self) -> bool: ...
    def fast_path_counts(self) -> tuple[int, int, int, int, int, int]:
        """What targets made of this object have done without the command set: READs, their bytes,
        their nanoseconds; WRITEs, their bytes, their nanoseconds."""
    def wait_for_writes(self) -> None:
        """Returns when the WRITEs have ended that have passed a gate of a target made of this
        object. Where all those were closed before, the fast path changes nothing from then on."""
    def read(self, offset_bytes: int, length_bytes: int) -> bytes: ...
    def write(self, offset_bytes: int, data: bytes) -> None: ...
    def flush(self) -> None: ...
    def discard(self, offset_bytes: int, length_bytes: int) -> None: ...
    def write_zeroes(self, offset_bytes: int, length_bytes: int) -> None: ...
    @property
    def unmap_granularity_bytes(self) -> int:
        """What the borders of a discard must be multiples of for all of its space to be given back:
        a block of the members' file systems; of a raid5 pool, a stripe."""
    def lba_status(self, offset_bytes: int, length_bytes: int) -> list[tuple[int, bool]]:
        """(bytes, mapped): runs from the start of the range on, neighbours differ; all of the range
        unless it has many. What is not mapped reads as zeros. Empty for an empty range."""
    @property
    def atomic_bytes_max(self) -> int:
        """What `write_atomic` takes; 0 for a snapshot image."""
    def compare_and_write(self, offset_bytes: int, expected: bytes, data: bytes) -> int | None:
        """None where the range held `expected`, which is as long as `data`, and was written; else
        the index of the first byte that differs, and nothing was written. No other change of the
        range comes in between. At most 16 MiB."""
    def or_write(self, offset_bytes: int, data: bytes) -> None:
        """Sets the bits of `data`; no other change of the range comes in between. At most
        16 MiB."""
    def write_atomic(self, offset_bytes: int, data: bytes) -> None:
        """After a power cut all of `data`, or what was there before. Durable when it returns."""
    def copy_from(
        self, source: Device, source_offset_bytes: int, offset_bytes: int, length_bytes: int
    ) -> None:
        """Copies within the data path, forward, in pieces of at most 1 MiB; what was copied before
        a failure stays."""

@final
class Session:
    def close(self) -> None:
        """Drops the connection after the commands that run have ended; returns at once."""
    def closed(self) -> bool: ...
    def end_reason(self) -> str | None:
        """Why it ended, in words; None while it runs."""
    def wait_closed(self, timeout_s: float) -> bool: ...
    def logout_request(self) -> None:
        """Asks the initiator to log out by an Async Message (RFC 7143, 11.9.1, event 1)."""
    def report_event(self, lun: int, sense: bytes) -> None:
        """Reports a SCSI asynchronous event by an Async Message (RFC 7143, 11.9.1, event 0), with
        1 to 252 bytes of sense data, or "invalid-argument". Returns at once. It is lost where the
        session has ended, does not come round to it or its peer leaves its answers unread."""
    def counters(self) -> str:
        """{commands, read_bytes, written_bytes, ...}"""

@final
class Ring:
    """The command ring of a device of the kernel's target (TCMU), served on one worker thread."""

    @staticmethod
    def attach(
        target: Target,
        nexus: int,
        lun: int,
        region: int,
        region_bytes: int,
        doorbell: int,
        records: str,
        once: dict[int, bool],
    ) -> Ring:
        """Serves it as commands of `nexus`, which is no other's of the runtime, for the unit at
        `lun`. `region` and `doorbell` are descriptors of the UIO device (or a file in memory and a
        socket of datagrams); they may be closed afterwards. `doorbell` becomes non-blocking.
        `records` is the path of the ring's record file, which is made where there is none; `once`
        are the operation codes of the commands that it is for, and whether one may take so long
        that the answers of others must not wait for it. What lies in the ring is carried out
        first. A ring that cannot be used ends at once, and says why by `end_reason`.
        "io-error": a descriptor or the file cannot be used."""
    def stop(self) -> None:
        """Begins no more commands; returns when those that have begun are answered. The others
        stay in the ring, for who attaches it next."""
    def closed(self) -> bool: ...
    def end_reason(self) -> str | None:
        """Why it is not served any more, in words; None while it is."""
    def settled(self) -> bool:
        """Whether the commands that lay in the ring at the start are all answered."""
    def counters(self) -> str:
        """{commands, found, repeated, from_records, aborted, refused, functions, record_failures,
        unanswered}"""

@final
class Target:
    def __new__(cls, runtime: Runtime, command_set: CommandSet) -> Target: ...
    def map(self, lun: int, device: Device, unit: int, read_only: bool) -> None:
        """`lun` is the eight-byte LUN (SAM-5, 4.7.2) as an integer, `unit` the number of the
        logical unit (0 to 2**64 - 1): the same in every target that shows it, so that a reset ends
        its tasks in every session of the runtime. `read_only`: the fast path declines WRITEs.
        The gate is closed for every nexus, until `set_pending` says otherwise."""
    def unmap(self, lun: int) -> None: ...
    def set_pending(self, lun: int, nexus: int | None, pending: bool) -> None:
        """The gate; nexus None is every nexus."""
    def decline_writes(self, lun: int, declined: bool) -> None:
        """Whether the fast path declines every WRITE, though the gate lets it through."""
    def abort_tasks(self, lun: int, nexuses: Collection[int]) -> None:
        """Ends every task of these nexuses at `lun` without status; returns when all have ended."""
    def adopt(
        self,
        descriptor: int,
        nexus: int,
        parameters: SessionParameters,
        negotiator: TextNegotiator,
        received: bytes,
    ) -> Session:
        """Takes the descriptor over, and closes it whatever comes of it. `nexus` is that of no
        other session of the runtime."""
