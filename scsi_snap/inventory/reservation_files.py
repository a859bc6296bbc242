"""The records of persistent reservations, a file per logical unit in the state directory.

    reservations-UUID            the record (docs/formats/reservations.md)
    reservations-UUID.previous   the record before the last change, for people

A record stays when its unit is unmapped, and goes with the volume or snapshot.
"""

from __future__ import annotations

from uuid import UUID

from scsi_snap.inventory.record_files import RecordFile
from scsi_snap.inventory.state_directory import StateDirectory
from scsi_snap.scsi.reservation_record import RECORD_BYTES_MAX


class ReservationFile(RecordFile):
    """Of one logical unit."""

    def __init__(self, directory: StateDirectory, unit: UUID) -> None:
        super().__init__(directory, f"reservations-{unit}", RECORD_BYTES_MAX)


def damage(unit: UUID, reason: str) -> str:
    """What an operator is told of a unit whose record is damaged."""
    return (
        "who has registered and reserved it is not known, as the file "
        f"reservations-{unit} of the state directory is damaged: {reason}. Its initiators are "
        "refused until a cluster node replaces the reservation (sg_persist --out --replace-lost), "
        "or until you, being sure that no node is fenced, remove the file and restart the daemon"
    )
