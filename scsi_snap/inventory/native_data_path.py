"""`DataPath` by the extension module; with `portal_exporter`, the only importers of `_native`."""

from __future__ import annotations

from typing import cast

from scsi_snap import _native
from scsi_snap.inventory.native import NativePool, Point


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
        return _native.Pool.create(self.runtime, name, level, strip_bytes, members)

    def open_pool(self, members: list[str]) -> NativePool:
        return _native.Pool.open(self.runtime, members)

    def create_snapshots(self, points: list[Point]) -> None:
        _native.Pool.create_snapshots(
            [(cast(_native.Pool, pool), *rest) for pool, *rest in points]  # type: ignore[misc]
        )

    def stop(self) -> None:
        self.runtime.stop()
