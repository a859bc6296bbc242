"""The records of persistent reservations, a file per logical unit in the state directory.

    reservations-UUID            the record (docs/formats/reservations.md)
    reservations-UUID.previous   the record before the last change, for people

A record is replaced whole, and durable when `save` returns (see `state_directory`). It stays when
its unit is unmapped, and goes with the volume or snapshot. What it says is none of this module's
affair: the command set checks it.
"""

from __future__ import annotations

from uuid import UUID

from scsi_snap.errors import IoFailed
from scsi_snap.inventory.state_directory import StateDirectory
from scsi_snap.scsi.record_store import StoreFailed
from scsi_snap.scsi.reservation_record import RECORD_BYTES_MAX


class ReservationFile:
    """A `RecordStore` for one logical unit."""

    def __init__(self, directory: StateDirectory, unit: UUID) -> None:
        self._directory = directory
        self._name = f"reservations-{unit}"

    def load(self) -> bytes:
        try:
            return self._directory.read(self._name, RECORD_BYTES_MAX) or b""
        except IoFailed as error:
            raise StoreFailed(error.message) from error

    def save(self, data: bytes) -> None:
        try:
            self._directory.replace(self._name, data)
        except IoFailed as error:
            raise StoreFailed(error.message) from error

    def remove(self) -> None:
        try:
            self._directory.remove(self._name)
        except IoFailed as error:
            raise StoreFailed(error.message) from error


def damage(unit: UUID, backing: str, reason: str) -> str:
    """What an operator is told of a unit whose record is damaged."""
    return (
        f"{backing}: who has registered and reserved it is not known, as the file "
        f"reservations-{unit} of the state directory is damaged: {reason}. Its initiators are "
        "refused until a cluster node replaces the reservation (sg_persist --out --replace-lost), "
        "or until you, being sure that no node is fenced, remove the file and restart the daemon"
    )
