"""The records of targets as verbs use them: found by name, changed, and shown."""

from __future__ import annotations

from collections.abc import Callable

from scsi_snap.control import views
from scsi_snap.control.outcomes import Changed, Unchanged
from scsi_snap.errors import InvalidArgument, NotFound, ScsiSnapError
from scsi_snap.inventory.access import credentials_of
from scsi_snap.inventory.assembly import Assembly, find_backing
from scsi_snap.inventory.pools import Pools
from scsi_snap.inventory.records import ChapRecord, LunRecord, TargetRecord
from scsi_snap.iscsi.directory import spelled
from scsi_snap.iscsi.errors import InvalidCredentials
from scsi_snap.iscsi.limits import MIN_CHAP_SECRET_BYTES


class TargetBook:
    """The record is written first, then the exporter is told: what is acknowledged survives a
    crash, and what initiators see never runs ahead of the record. Where the exporter cannot (the
    kernel refuses), the record is what it was again."""

    def __init__(self, assembly: Assembly) -> None:
        self._assembly = assembly
        self._catalog = assembly.catalog
        self._exporter = assembly.exporter
        self._lock = assembly.exports_lock

    def _find(self, name: str) -> TargetRecord:
        targets = self._catalog.state.targets
        found = targets.get(name.lower())
        if found is None:
            raise NotFound.named("target", name, targets, "scsi-snap target list")
        return found

    def _change(
        self, name: str, change: Callable[[TargetRecord], TargetRecord]
    ) -> Changed[views.Target] | Unchanged[views.Target]:
        """Of what is not about LUNs. Sessions that are no longer allowed end."""
        with self._lock:
            before = self._find(name)
            after = change(before)
            if after == before:
                return Unchanged(self._view(before))
            self._exporter.check(after)
            self._catalog.update(lambda state: state.with_target(after))
            self._tell(before, lambda: self._exporter.set_target(after))
        return Changed(self._view(after))

    def _tell(self, before: TargetRecord, tell: Callable[[], None]) -> None:
        """Has the exporter do what is on record by now, in place of `before`. The lock is held."""
        try:
            tell()
        except ScsiSnapError:
            self._catalog.update(lambda state: state.with_target(before))
            raise

    def _view(self, record: TargetRecord) -> views.Target:
        return self._views([record])[0]

    def _views(self, records: list[TargetRecord]) -> list[views.Target]:
        pools, sessions = self._assembly.pools, self._exporter.sessions()
        portals = self._exporter.portals()
        return [
            _view(record, pools, sessions, portals, self._exporter.obstacle(record.via) or "")
            for record in records
        ]


def _view(
    record: TargetRecord,
    pools: Pools,
    sessions: list[views.Session],
    portals: list[views.ListedPortal],
    reason: str,
) -> views.Target:
    redirect = record.redirect
    return views.Target(
        name=record.name,
        via=record.via,
        reason=reason,
        ports=tuple(
            views.TargetPort(
                portal_group_tag=port.tag,
                relative_identifier=port.relative_identifier,
                portals=tuple(
                    one.address
                    for one in portals
                    if (one.via, one.portal_group_tag) == (record.via, port.tag)
                ),
            )
            for port in record.ports
        ),
        chap_user=record.chap.user if record.chap else None,
        chap_mutual_user=(record.chap.mutual_user or None) if record.chap else None,
        initiators=tuple(
            views.Initiator(
                name=one.name,
                chap_user=one.chap.user if one.chap else None,
                chap_mutual_user=(one.chap.mutual_user or None) if one.chap else None,
            )
            for one in record.initiators
        ),
        redirect=spelled(redirect.host, redirect.port) if redirect else None,
        redirect_permanent=redirect is not None and redirect.permanent,
        luns=tuple(lun_view(record, lun, pools, shown=not reason) for lun in record.luns),
        sessions=sum(one.target == record.name for one in sessions),
    )


def lun_view(target: TargetRecord, lun: LunRecord, pools: Pools, *, shown: bool) -> views.Lun:
    """`shown`: by what carries its target."""
    handle = pools.by_id(lun.pool_id)
    found = find_backing(handle, lun) if handle else None
    if found is not None:
        read_only = lun.read_only or found.personality.read_only
        is_invalid = found.snapshot is not None and found.snapshot.state == "invalid"
        state = "unavailable" if not shown else "invalid" if is_invalid else "mapped"
    else:
        read_only = lun.read_only or bool(lun.snapshot_id)
        state = "missing" if handle else "unavailable"
    return views.Lun(target.name, lun.lun, lun.backing, read_only, state, lun.initiators)


def _check_length(secret: str) -> None:
    """A secret that people type is counted in characters, of which none has less than a byte."""
    if len(secret) < MIN_CHAP_SECRET_BYTES:
        raise InvalidCredentials(
            f"a CHAP secret has at least {MIN_CHAP_SECRET_BYTES} characters, this one {len(secret)}"
        )


def check_chap(chap: ChapRecord | None) -> None:
    """Raises `InvalidArgument` for what must not be a secret."""
    try:
        if chap is not None:
            _check_length(chap.secret)
            if chap.mutual_secret:
                _check_length(chap.mutual_secret)
            credentials_of(chap)
    except InvalidCredentials as error:
        raise InvalidArgument(
            str(error), "`scsi-snap target chap --help` says what is asked"
        ) from error
