"""Who may log in to which target, and by which secret: answers the portal's questions from memory.

A target that lists no initiator takes any; one that lists some takes those alone, and shows itself
to no other in discovery. Discovery itself is not authenticated.
"""

from __future__ import annotations

from collections.abc import Iterable

from scsi_snap.inventory.records import ChapRecord, TargetRecord
from scsi_snap.iscsi.chap import ChapCredentials
from scsi_snap.iscsi.directory import TargetDescription
from scsi_snap.iscsi.errors import InvalidCredentials


class AccessRules:
    """A `TargetDirectory`. The records are replaced whole: a login sees one version of them."""

    def __init__(self) -> None:
        self._records: dict[str, TargetRecord] = {}

    def set(self, record: TargetRecord) -> None:
        self._records = {**self._records, record.name: record}

    def remove(self, name: str) -> None:
        self._records = {k: v for k, v in self._records.items() if k != name}

    def find(self, target_name: str) -> TargetDescription | None:
        return TargetDescription(target_name) if target_name in self._records else None

    def may_log_in(self, initiator_name: str, target_name: str) -> bool:
        record = self._records.get(target_name)
        return record is not None and _admits(record, initiator_name)

    def visible_to(self, initiator_name: str) -> Iterable[TargetDescription]:
        return [
            TargetDescription(name)
            for name, record in sorted(self._records.items())
            if _admits(record, initiator_name)
        ]

    def credentials(
        self,
        initiator_name: str,
        target_name: str | None,
    ) -> ChapCredentials | None:
        record = self._records.get(target_name) if target_name is not None else None
        return credentials_of(record.chap) if record is not None and record.chap else None


def credentials_of(chap: ChapRecord) -> ChapCredentials:
    """Raises `InvalidCredentials`."""
    try:
        return ChapCredentials(
            user=chap.user,
            secret=chap.secret.encode(),
            mutual_user=chap.mutual_user or None,
            mutual_secret=chap.mutual_secret.encode() or None,
        )
    except UnicodeEncodeError as error:
        raise InvalidCredentials("CHAP users and secrets are UTF-8 text") from error


def _admits(record: TargetRecord, initiator_name: str) -> bool:
    return not record.initiators or initiator_name in record.initiators
