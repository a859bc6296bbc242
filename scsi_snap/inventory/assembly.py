"""Builds pools, targets and logical units from the records, and takes them down in order.

Up: pools, then targets, then units. Down: units and targets, then pools. A pool that cannot be
opened hinders nothing else; its units come back when it does.

Records and pools are written one after the other, never at once. What a crash in between leaves:

- `pool create` writes the record first, as `creating`. The next start opens the members: where
  they hold a pool of that name the record becomes `present`, else it is dropped.
- `pool destroy` writes `destroying` first; the next start finishes it.
- `pool import` and `pool export` change the record alone; the members are theirs either way.
- The event count of a pool's record follows that of its labels: after each opening, before any unit
  shows the pool; when a member was taken out, with the event; after a close. So members that are
  all older than the record, which cannot know it themselves, are not taken for the pool as it was.
- `lun map` looks at the volume under its pool's lock, then writes the record; a volume that is
  mapped is not deleted, so no record outlives its volume. One that does is shown as missing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from uuid import UUID

from scsi_snap.errors import Exists, ScsiSnapError
from scsi_snap.inventory import personalities
from scsi_snap.inventory.caretaker import VolumeCaretaker, spaces
from scsi_snap.inventory.catalog import Catalog
from scsi_snap.inventory.exporter import Unit
from scsi_snap.inventory.exporters import Exporters
from scsi_snap.inventory.names import BackingName, SnapshotName
from scsi_snap.inventory.native import DataPath, translated
from scsi_snap.inventory.notes import Note
from scsi_snap.inventory.personalities import Claim
from scsi_snap.inventory.pool_opening import PoolOpener, opened_record
from scsi_snap.inventory.pool_views import SnapshotView, VolumeView
from scsi_snap.inventory.pools import PoolHandle, Pools
from scsi_snap.inventory.records import LunRecord, PoolRecord, State
from scsi_snap.inventory.volume_eraser import VolumeEraser
from scsi_snap.scsi.identity import Identity, Personality


class Assembly:
    """The controller's things, built: `catalog`, `pools`, `exporter`, `data_path`.

    `exports_lock` keeps the records of targets and the exporter in the same order. It is taken
    inside a pool's lock and outside the catalog's own. `naming_lock` is held, inside a pool's lock
    and outside `exports_lock`, from looking whether a serial number or NAA identifier is taken to
    taking it.
    """

    def __init__(self, catalog: Catalog, data_path: DataPath, exporter: Exporters) -> None:
        self.catalog = catalog
        self.data_path = data_path
        self.exporter = exporter
        self.pools = Pools()
        self.opener = PoolOpener(data_path, self.pools)
        self.exports_lock = threading.RLock()
        self.naming_lock = threading.Lock()

    def start(self) -> list[Note]:
        notes: list[Note] = []
        for record in self.catalog.state.pools.values():
            notes += self._start_pool(record)
        notes += self._settle_groups()
        self.exporter.take_over(self.with_unit)
        self.exporter.set_discovery_chap(self.catalog.state.discovery_chap)
        for target in self.catalog.state.targets.values():
            try:
                self.exporter.set_target(target)
            except ScsiSnapError as error:
                notes.append(Note("target-unavailable", target.name, error.message))
        for handle in self.pools.opened():
            notes += self.attach(handle)
        return notes

    def stop(self) -> list[Note]:
        """Closes everything; what cannot be closed cleanly is noted, and the rest goes on."""
        notes = []
        self.exporter.close()
        handles = self.pools.opened()
        for handle in handles:
            self.pools.remove(handle.name)
            with handle.lock:
                try:
                    handle.close()
                except ScsiSnapError as error:
                    notes.append(Note("pool-not-clean", handle.name, error.message))
        try:
            self.record_events(handles)
        except ScsiSnapError as error:
            notes.append(Note("state-not-written", "", error.message))
        return notes

    def record_events(self, handles: Sequence[PoolHandle]) -> None:
        """Writes down how far these pools have come, where the record does not say so yet."""
        events = {}
        for handle in handles:
            with suppress(ScsiSnapError):
                # Closed since it was listed, maybe.
                events[handle.id] = handle.status().event
        self.catalog.update(lambda state: _risen(state, events))

    def attach(self, handle: PoolHandle) -> list[Note]:
        """Brings up every recorded unit whose backing is in this pool."""
        with self.exports_lock:
            return _unusable_attributes(handle) + [
                note
                for target in self.catalog.state.targets.values()
                for record in target.luns
                if record.pool_id == handle.id
                for note in self._attach_lun(handle, target.name, record)
            ]

    def _attach_lun(self, handle: PoolHandle, target: str, record: LunRecord) -> list[Note]:
        label = f"LUN {record.lun} ({record.backing})"
        try:
            unit = self.unit(handle, record)
            if unit is None:
                return [
                    Note("lun-missing", target, f"{label}: its volume or snapshot does not exist")
                ]
            self.exporter.map(target, record.lun, unit, record.initiators, record.read_only)
        except ScsiSnapError as error:
            return [Note("lun-unavailable", target, f"{label}: {error.message}")]
        return []

    def with_unit(self, backing: BackingName, use: Callable[[Unit], None]) -> None:
        """`FindUnit`: the pool is locked meanwhile."""
        with self.pools.locked([backing.pool]) as handles:
            handle = handles[backing.pool]
            record = lun_record(handle, 0, backing)
            unit = self.unit(handle, record)
            assert unit is not None, "the pool's lock is held since the backing was looked up"
            use(unit)

    def unit(self, handle: PoolHandle, record: LunRecord) -> Unit | None:
        """The unit that `record` stands for; None where its volume or snapshot is not there."""
        found = find_backing(handle, record)
        if found is None:
            return None
        name = f"{handle.name}/{found.label}"
        personality = found.personality
        self._refuse_shown_twice(name, personality.identity)
        snapshot = found.snapshot.name if found.snapshot else None
        device = handle.device(found.volume.name, snapshot)
        uuid = personality.identity.uuid
        if found.snapshot is not None:
            return Unit(name, device, uuid, personality)
        caretaker = VolumeCaretaker(handle, found.volume.id)
        eraser = VolumeEraser(handle, found.volume.id)
        return Unit(name, device, uuid, personality, caretaker, eraser)

    def claims_on(self, chosen: Identity) -> list[Claim]:
        """What else in the controller has a name that `chosen` chose. Nothing is looked for where
        nothing was chosen: what derives from a UUID is nobody else's."""
        found: list[Claim] = []
        if not chosen.chosen_serial and not chosen.chosen_naa:
            return found
        for handle in self.pools.opened():
            try:
                volumes = _that_may_claim(handle, chosen)
            except ScsiSnapError:
                # Closed since it was listed: what it holds is not shown any more.
                continue
            found += personalities.claims_on(chosen, handle.name, volumes)
        return found

    def _refuse_shown_twice(self, label: str, chosen: Identity) -> None:
        """Raises `Exists` where another unit that is mapped has a name that this one chose, which
        pools that come together may have: a host would take the two for paths to one disk, and
        write each one's data on both."""
        claims = self.claims_on(chosen)
        if not claims:
            return
        shown = {
            record.snapshot_id or record.volume_id
            for target in self.catalog.state.targets.values()
            for record in target.luns
        }
        for claim in claims:
            if str(claim.uuid) in shown:
                raise Exists(
                    f"the {claim.what} of {label} is that of {claim.label}, which is mapped",
                    f"`scsi-snap volume set {label}` chooses another one, or none",
                )

    def personality_changed(self, handle: PoolHandle, volume_id: str) -> None:
        """Tells the exporter of the volume, and of its snapshots, which look like it."""
        for found in backings_of(handle.volume_of(volume_id)):
            self.exporter.personality_changed(UUID(found.id), found.personality)

    def watch_space(self) -> None:
        """Lets the exporter look at how much space the volumes of mapped pools have."""
        targets = self.catalog.state.targets.values()
        mapped = {record.pool_id for target in targets for record in target.luns}
        for handle in self.pools.opened():
            if handle.id not in mapped:
                continue
            try:
                found = spaces(handle)
            except ScsiSnapError:
                # Closed since it was listed.
                continue
            self.exporter.watch_space(found)

    def _settle_groups(self) -> list[Note]:
        """A consistent point over several pools is written pool by pool; a crash in between is
        mended before anybody sees its snapshots."""
        pools = [handle.native for handle in self.pools.opened()]
        try:
            with translated(self.data_path):
                settled = self.data_path.settle_groups(pools)
        except ScsiSnapError as error:
            return [Note("groups-not-settled", "", error.message)]
        if not settled:
            return []
        return [
            Note("groups-settled", "", f"{settled} consistent points were cut short by a crash")
        ]

    def _start_pool(self, record: PoolRecord) -> list[Note]:
        try:
            handle, notes = self.opener.recorded(record)
        except ScsiSnapError as error:
            if record.phase == "present":
                return self._unavailable(record, error.message)
            return [self._forget(record, f"its members hold no pool ({error.message})")]
        if record.phase == "creating" and handle.name != record.name:
            handle.close()
            return [self._forget(record, f"its members belong to pool {handle.name}")]
        if record.phase == "destroying" and not handle.volume_count():
            try:
                handle.destroy()
            except ScsiSnapError as error:
                return self._unavailable(record, f"it cannot be destroyed: {error.message}")
            return [self._forget(record, "its destruction is finished")]
        if record.id and record.id != handle.id:
            handle.close()
            return self._unavailable(
                record, f"its members now hold another pool, {handle.name} ({handle.id})"
            )
        self.pools.add(handle)
        self.catalog.update(lambda state: state.with_pool(opened_record(handle, record)))
        return notes

    def _unavailable(self, record: PoolRecord, reason: str) -> list[Note]:
        self.pools.set_unavailable(record.name, reason)
        return [Note("pool-unavailable", record.name, reason)]

    def _forget(self, record: PoolRecord, reason: str) -> Note:
        self.catalog.update(lambda state: state.without_pool(record.name))
        return Note("pool-forgotten", record.name, f"it was being made or destroyed: {reason}")


