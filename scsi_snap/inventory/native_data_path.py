"""`DataPath` by the extension module: the only importer of `_native`."""

from __future__ import annotations

from typing import cast

from scsi_snap import _native
from scsi_snap.inventory.member_files import removed_on_failure
from scsi_snap.inventory.native import NativeDevice, NativePool, NativeSession, NativeTarget, Point
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
        self, name: str, level: str, strip_bytes: int, members: list[tuple[str, int | None]]
    ) -> NativePool:
        with removed_on_failure(members):
            return _native.Pool.create(self.runtime, name, level, strip_bytes, members)

    def open_pool(self, members: list[str]) -> NativePool:
        return _native.Pool.open(self.runtime, members)

    def open_available(self, members: list[str]) -> tuple[NativePool, list[str]]:
        return _native.Pool.open_available(self.runtime, members)

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
        return _Present(_native.Target(self.runtime, command_set))

    def adopt(
        self,
        target: NativeTarget,
        descriptor: int,
        nexus: int,
        parameters: SessionParameters,
        portal_address: str,
        received: bytes,
    ) -> NativeSession:
        native = cast("_Present", target).native
        return _PresentSession(
            native.adopt(descriptor, nexus, parameters, portal_address, received)
        )

    def stop(self) -> None:
        self.runtime.stop()


class _Present(NativeTarget):
    """The fast path that knows neither numbers of units nor read-only places."""

    def __init__(self, native: _native.Target) -> None:
        self.native = native

    def map(self, lun: int, device: NativeDevice, unit: int, read_only: bool) -> None:
        self.native.map(lun, cast("_native.Device", device))

    def unmap(self, lun: int) -> None:
        self.native.unmap(lun)

    def set_pending(self, lun: int, nexus: int | None, pending: bool) -> None:
        self.native.set_pending(lun, nexus, pending)


class _PresentSession(NativeSession):
    """A session that sends no events."""

    def __init__(self, native: _native.Session) -> None:
        self.native = native

    def close(self) -> None:
        self.native.close()

    def closed(self) -> bool:
        return self.native.closed()

    def wait_closed(self, timeout_s: float) -> bool:
        return self.native.wait_closed(timeout_s)

    def end_reason(self) -> str | None:
        return self.native.end_reason()

    def logout_request(self) -> None:
        self.native.logout_request()

    def report_event(self, lun: int, sense: bytes) -> None:
        """Nothing is sent."""

    def counters(self) -> str:
        return self.native.counters()
