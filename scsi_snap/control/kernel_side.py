"""The kernel's target, wired: what serves its rings, what configures it, and who looks after both
when this process has ended. A part of the composition root.

rtslib and pyroute2 are imported only where the kernel's target can be used: a daemon without them
works, and says what is missing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from scsi_snap.inventory import addresses
from scsi_snap.inventory.absent_exporter import AbsentExporter
from scsi_snap.inventory.lio_exporter import LioExporter
from scsi_snap.inventory.native import DataPath
from scsi_snap.inventory.records import PortalRecord
from scsi_snap.inventory.rings import Rings
from scsi_snap.inventory.units import Units
from scsi_snap.lio import availability
from scsi_snap.lio.guardian import Guardian, holding
from scsi_snap.lio.kernel_target import KernelRefused, KernelTarget
from scsi_snap.lio.tcmu_events import Listener
from scsi_snap.lio.uio import UioTree
from scsi_snap.scsi.opcodes import once_codes

_log = logging.getLogger("scsi_snap.lio")

LIO_LISTEN = ("127.0.0.1:3261",)
"""Beside the embedded portal's, where nothing else was said."""

RECORDS = "rings"
"""In the state directory: what must not be carried out twice, a file per ring."""


@contextmanager
def kernel_side(
    state_directory: Path,
    data_path: DataPath,
    units: Units,
    wanted: bool,
    listen: Sequence[str],
    records: Sequence[PortalRecord],
) -> Iterator[LioExporter | AbsentExporter]:
    """`listen` and `records`: shown with the reason where it cannot be used."""
    tree = UioTree()
    reason = availability.obstacle() if wanted else "the daemon was started with --no-lio"
    with ExitStack() as held:
        if reason is None and not held.enter_context(holding(tree)):
            reason = "another daemon uses it"
        if reason is not None:
            yield AbsentExporter(reason, map(addresses.canonical, listen), records)
            return
        guardian = Guardian()
        _log.info("process %d looks after the kernel's target when this one ends", guardian.pid)
        try:
            rings = Rings(data_path, units, tree, Listener, state_directory / RECORDS, once_codes())
            yield LioExporter(rtslib, rings, units.new_nexus, units.tell)
        finally:
            if tree.devices():
                guardian.release()
            else:
                guardian.dismiss()


def rtslib() -> KernelTarget:
    try:
        from scsi_snap.lio.rtslib_target import RtslibTarget
    except ImportError as error:
        raise KernelRefused(str(error)) from error
    return RtslibTarget()
