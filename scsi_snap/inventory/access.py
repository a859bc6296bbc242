"""Who may log in to which target, where, and by which secret: answers the portal's questions from
memory.

A target that lists no initiator takes any; one that lists some takes those alone, and shows itself
to no other in discovery. An initiator's own secret comes before the target's. Discovery asks for a
secret of its own, or for none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from scsi_snap.inventory.records import ChapRecord, TargetRecord
from scsi_snap.iscsi.chap import ChapCredentials
from scsi_snap.iscsi.directory import PortalAddress, Redirect, TargetDescription
from scsi_snap.iscsi.errors import InvalidCredentials


class AccessRules:
    """A `TargetDirectory`. The records are replaced whole: a login sees one version of them.

    `listening` tells the addresses of all portals, as they are now.
    """

    def __init__(self, listening: Callable[[], Iterable[PortalAddress]]) -> None:
        self._listening = listening
        self._records: dict[str, TargetRecord] = {}
        self._discovery_chap: ChapRecord | None = None

    def set(self, record: TargetRecord) -> None:
        self._records = {**self._records, record.name: record}

    def remove(self, name: str) -> None:
        self._records = {k: v for k, v in self._records.items() if k != name}

    def set_discovery_chap(self, chap: ChapRecord | None) -> None:
        self._discovery_chap = chap

    def find(self, target_name: str) -> TargetDescription | None:
        record = self._records.get(target_name)
        return None if record is None else self._description(record)

    def may_log_in(self, initiator_name: str, target_name: str) -> bool:
        record = self._records.get(target_name)
        return record is not None and record.admits(initiator_name)

    def visible_to(self, initiator_name: str) -> Iterable[TargetDescription]:
        """Those that a portal leads to."""
        admitting = [
            record for _, record in sorted(self._records.items()) if record.admits(initiator_name)
        ]
        described = [self._description(record) for record in admitting]
        return [one for one in described if one.portals]

    def credentials(
        self,
        initiator_name: str,
        target_name: str | None,
    ) -> ChapCredentials | None:
        chap = self._discovery_chap
        if target_name is not None:
            record = self._records.get(target_name)
            chap = record.chap_of(initiator_name) if record is not None else None
        return credentials_of(chap) if chap is not None else None

    def _description(self, record: TargetRecord) -> TargetDescription:
        redirect = record.redirect
        return TargetDescription(
            record.name,
            tags=record.tags,
            portals=tuple(
                portal for portal in self._listening() if portal.portal_group_tag in record.tags
            ),
            redirect=(
                Redirect(redirect.host, redirect.port, redirect.permanent) if redirect else None
            ),
        )


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
