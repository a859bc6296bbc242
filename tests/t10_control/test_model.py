"""The service against a dictionary: random verbs, restarts clean and not, the same answers.

What a refused verb changes is nothing; what was acknowledged is there after every restart; what
initiators see is what the records say, by what each target is via, and less where the kernel's
target is missing in this life.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from scsi_snap.control.snapshots import SnapshotToMake
from scsi_snap.errors import (
    Busy,
    Exists,
    InvalidArgument,
    NotFound,
    ScsiSnapError,
    Unsupported,
)
from scsi_snap.inventory.names import SnapshotName, VolumeName, parse_backing
from scsi_snap.inventory.records import Via
from tests.controllers import MIB, Controller
from tests.fakes import Disks

POOLS = st.sampled_from(["tank", "lake"])
VOLUMES = st.sampled_from(["a", "b"])
SNAPSHOTS = st.sampled_from(["x", "y"])
TARGETS = st.sampled_from(["iqn.2026-11.org.example:one", "iqn.2026-11.org.example:two"])
LUNS = st.integers(0, 2)
WAYS = st.sampled_from([None, "portal", "lio"])
INITIATORS = st.sampled_from([f"iqn.2026-11.org.example:{name}" for name in ("alice", "bob")])


@dataclass
class _ModelPool:
    imported: bool = True
    volumes: dict[str, dict[str, set[int]]] = field(default_factory=dict)
    """Volume to its snapshots, in order, each to the chunks that changed while it was newest."""


class ServiceMachine(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self._directory = tempfile.TemporaryDirectory()
        self.controller = Controller.start(Path(self._directory.name) / "state", Disks(), lio=True)
        self.pools: dict[str, _ModelPool] = {}
        self.targets: dict[str, dict[int, str]] = {}
        self.ways: dict[str, str] = {}
        self.own: dict[tuple[str, int, str], str] = {}
        """Target, LUN and initiator to what is at that LUN for it alone."""
        # Begun with something to refuse, so that short runs reach what is forbidden.
        self.create_pool("tank")
        self.create_volume("tank", "a")
        for name, via in (("one", "portal"), ("two", None)):
            self.create_target(f"iqn.2026-11.org.example:{name}", via)
            self.map_lun(f"iqn.2026-11.org.example:{name}", 0, "tank", "a", None, None)

    def teardown(self) -> None:
        if hasattr(self, "controller"):
            self.controller.crash()
            self._directory.cleanup()

    def expect(self, error: type[ScsiSnapError] | None, *verb: object) -> None:
        """The verb ends as the model says."""
        call, *arguments = verb
        assert callable(call)
        try:
            call(*arguments)
        except ScsiSnapError as raised:
            assert error is not None and isinstance(raised, error), repr(raised)
        else:
            assert error is None, f"expected {error}"

    def usable(self, via: str | None) -> bool:
        return via != "lio" or self.controller.kernel is not None

    def mapped(self, prefix: str) -> bool:
        """Whether some LUN shows what is called `prefix`, or something in it."""
        return any(
            name == prefix or name.startswith((f"{prefix}/", f"{prefix}@"))
            for luns in (*self.targets.values(), self.own)
            for name in luns.values()
        )

    def owners(self, iqn: str, lun: int) -> dict[str, str]:
        """Whose that LUN is, and what each has there."""
        return {key[2]: name for key, name in self.own.items() if key[:2] == (iqn, lun)}

    def volume(self, pool: str, volume: str) -> dict[str, set[int]] | None:
        found = self.pools.get(pool)
        return found.volumes.get(volume) if found and found.imported else None

    @rule(pool=POOLS)
    def create_pool(self, pool: str) -> None:
        members: list[tuple[str, int | None]] = [(f"/{pool}{n}", 1 << 30) for n in range(3)]
        there = self.pools.get(pool)
        error = ScsiSnapError if there and not there.imported else None
        self.expect(error, self.controller.service.pools.create, pool, "raid5", 65536, members)
        self.pools.setdefault(pool, _ModelPool())

    @rule(pool=POOLS)
    def export_pool(self, pool: str) -> None:
        there = self.pools.get(pool)
        error: type[ScsiSnapError] | None = None if there and there.imported else NotFound
        if error is None and self.mapped(pool):
            error = Busy
        self.expect(error, self.controller.service.pools.export, pool)
        if there and error is None:
            there.imported = False

    @rule(pool=POOLS)
    def import_pool(self, pool: str) -> None:
        there = self.pools.get(pool)
        paths = [f"/{pool}{n}" for n in range(3)]
        error = None if there else ScsiSnapError
        self.expect(error, self.controller.service.pools.import_, paths)
        if there:
            there.imported = True

    @rule(pool=POOLS, volume=VOLUMES)
    def create_volume(self, pool: str, volume: str) -> None:
        there = self.pools.get(pool)
        error = None if there and there.imported else NotFound
        self.expect(error, self.controller.service.volumes.create, VolumeName(pool, volume), MIB)
        if there and error is None:
            there.volumes.setdefault(volume, {})

    @rule(pool=POOLS, volume=VOLUMES)
    def delete_volume(self, pool: str, volume: str) -> None:
        there = self.volume(pool, volume)
        error: type[ScsiSnapError] | None = None
        if there is None:
            error = NotFound
        elif there or self.mapped(f"{pool}/{volume}"):
            error = Busy
        self.expect(error, self.controller.service.volumes.delete, VolumeName(pool, volume))
        if error is None:
            del self.pools[pool].volumes[volume]

    @rule(pool=POOLS, volume=VOLUMES, chunk=st.integers(0, 15))
    def write(self, pool: str, volume: str, chunk: int) -> None:
        there = self.volume(pool, volume)
        if there is not None:
            self.controller.write(chunk * 128, 1, VolumeName(pool, volume))
            for changed in list(there.values())[-1:]:
                changed.add(chunk)

    @rule(pool=POOLS, volume=VOLUMES, snapshot=SNAPSHOTS)
    def create_snapshot(self, pool: str, volume: str, snapshot: str) -> None:
        there = self.volume(pool, volume)
        error: type[ScsiSnapError] | None = NotFound if there is None else None
        if there is not None and snapshot in there:
            error = Exists
        wanted = [SnapshotToMake(SnapshotName(pool, volume, snapshot))]
        self.expect(error, self.controller.service.snapshots.create, wanted)
        if there is not None and error is None:
            there[snapshot] = set()

    @rule(pool=POOLS, volume=VOLUMES, snapshot=SNAPSHOTS)
    def delete_snapshot(self, pool: str, volume: str, snapshot: str) -> None:
        there = self.volume(pool, volume)
        error: type[ScsiSnapError] | None = None
        if there is None or snapshot not in there:
            error = NotFound
        elif self.mapped(f"{pool}/{volume}@{snapshot}"):
            error = Busy
        name = SnapshotName(pool, volume, snapshot)
        self.expect(error, self.controller.service.snapshots.delete, name)
        if there is not None and error is None:
            names = list(there)
            changed = there.pop(snapshot)
            if names.index(snapshot):
                there[names[names.index(snapshot) - 1]] |= changed

    @rule(iqn=TARGETS, via=WAYS)
    def create_target(self, iqn: str, via: str | None) -> None:
        error: type[ScsiSnapError] | None = None
        if not self.usable(via):
            error = Unsupported
        elif via is not None and self.ways.get(iqn, via) != via:
            error = Exists
        self.expect(error, self.controller.service.targets.create, iqn, (), via)
        if error is None:
            self.targets.setdefault(iqn, {})
            self.ways.setdefault(iqn, via or ("lio" if self.usable("lio") else "portal"))

    @rule(iqn=TARGETS)
    def delete_target(self, iqn: str) -> None:
        error = None if iqn in self.targets else NotFound
        self.expect(error, self.controller.service.targets.delete, iqn)
        self.targets.pop(iqn, None)
        self.ways.pop(iqn, None)
        self.own = {key: name for key, name in self.own.items() if key[0] != iqn}

    def refused_way(self, iqn: str, via: str | None) -> type[ScsiSnapError] | None:
        """What mapping there ends with before anything else is looked at."""
        if not self.usable(via):
            return Unsupported
        if iqn not in self.ways:
            return NotFound
        if via not in (None, self.ways[iqn]):
            return InvalidArgument
        return None if self.usable(self.ways[iqn]) else Unsupported

    def is_elsewhere(self, iqn: str, lun: int, name: str, initiator: str | None) -> bool:
        """Whether somebody who is to see it at that LUN sees it at another one of the target."""
        of_all = self.targets.get(iqn, {}).items()
        return any(number != lun and shown == name for number, shown in of_all) or any(
            key[0] == iqn and key[1] != lun and initiator in (None, key[2]) and shown == name
            for key, shown in self.own.items()
        )

    @rule(
        iqn=TARGETS,
        lun=LUNS,
        pool=POOLS,
        volume=VOLUMES,
        snapshot=st.none() | SNAPSHOTS,
        via=WAYS,
        again=st.booleans(),
    )
    def map_lun(
        self,
        iqn: str,
        lun: int,
        pool: str,
        volume: str,
        snapshot: str | None,
        via: str | None,
        again: bool = True,
    ) -> None:
        name = f"{pool}/{volume}" + (f"@{snapshot}" if snapshot else "")
        there = self.volume(pool, volume)
        luns = self.targets.get(iqn)
        error = self.refused_way(iqn, via)
        if error is not None:
            pass
        elif there is None or (snapshot and snapshot not in there) or luns is None:
            error = NotFound
        elif (
            luns.get(lun, name) != name
            or self.owners(iqn, lun)
            or (lun not in luns and not again and self.is_elsewhere(iqn, lun, name, None))
        ):
            error = Exists
        verb = partial(
            self.controller.service.targets.map, via=cast("Via | None", via), again=again
        )
        self.expect(error, verb, iqn, lun, parse_backing(name))
        if luns is not None and error is None:
            luns[lun] = name

    @rule(
        iqn=TARGETS,
        lun=LUNS,
        pool=POOLS,
        volume=VOLUMES,
        initiator=INITIATORS,
        again=st.booleans(),
    )
    def map_own_lun(
        self, iqn: str, lun: int, pool: str, volume: str, initiator: str, again: bool
    ) -> None:
        name = f"{pool}/{volume}"
        error = self.refused_way(iqn, None)
        if error is not None:
            pass
        elif self.volume(pool, volume) is None:
            error = NotFound
        elif (
            lun in self.targets[iqn]
            or self.own.get((iqn, lun, initiator), name) != name
            or (
                (iqn, lun, initiator) not in self.own
                and not again
                and self.is_elsewhere(iqn, lun, name, initiator)
            )
        ):
            error = Exists
        verb = partial(self.controller.service.targets.map, again=again)
        self.expect(error, verb, iqn, lun, parse_backing(name), [initiator])
        if error is None:
            self.own[iqn, lun, initiator] = name

    @rule(iqn=TARGETS, lun=LUNS)
    def unmap_lun(self, iqn: str, lun: int) -> None:
        owners = self.owners(iqn, lun)
        error = None if owners or lun in self.targets.get(iqn, {}) else NotFound
        self.expect(error, self.controller.service.targets.unmap, iqn, lun)
        self.targets.get(iqn, {}).pop(lun, None)
        for initiator in owners:
            del self.own[iqn, lun, initiator]

    @rule(iqn=TARGETS, lun=LUNS, initiator=INITIATORS)
    def unmap_own_lun(self, iqn: str, lun: int, initiator: str) -> None:
        error = None if (iqn, lun, initiator) in self.own else NotFound
        self.expect(error, self.controller.service.targets.unmap, iqn, lun, [initiator])
        self.own.pop((iqn, lun, initiator), None)

    @rule(cleanly=st.booleans(), lio=st.sampled_from([True, True, False]))
    def restart(self, cleanly: bool, lio: bool) -> None:
        if cleanly:
            self.controller.stop()
        else:
            self.controller.crash()
        life = self.controller
        self.controller = Controller.start(life.state, life.disks, lio=lio)

    @invariant()
    def what_is_listed_is_what_is_there(self) -> None:
        if not hasattr(self, "controller"):
            return
        service = self.controller.service
        imported = {name: pool for name, pool in self.pools.items() if pool.imported}
        assert [one.name for one in service.pools.all()] == sorted(imported)
        volumes = {
            f"{name}/{volume}": snapshots
            for name, pool in imported.items()
            for volume, snapshots in pool.volumes.items()
        }
        assert [one.name for one in service.volumes.all()] == sorted(volumes)
        snapshots = [f"{volume}@{name}" for volume in sorted(volumes) for name in volumes[volume]]
        assert [one.name for one in service.snapshots.all()] == snapshots
        luns = {
            (target, lun): name
            for target, map_ in self.targets.items()
            for lun, name in map_.items()
        }
        listed = service.targets.luns()
        everybodys = [one for one in listed if not one.initiators]
        assert {(one.target, one.lun): one.backing for one in everybodys} == luns
        own = [
            ((one.target, one.lun, initiator), one.backing)
            for one in listed
            for initiator in one.initiators
        ]
        assert dict(own) == self.own and len(own) == len(self.own)
        for one in listed:
            assert one.state == ("mapped" if self.usable(self.ways[one.target]) else "unavailable")
        assert {one.name: one.via for one in service.targets.all()} == self.ways

    @invariant()
    def initiators_see_what_is_listed(self) -> None:
        if not hasattr(self, "controller"):
            return
        for via, exporter in (
            ("portal", self.controller.exporter),
            ("lio", self.controller.kernel),
        ):
            if exporter is None:
                continue
            mine = {iqn: luns for iqn, luns in self.targets.items() if self.ways[iqn] == via}
            assert set(exporter.targets) == set(mine)
            seen = {key: unit.backing for key, unit in exporter.units.items()}
            assert seen == {(iqn, lun): luns[lun] for iqn, luns in mine.items() for lun in luns}
            own = {key: name for key, name in self.own.items() if key[0] in mine}
            assert {key: unit.backing for key, unit in exporter.own.items()} == own

    @invariant()
    def diffs_are_what_was_written(self) -> None:
        if not hasattr(self, "controller"):
            return
        for pool_name, pool in self.pools.items():
            for volume, snapshots in pool.volumes.items() if pool.imported else ():
                for index, name in enumerate(snapshots):
                    changed = set().union(*list(snapshots.values())[index:])
                    since = SnapshotName(pool_name, volume, name)
                    extents = self.controller.service.snapshots.diff(since).extents
                    lbas = {
                        lba // 128
                        for e in extents
                        for lba in range(e.first_lba, e.first_lba + e.blocks)
                    }
                    assert lbas == changed


ServiceMachine.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
TestService = ServiceMachine.TestCase
