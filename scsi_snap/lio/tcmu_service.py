"""Telling the stock targetcli of our TCMU handler, so that it lists `user:scsi_snap` by itself.

targetcli asks the system bus for the service org.kernel.TCMUService1, which has an object for each
handler (its name: the last part of the path, hence the underscore). Whoever owns that name speaks
for all handlers: tcmu-runner where it runs, and then we register with it, else we ourselves. When
the name changes hands, this is settled anew.

Nothing depends on it: without a bus, its policy or the package dbus-fast the daemon serves as
ever, and the log says what is missing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

_log = logging.getLogger("scsi_snap.tcmu_service")

HANDLER = "scsi_snap"

Check = Callable[[str], str | None]
"""What is wrong with what follows the handler in a device's configuration, in words; None:
nothing. Called in a thread."""


class TcmuService:
    """`start` returns at once and raises nothing; `stop` waits until the bus is left."""

    def __init__(self, check: Check, bus_address: str | None = None) -> None:
        """`bus_address`: in place of the system bus."""
        self._check = check
        self._bus_address = bus_address
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        try:
            # Imported here: an optional package.
            from scsi_snap.lio.tcmu_bus import announce

            await announce(self._check_config, self._bus_address, _log.info)
        except ModuleNotFoundError as error:
            _log.info("targetcli is not told of user:%s: no Python package %s", HANDLER, error.name)
        except Exception as error:  # noqa: BLE001  what a bus does must not end the daemon
            _log.warning("targetcli is not told of user:%s: %s", HANDLER, error)

    async def _check_config(self, config: str) -> str | None:
        """`config` as it would be the device's, with the handler in front."""
        handler, _, backing = config.partition("/")
        if handler not in (HANDLER, HANDLER.replace("_", "-")):
            return f"{config!r} is not for the handler {HANDLER}"
        return await asyncio.to_thread(self._check, backing)
