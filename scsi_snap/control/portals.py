"""Verbs on network portals: the addresses at which initiators log in."""

from __future__ import annotations

from collections.abc import Iterable

from scsi_snap import limits
from scsi_snap.control import views, ways
from scsi_snap.control.outcomes import Created, Deleted, Unchanged
from scsi_snap.errors import Exists, InvalidArgument, IoFailed, LimitReached, NotFound
from scsi_snap.inventory import addresses
from scsi_snap.inventory.assembly import Assembly
from scsi_snap.inventory.records import PortalRecord, State, TargetRecord
from scsi_snap.inventory.target_records import FIRST_GROUP, PORTAL, Via


class PortalVerbs:
    """A portal is listened on first and recorded then: what cannot listen is not on record."""

    def __init__(self, assembly: Assembly) -> None:
        self._catalog = assembly.catalog
        self._exporter = assembly.exporter
        self._lock = assembly.exports_lock

    def all(self) -> list[views.Portal]:
        targets = self._catalog.state.targets.values()
        return [_view(one, targets) for one in self._exporter.portals()]

    def create(
        self, address: str, tag: int = FIRST_GROUP, via: Via = PORTAL
    ) -> Created[views.Portal] | Unchanged[views.Portal]:
        """Listens there from now on, and after every start: the embedded portal, or the kernel's
        target."""
        check_tag(tag)
        ways.refuse_unusable(self._exporter, via)
        record = PortalRecord(addresses.canonical(address), tag, via)
        ways.check_address(via, record.address)

        def change(state: State) -> State:
            return state.with_portal(record)

        with self._lock:
            portals = self._catalog.state.portals
            there = portals.get(record.address)
            if there == record:
                return Unchanged(self._shown(record.address))
            if there is not None:
                raise Exists(
                    f"the portal {record.address} is in portal group {there.tag}, via {there.via}",
                    f"`scsi-snap portal delete {record.address}` first: it ends no session",
                )
            if len(portals) >= limits.PORTALS_MAX:
                raise LimitReached(
                    f"a controller has at most {limits.PORTALS_MAX} portals", "delete one"
                )
            self._exporter.add_portal(record)
            try:
                self._catalog.update(change)
            except IoFailed:
                self._exporter.remove_portal(record.address)
                raise
            return Created(self._shown(record.address))

    def delete(self, address: str) -> Deleted:
        """Listens there no more. Logins under way there end; sessions go on."""
        address = addresses.canonical(address)
        with self._lock:
            known = {one.address for one in self._exporter.portals()}
            if address not in known:
                raise NotFound.named("portal", address, known, "scsi-snap portal list")
            self._exporter.remove_portal(address)
            self._catalog.update(lambda state: state.without_portal(address))
        return Deleted(address)

    def _shown(self, address: str) -> views.Portal:
        return next(one for one in self.all() if one.address == address)


def check_tag(tag: int) -> None:
    """Raises `InvalidArgument` for what is no portal group tag (RFC 7143, 13.9)."""
    if not 1 <= tag <= limits.PORTAL_GROUP_TAG_MAX:
        raise InvalidArgument(
            f"{tag} is no portal group tag", f"1 to {limits.PORTAL_GROUP_TAG_MAX}"
        )


def _view(one: views.ListedPortal, targets: Iterable[TargetRecord]) -> views.Portal:
    return views.Portal(
        address=one.address,
        portal_group_tag=one.portal_group_tag,
        via=one.via,
        on_record=one.on_record,
        state="unavailable" if one.reason else "listening",
        reason=one.reason,
        warning=_warning(one, targets),
    )


def _warning(one: views.ListedPortal, targets: Iterable[TargetRecord]) -> str:
    """Of one that listens at every address of the machine, and leads to targets that ask for no
    secret, or to none as yet."""
    host, _ = addresses.parse(one.address)
    reached = [to for to in targets if to.via == one.via and one.portal_group_tag in to.tags]
    without = sorted(to.name for to in reached if to.asks_no_secret)
    if not addresses.is_wildcard(host) or (reached and not without):
        return ""
    which = without[0] if without else "each target that asks for no secret"
    more = f" and {len(without) - 1} more" if len(without) > 1 else ""
    return (
        f"every host that reaches this machine may log in to {which}{more}: `scsi-snap target chap"
        f" {without[0] if without else 'IQN'} --user USER` asks for a secret"
    )
