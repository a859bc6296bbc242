"""`DataPath` by the extension module: the only importer of `_native`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from scsi_snap import _native
from scsi_snap.inventory.member_files import delete_free, displaced, removed_on_failure, usable
from scsi_snap.inventory.native import (
    MemberMark,
    NativePool,
    NativeRing,
    NativeSession,
    NativeTarget,
    Point,
)
from scsi_snap.iscsi.full_feature_text import NormalSessionText
from scsi_snap.iscsi.parameters import SessionParameters
from scsi_snap.scsi.target import Target


class NativeDataPath:
    """`_native` with its runtime of `threads` worker threads."""

    error: type[Exception] = _native.NativeError

    def __init__(self, threads: int) -> None:
        self.runtime = _native.Runtime(threads)
        self.driver = self.runtime.driver
        self.threads = threads

    def create_pool(
        self,
        name: str,
        level: str,
        strip_bytes: int,
        members: list[tuple[str, int | None]],
        force: bool = False,
    ) -> NativePool:
        with removed_on_failure(members):
            taken = usable(members, self.mark, force)
            return _native.Pool.create(self.runtime, name, level, strip_bytes, taken)

    def mark(self, path: str) -> MemberMark:
        return _native.Pool.mark(self.runtime, path)

    def delete_free(self, path: str) -> bool:
        return delete_free(path, self.mark)

    def open_pool(self, members: list[str], at_least_event: int = 0) -> NativePool:
        return _native.Pool.open(self.runtime, members, at_least_event)

    def open_available(
        self, members: list[str], at_least_event: int = 0
    ) -> tuple[NativePool, list[str]]:
        return _native.Pool.open_available(self.runtime, members, at_least_event)

    def settle_groups(self, pools: list[NativePool]) -> int:
        return _native.Pool.settle_groups([cast("_native.Pool", pool) for pool in pools])

    def create_snapshots(self, points: list[Point]) -> None:
        # Pools and targets given to this class were made by it: each cast is of its own object.
        _native.Pool.create_snapshots(
            [
                (cast("_native.Pool", pool), volume, snapshot, block_range)
                for pool, volume, snapshot, block_range in points
            ]
        )

    def make_target(self, command_set: Target) -> NativeTarget:
        return cast("NativeTarget", _native.Target(self.runtime, command_set))

    def adopt(
        self,
        target: NativeTarget,
        descriptor: int,
        nexus: int,
        parameters: SessionParameters,
        text: NormalSessionText,
        received: bytes,
    ) -> NativeSession:
        native = cast("_native.Target", target)
        return native.adopt(descriptor, nexus, parameters, text, received)

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
        native = cast("_native.Target", target)
        return _native.Ring.attach(
            native, nexus, lun, region, region_bytes, doorbell, records, once
        )

    def displaced_members(self, paths: Iterable[str]) -> dict[str, str]:
        return displaced(paths)

    def wait_for_events(self, seen: int, timeout_s: float) -> int:
        return self.runtime.wait_for_events(seen, timeout_s)

    def wake_event_waiter(self) -> None:
        self.runtime.wake_event_waiter()

    def stop(self) -> None:
        self.runtime.stop()
