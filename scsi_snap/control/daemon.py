"""The composition root: the clock, sockets, signals, data path and catalog are wired here only.

Start: lock the state, open everything, take the kernel's rings over, export, listen, make the
control socket, serve, tell that it is ready. What initiators wait for after a restart comes before
what people wait for: the API's framework takes its time to be imported. Stop (SIGTERM, SIGINT):
end requests, stop listening, ask initiators to log out, close their sessions, leave the kernel's
rings as they are, close pools cleanly. A start that fails undoes what it had done, in that order.

The faces are passed in from above (`Face`): control imports no face.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, Protocol

from scsi_snap import limits
from scsi_snap.control import ways
from scsi_snap.control.backing_check import backing_check
from scsi_snap.control.event_keeper import EventKeeper
from scsi_snap.control.event_log import EventLog
from scsi_snap.control.event_watch import EventWatch
from scsi_snap.control.kernel_side import LIO_LISTEN, kernel_side
from scsi_snap.control.service import Service
from scsi_snap.control.service_manager import notify
from scsi_snap.inventory.assembly import Assembly
from scsi_snap.inventory.catalog import Catalog
from scsi_snap.inventory.exporters import Exporters
from scsi_snap.inventory.lio_exporter import LioExporter
from scsi_snap.inventory.mode_files import ModeFile, boot
from scsi_snap.inventory.native import DataPath
from scsi_snap.inventory.portal_exporter import PortalExporter
from scsi_snap.inventory.reservation_files import ReservationFile
from scsi_snap.inventory.state_directory import StateDirectory
from scsi_snap.inventory.target_records import LIO, PORTAL
from scsi_snap.inventory.units import Units
from scsi_snap.lio.tcmu_service import TcmuService
from scsi_snap.os_errors import of_os_error

_log = logging.getLogger("scsi_snap.daemon")


class Face(Protocol):
    """Something that serves the verbs, such as the API. `stop` also undoes its making."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...


@dataclass(frozen=True)
class Options:
    state_directory: Path
    listen: Sequence[str]
    """ADDRESS:PORT of each portal beside those on record."""
    control_socket: Path
    erase_bytes_per_s: float = inf
    """The pace of FORMAT UNIT and SANITIZE, of each unit."""
    lio: bool = True
    """Whether to use the kernel's target where it can be used."""
    lio_listen: Sequence[str] = ()
    """ADDRESS:PORT of each of its portals beside those on record; none: `LIO_LISTEN`, where it can
    be used."""


async def serve(
    options: Options,
    make_data_path: Callable[[], DataPath],
    make_face: Callable[[Service, Path], Face],
    announce: Callable[[str], None],
) -> None:
    """Runs until SIGTERM or SIGINT. Raises `ScsiSnapError` when it cannot start."""
    for address in options.lio_listen:
        ways.check_address(LIO, address)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    # A terminal that goes away must not take the disks of initiators with it.
    loop.add_signal_handler(signal.SIGHUP, _log.info, "SIGHUP: there is nothing to read again")
    loop.set_exception_handler(_on_loop_error)
    async with AsyncExitStack() as undo:
        directory = StateDirectory(options.state_directory)
        undo.callback(directory.release)
        catalog = Catalog(directory)
        events = EventLog(_now_ms)
        keeper = EventKeeper(events, directory.path, _now_ms)
        keeper.start()
        undo.push_async_callback(asyncio.to_thread, keeper.stop)
        data_path = make_data_path()
        undo.push_async_callback(asyncio.to_thread, data_path.stop)
        units = Units(
            partial(ReservationFile, directory),
            options.erase_bytes_per_s,
            partial(ModeFile, directory, boot()),
            events.tell,
        )
        exporter = PortalExporter(data_path, units)
        lio_records = [one for one in catalog.state.portals.values() if one.via == LIO]
        lio = undo.enter_context(
            kernel_side(
                directory.path, data_path, units, options.lio, options.lio_listen, lio_records
            )
        )
        assembly = Assembly(catalog, data_path, Exporters(exporter, lio))
        service = Service(assembly, str(options.state_directory), events, lambda: keeper.problem)
        undo.push_async_callback(asyncio.to_thread, service.stop)
        undo.callback(units.outlive)
        undo.push_async_callback(exporter.end_sessions)
        await asyncio.to_thread(service.start)
        watch = EventWatch(data_path, service.fetch_events)
        watch.start()
        undo.push_async_callback(asyncio.to_thread, watch.stop)
        undo.push_async_callback(exporter.stop_listening)
        portals = catalog.state.portals.values()
        await exporter.start(options.listen, [one for one in portals if one.via == PORTAL])
        if isinstance(lio, LioExporter):
            # The default gives way to a portal on record at the same address, whosever that is.
            free = [address for address in LIO_LISTEN if address not in catalog.state.portals]
            await asyncio.to_thread(lio.start, options.lio_listen or free, lio_records)
            tcmu_service = TcmuService(backing_check(service))
            await tcmu_service.start()
            undo.push_async_callback(tcmu_service.stop)
        await asyncio.to_thread(service.note_portals)
        housekeeping = asyncio.create_task(_housekeep(service))
        undo.callback(housekeeping.cancel)
        face = await asyncio.to_thread(make_face, service, options.control_socket)
        undo.push_async_callback(face.stop)
        await face.start()
        announce(_ready(exporter.addresses(), lio.addresses(), options.control_socket))
        notify("READY=1")
        await stopping.wait()
        events.end_waits()
        _log.info("stopping")
        notify("STOPPING=1")


_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


def _on_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What nobody has awaited. A socket that cannot accept is tried again each second."""
    error = context.get("exception")
    if isinstance(error, OSError) and error.errno in _EXHAUSTED:
        found = of_os_error(error)
        _log.warning("a connection waits: %s; %s", found.message, found.hint)
    else:
        loop.default_exception_handler(context)


def _ready(portal: list[str], lio: list[str], control: Path) -> str:
    """The line that scripts wait for."""
    addresses = ", ".join(portal) or "no address"
    kernel = f", by the kernel's target on {', '.join(lio)}" if lio else ""
    return f"scsi-snap: ready, iSCSI on {addresses}{kernel}, control on {control}"


async def _housekeep(service: Service) -> None:
    """Ends by being cancelled."""
    while True:
        try:
            await asyncio.to_thread(service.housekeep)
        except Exception:
            _log.exception("housekeeping failed")
        await asyncio.sleep(limits.HOUSEKEEPING_S)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
