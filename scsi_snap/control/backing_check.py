"""Whether a volume or snapshot is there, for those who ask before they make a device over it."""

from __future__ import annotations

from collections.abc import Callable

from scsi_snap.control.service import Service
from scsi_snap.errors import ScsiSnapError
from scsi_snap.inventory.lio_names import backing_of
from scsi_snap.inventory.names import SnapshotName


def backing_check(service: Service) -> Callable[[str], str | None]:
    """What follows the handler in a device's configuration → what is wrong with it, in words;
    None: nothing."""

    def check(text: str) -> str | None:
        try:
            name, _ = backing_of(text)
            if isinstance(name, SnapshotName):
                service.snapshots.show(name)
            else:
                service.volumes.show(name)
        except ScsiSnapError as error:
            return f"{error.message} ({error.hint})" if error.hint else error.message
        return None

    return check