def _that_may_claim(handle: PoolHandle, chosen: Identity) -> Collection[VolumeView]:
    """The volumes of the pool that may have, or have a snapshot with, a name that was chosen."""
    if personalities.may_derive(chosen):
        return handle.volumes()
    found: dict[str, VolumeView] = {}
    for attribute, value in personalities.chosen_names(chosen).items():
        found |= {one.id: one for one in handle.volumes_with(attribute, value)}
    return found.values()


def _risen(state: State, events: Mapping[str, int]) -> State:
    for record in state.pools.values():
        event = events.get(record.id, 0)
        if event > record.event:
            state = state.with_pool(replace(record, event=event))
    return state


def _unusable_attributes(handle: PoolHandle) -> list[Note]:
    return [
        Note("attribute-unusable", f"{handle.name}/{volume.name}", problem)
        for volume in handle.volumes()
        for problem in personalities.read(volume.attributes)[1]
    ]


@dataclass(frozen=True)
class Backing:
    """What a LUN can show: a volume, or a snapshot of it."""

    volume: VolumeView
    snapshot: SnapshotView | None

    @property
    def id(self) -> str:
        """The UUID of the one or the other."""
        return self.snapshot.id if self.snapshot else self.volume.id

    @property
    def label(self) -> str:
        """Its name within the pool."""
        return f"{self.volume.name}@{self.snapshot.name}" if self.snapshot else self.volume.name

    @property
    def personality(self) -> Personality:
        if self.snapshot is None:
            return personalities.of_volume(self.volume)
        return personalities.of_snapshot(self.volume, self.snapshot)


def lun_record(
    handle: PoolHandle,
    lun: int,
    backing: BackingName,
    initiators: tuple[str, ...] = (),
    read_only: bool = False,
) -> LunRecord:
    """Of what is in the pool, whose lock is held, under that name. Raises `NotFound`."""
    volume = handle.volume(backing.volume)
    snapshot_id = ""
    if isinstance(backing, SnapshotName):
        snapshot_id = handle.snapshot(volume, backing.snapshot).id
    return LunRecord(lun, str(backing), handle.id, volume.id, snapshot_id, initiators, read_only)


def find_backing(handle: PoolHandle, record: LunRecord) -> Backing | None:
    """What the record names by its UUIDs, where the pool has it; nothing else is looked at."""
    volume = handle.find_volume_of(record.volume_id)
    if volume is None:
        return None
    if not record.snapshot_id:
        return Backing(volume, None)
    snapshot = volume.snapshot_of(record.snapshot_id)
    return Backing(volume, snapshot) if snapshot else None


def backings_of(volume: VolumeView) -> Iterator[Backing]:
    """The volume and its snapshots."""
    yield Backing(volume, None)
    for snapshot in volume.snapshots:
        yield Backing(volume, snapshot)
