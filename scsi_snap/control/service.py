"""The controller's verbs, each once, by noun. Every face calls these and adds no rule.

    pools      all show create import_ export destroy fail_member
    volumes    all show create set resize delete check check_all
    snapshots  all show create delete diff extents map
    targets    all show create delete add_group remove_group set_redirect
               set_chap allow deny allow_any discovery set_discovery_chap
               luns map unmap sessions close_session
    portals    all create delete
    events     after;  status health

Verbs block and may be called from any thread; locks and their order are told in
`inventory.pools`. They return outcomes (`control.outcomes`) or views, or raise `ScsiSnapError`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from scsi_snap import __version__
from scsi_snap.control import views
from scsi_snap.control.event_log import EventLog
from scsi_snap.control.health import Seen, health
from scsi_snap.control.pools import PoolVerbs
from scsi_snap.control.portals import PortalVerbs
from scsi_snap.control.snapshots import SnapshotVerbs
from scsi_snap.control.targets import TargetVerbs
from scsi_snap.control.volumes import VolumeVerbs
from scsi_snap.errors import ScsiSnapError
from scsi_snap.inventory.assembly import Assembly
from scsi_snap.inventory.target_records import LIO, PORTAL


class Service:
    """`start` builds everything from the records, `stop` takes it down cleanly."""

    def __init__(
        self,
        assembly: Assembly,
        state_directory: str,
        events: EventLog,
        events_problem: Callable[[], str] = lambda: "",
    ) -> None:
        """`events_problem`: why events are not durable now, or empty."""
        self._assembly = assembly
        self._state_directory = state_directory
        self._state_written = True
        self.events = events
        self._events_problem = events_problem
        self.pools = PoolVerbs(assembly, self.events)
        self.volumes = VolumeVerbs(assembly)
        self.snapshots = SnapshotVerbs(assembly)
        self.targets = TargetVerbs(assembly)
        self.portals = PortalVerbs(assembly)

    def start(self) -> None:
        for note in self._assembly.start():
            self.events.tell(note)

    def stop(self) -> None:
        self.fetch_events()
        for note in self._assembly.stop():
            self.events.tell(note)

    def note_portals(self) -> None:
        """After the exporter has begun to listen: tells which portals do not, and once where it is
        the kernel's target that is missing."""
        exporter, state = self._assembly.exporter, self._assembly.catalog.state
        obstacle, portals = exporter.obstacle(LIO), exporter.portals()
        ways = {*(one.via for one in portals), *(one.via for one in state.targets.values())}
        if obstacle is not None and LIO in ways:
            self.events.add(
                "lio-unavailable", "", f"the kernel's target cannot be used: {obstacle}"
            )
        for one in portals:
            if one.reason and exporter.obstacle(one.via) is None:
                self.events.add("portal-unavailable", one.address, one.reason)
        for portal in self.portals.all():
            if portal.warning:
                self.events.add("portal-open", portal.address, portal.warning)

    def housekeep(self) -> None:
        """To be called now and then: has initiators told of space that is running out, members
        looked at, and portals tried again that could not listen."""
        self._record_events()
        self._assembly.watch_space()
        for handle in self._assembly.pools.opened():
            with suppress(ScsiSnapError):
                # What it finds is an event, or the member's state.
                handle.probe()
        for portal in self._assembly.exporter.housekeep():
            self.events.add("portal-available", portal.address, "it listens now")

    def fetch_events(self) -> None:
        """Takes what pools have to tell over into the event log; to be called when they have."""
        self._record_events()
        for handle in self._assembly.pools.opened():
            try:
                events = handle.events()
            except ScsiSnapError:
                # Closed since it was listed: its events have gone with it.
                continue
            for event in events:
                subject = handle.name + (f"/{event.subject}" if event.subject else "")
                self.events.add(event.kind, subject, event.message)

    def health(self) -> views.Health:
        """What is not well, and what to do."""
        pools, exporter = self.pools.all(), self._assembly.exporter
        members = [one.name for pool in pools for one in pool.members if one.state == "in-sync"]
        return health(
            Seen(
                pools,
                self.volumes.all(),
                self.snapshots.all(),
                self.targets.all(),
                self.portals.all(),
                self._assembly.data_path.displaced_members(members),
                exporter.obstacle(LIO) or "",
                self._events_problem(),
            )
        )

    def _record_events(self) -> None:
        """Until it is written down, a pool that has lost a member could come back as that one
        alone. Where it cannot be written, that is an event, once."""
        try:
            self._assembly.catalog.check_place()
            self._assembly.record_events(self._assembly.pools.opened())
            self._state_written = True
        except ScsiSnapError as error:
            if self._state_written:
                self.events.add("state-not-written", "", error.message)
            self._state_written = False

    def status(self) -> views.Daemon:
        exporter = self._assembly.exporter
        states = Counter(one.state for one in self.pools.all())
        return views.Daemon(
            version=__version__,
            addresses=tuple(exporter.addresses_via(PORTAL)),
            lio_addresses=tuple(exporter.addresses_via(LIO)),
            lio_obstacle=exporter.obstacle(LIO) or "",
            driver=self._assembly.data_path.driver,
            threads=self._assembly.data_path.threads,
            state_directory=self._state_directory,
            pools=states.total() - states["unavailable"],
            unavailable_pools=states["unavailable"],
            pool_states=dict(states),
            targets=len(self._assembly.catalog.state.targets),
            sessions=len(exporter.sessions()),
        )
