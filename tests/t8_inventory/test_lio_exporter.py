"""The kernel's target as an exporter, over a simulated kernel: what it is made to show."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

import pytest

from scsi_snap.errors import Busy, Exists, IoFailed, NotFound, Unsupported
from scsi_snap.inventory.exporter import Unit
from scsi_snap.inventory.lio_exporter import LioExporter
from scsi_snap.inventory.names import BackingName
from scsi_snap.inventory.records import (
    ChapRecord,
    InitiatorRecord,
    LunRecord,
    PortalRecord,
    PortRecord,
    TargetRecord,
)
from scsi_snap.inventory.rings import Rings
from scsi_snap.inventory.units import Units
from scsi_snap.lio.kernel_target import Acl, Chap, Group, KernelRefused, KernelSession, KernelTarget
from scsi_snap.lio.tcmu_events import Event
from tests.fakes import FakeDevice
from tests.heard import Heard
from tests.simulated_kernel import SimulatedKernel
from tests.t8_inventory.exporting import OTHER, VOLUME, RecordingDataPath, unit
from tests.t8_inventory.ring_world import Listening

DISK = "iqn.2026-11.org.example:disk"
A, B = "iqn.2026-11.org.example:a", "iqn.2026-11.org.example:b"
RECORD = TargetRecord(DISK, "id", via="lio")
LISTED = replace(RECORD, initiators=(InitiatorRecord(A), InitiatorRecord(B)))
CHAP = ChapRecord("user", "twelve bytes", "me", "thirteen bytes")


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


@dataclass
class World:
    kernel: SimulatedKernel
    root: Path
    listen: str
    exporter: LioExporter
    data_path: RecordingDataPath
    units: Units
    heard: Heard

    @classmethod
    def begin(cls, kernel: SimulatedKernel, root: Path, listen: str) -> World:
        """A daemon that starts; the records are its next lines."""
        heard = Heard()
        data_path, units, listening = RecordingDataPath(), Units(tell=heard), Listening()
        rings = Rings(data_path, units, kernel.tree, listening, root / "rings", [0x89])
        kernel.tell = listening.tell
        exporter = LioExporter(lambda: kernel, rings, itertools.count(1).__next__, heard)
        return cls(kernel, root, listen, exporter, data_path, units, heard)

    def started(self, *records: TargetRecord) -> World:
        self.exporter.take_over(self._find)
        for record in records:
            self.exporter.set_target(record)
        self.exporter.start([self.listen])
        return self

    def _find(self, backing: BackingName, use: object) -> None:
        if str(backing) != "tank/vol0":
            raise NotFound(f"no volume named {backing}")
        use(unit())  # type: ignore[operator]

    @property
    def group(self) -> Group:
        return self.kernel.targets[DISK][1]

    def restarted(self) -> World:
        """The next daemon, after this one was killed; what the kernel has stays."""
        self.kernel.changes.clear()
        return World.begin(self.kernel, self.root, self.listen)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.begin(SimulatedKernel(tmp_path / "k"), tmp_path, free_address())


def other() -> Unit:
    return replace(unit(OTHER), backing="tank/a:b")


def test_a_lun_is_a_storage_object_that_is_served_and_exported(world: World) -> None:
    world.started(RECORD)
    assert world.kernel.targets[DISK] == {1: Group(portals=frozenset([world.listen]))}
    world.exporter.map(DISK, 3, unit())
    assert world.group.luns == {3: "tank:vol0"}
    assert world.kernel.backstores() == {"tank:vol0": "scsi-snap/tank/vol0"}
    (ring,) = world.data_path.rings
    assert ring.device == world.kernel.device("tank:vol0") and not ring.closed()
    world.exporter.unmap(DISK, 3)
    assert world.group.luns == {} and world.kernel.backstores() == {}
    assert ring.closed() and world.units.find(VOLUME) is None


def test_names_with_colons_are_unambiguous(world: World) -> None:
    world.started(RECORD)
    world.exporter.map(DISK, 0, other())
    assert world.kernel.backstores() == {"tank:a[]b": "scsi-snap/tank/a%3Ab"}


def test_read_only_is_a_second_storage_object(world: World) -> None:
    world.started(RECORD)
    world.exporter.map(DISK, 0, unit())
    world.exporter.map(DISK, 1, unit(), read_only=True)
    assert world.group.luns == {0: "tank:vol0", 1: "tank:vol0[ro]"}
    assert world.kernel.backstores()["tank:vol0[ro]"] == "scsi-snap/tank/vol0?ro"
    writable, protected = (one.target.units for one in world.data_path.rings)
    assert [flag for _, flag in writable.values()] == [False]
    assert [flag for _, flag in protected.values()] == [True]
    assert {number for number, _ in writable.values()} == {
        number for number, _ in protected.values()
    }, "one unit"


def test_who_may_log_in_and_by_what(world: World) -> None:
    own = InitiatorRecord(B, ChapRecord("b", "of its own..."))
    world.started(replace(RECORD, chap=CHAP))
    kernel_chap = Chap("user", "twelve bytes", "me", "thirteen bytes")
    assert (world.group.open, world.group.chap) == (True, kernel_chap)
    world.exporter.set_target(replace(RECORD, chap=CHAP, initiators=(InitiatorRecord(A), own)))
    assert (world.group.open, world.group.chap) == (False, None)
    assert world.group.acls == {A: Acl(kernel_chap), B: Acl(Chap("b", "of its own..."))}
    world.exporter.set_target(RECORD)
    assert (world.group.open, world.group.acls) == (True, {})


def test_initiators_have_luns_of_their_own(world: World) -> None:
    world.started(LISTED)
    world.exporter.map(DISK, 0, unit())
    world.exporter.map(DISK, 1, unit(), (A,))
    world.exporter.map(DISK, 1, other(), (B,))
    acls = {name: acl.luns for name, acl in world.group.acls.items()}
    assert acls == {A: {0: "tank:vol0", 1: "tank:vol0"}, B: {0: "tank:vol0", 1: "tank:a[]b"}}
    world.exporter.unmap(DISK, 1, (B,))
    assert "tank:a[]b" not in world.kernel.backstores()
    world.exporter.set_target(replace(RECORD, initiators=(InitiatorRecord(B),)))
    world.exporter.set_target(LISTED)
    assert world.group.acls[A].luns == {0: "tank:vol0"}, "its own went with it"
    world.exporter.unmap(DISK, 0)
    assert world.kernel.backstores() == {}


def test_what_the_kernel_cannot_show_apart_is_refused_before_it_is_written(world: World) -> None:
    lun = LunRecord(0, "tank/vol0", "p", "v", initiators=(A,))
    with pytest.raises(Unsupported, match="lists none"):
        world.exporter.check(replace(RECORD, luns=(lun,)))
    world.exporter.check(replace(LISTED, luns=(lun,)))
    long = replace(lun, backing=f"{'p' * 128}/{'v' * 128}", initiators=())
    with pytest.raises(Unsupported, match="too long"):
        world.exporter.check(replace(RECORD, luns=(long,)))


def test_a_target_that_somebody_else_has_made_is_not_taken(world: World) -> None:
    world.started()
    world.kernel.targets[DISK] = {1: Group(luns={0: "fileio/theirs"})}
    with pytest.raises(Exists, match="somebody else"):
        world.exporter.check(RECORD)
    del world.kernel.targets[DISK]
    world.exporter.check(RECORD)
    world.exporter.set_target(RECORD)
    world.exporter.check(RECORD)


def test_a_restart_changes_nothing(world: World) -> None:
    world.started(LISTED)
    world.exporter.map(DISK, 0, unit())
    world.exporter.map(DISK, 1, other(), (A,))
    again = world.restarted()
    again.exporter.take_over(again._find)
    assert [one.nexus for one in again.data_path.rings] == [1], "served before it is exported"
    again.exporter.set_target(LISTED)
    again.exporter.map(DISK, 0, unit())
    again.exporter.map(DISK, 1, other(), (A,))
    again.exporter.start([world.listen])
    assert world.kernel.changes == []
    assert len(again.data_path.rings) == 2


def test_close_leaves_the_kernel_as_it_is(world: World) -> None:
    world.started(RECORD)
    world.exporter.map(DISK, 0, unit())
    world.kernel.changes.clear()
    world.exporter.close()
    assert all(ring.closed() for ring in world.data_path.rings)
    assert world.kernel.changes == [] and world.group.luns == {0: "tank:vol0"}


def test_luns_of_a_pool_that_is_away_keep_their_place(world: World) -> None:
    away = LunRecord(1, "tank/a:b", "p", str(OTHER))
    record = replace(RECORD, luns=(LunRecord(0, "tank/vol0", "p", str(VOLUME)), away))
    world.started(record)
    world.exporter.map(DISK, 0, unit())
    world.exporter.map(DISK, 1, other())
    again = world.restarted()
    again.exporter.take_over(again._find)
    again.exporter.set_target(record)
    again.exporter.map(DISK, 0, unit())
    again.exporter.start([world.listen])
    assert world.kernel.changes == []
    assert [note.kind for note in again.heard.take()] == ["ring-not-served"]
    again.exporter.map(DISK, 1, other())
    assert world.kernel.changes == [] and len(again.data_path.rings) == 2
    again.exporter.unmap(DISK, 1)
    assert world.group.luns == {0: "tank:vol0"}


def test_luns_that_are_not_on_record_any_more_go_at_the_start(world: World) -> None:
    world.started(RECORD)
    world.exporter.map(DISK, 0, unit())
    world.kernel.targets["iqn.2026-11.org.example:theirs"] = {1: Group(luns={0: "theirs"})}
    again = world.restarted().started(RECORD)
    assert again.group.luns == {}
    assert "iqn.2026-11.org.example:theirs" in world.kernel.targets


def test_removing_a_target_takes_what_it_showed(world: World) -> None:
    second = replace(RECORD, name=f"{DISK}2")
    world.started(RECORD, second)
    world.exporter.map(DISK, 0, unit())
    world.exporter.map(DISK, 1, other())
    world.exporter.map(f"{DISK}2", 0, unit())
    world.exporter.remove_target(DISK)
    assert list(world.kernel.targets) == [f"{DISK}2"]
    assert list(world.kernel.backstores()) == ["tank:vol0"]
    world.exporter.remove_target(f"{DISK}2")
    assert world.kernel.targets == {} and world.kernel.backstores() == {}


@pytest.mark.parametrize("verb", ["create_backstore", "add_lun"])
def test_what_the_kernel_refuses_is_taken_back(world: World, verb: str) -> None:
    world.started(RECORD)
    world.exporter.map(DISK, 0, unit())
    world.kernel.refusing = {verb}
    with pytest.raises(IoFailed, match=verb):
        world.exporter.map(DISK, 1, other())
    world.kernel.refusing.clear()
    assert world.group.luns == {0: "tank:vol0"}
    assert list(world.kernel.backstores()) == ["tank:vol0"]
    assert world.units.find(OTHER) is None
    world.exporter.map(DISK, 1, other())
    assert world.group.luns == {0: "tank:vol0", 1: "tank:a[]b"}


def test_a_target_that_is_refused_at_the_start_is_tried_again(world: World) -> None:
    world.kernel.refusing = {"add_group"}
    world.started(RECORD)
    (note,) = world.heard.take()
    assert (note.kind, note.subject) == ("lio-refused", DISK)
    world.exporter.housekeep()
    assert world.heard.take() == [], "told once"
    world.kernel.refusing.clear()
    world.exporter.housekeep()
    assert DISK in world.kernel.targets


def test_rtslib_that_cannot_be_used_is_tried_again(world: World) -> None:
    def connect() -> KernelTarget:
        if world.root.joinpath("broken").exists():
            raise KernelRefused("No module named 'pyudev'")
        return world.kernel

    world.root.joinpath("broken").touch()
    rings = Rings(world.data_path, world.units, world.kernel.tree, Listening(), world.root, [])
    exporter = LioExporter(connect, rings, itertools.count(1).__next__, world.heard)
    exporter.set_target(RECORD)
    exporter.start([world.listen])
    assert "pyudev" in str(world.heard.take())
    with pytest.raises(IoFailed, match="pyudev"):
        exporter.map(DISK, 0, unit())
    world.root.joinpath("broken").unlink()
    assert [one.address for one in exporter.housekeep()] == [world.listen]
    assert DISK in world.kernel.targets


def test_what_somebody_else_exports_too_is_theirs(world: World) -> None:
    world.started(RECORD)
    world.exporter.map(DISK, 0, unit())
    assert world.exporter.in_use(VOLUME) is None
    world.kernel.foreign.add("tank:vol0")
    world.exporter.unmap(DISK, 0)
    assert not world.data_path.rings[0].closed()
    assert "user/tank:vol0" in (world.exporter.in_use(VOLUME) or "")
    world.kernel.foreign.clear()
    world.kernel.remove_device("tank:vol0")
    assert world.exporter.in_use(VOLUME) is None and world.data_path.rings[0].closed()


def test_tools_see_another_capacity(world: World) -> None:
    world.started(RECORD)
    world.exporter.map(DISK, 0, unit())
    shared = world.units.find(VOLUME)
    assert shared is not None and isinstance(shared.unit.device, FakeDevice)
    shared.unit.device._origin().size_bytes = 3 << 20
    world.exporter.capacity_changed(VOLUME)
    assert world.kernel.attribute("tank:vol0", "attrib/dev_size") == str(3 << 20)
    world.exporter.capacity_changed(UUID(int=99))


def test_sessions_have_numbers_that_stay(world: World) -> None:
    world.started(RECORD)
    first = KernelSession(DISK, 1, A, 7, "127.0.0.1:5000", {"commands": 3})
    world.kernel.logged_in = [first, KernelSession(DISK, 1, B)]
    one, two = world.exporter.sessions()
    assert (one.initiator, one.address, one.counters) == (A, "127.0.0.1:5000", {"commands": 3})
    assert (one.target, one.portal, one.portal_group_tag) == (DISK, world.listen, 1)
    world.kernel.logged_in = [KernelSession(DISK, 1, B), replace(first, id=8)]
    assert [each.id for each in world.exporter.sessions() if each.initiator == B] == [two.id]
    assert one.id not in {each.id for each in world.exporter.sessions()}, "it has logged in again"
    with pytest.raises(Unsupported):
        world.exporter.close_session(two.id)
    assert not world.exporter.close_session(99)


def test_portals_come_and_go_in_their_groups(world: World) -> None:
    world.started(replace(RECORD, ports=(PortRecord(1, 1), PortRecord(2, 2))))
    address = free_address()
    world.exporter.add_portal(PortalRecord(address, 2, "lio"))
    assert world.kernel.targets[DISK][2].portals == {address}
    assert [one.address for one in world.exporter.portals()] == sorted([world.listen, address])
    with pytest.raises(Exists):
        world.exporter.add_portal(PortalRecord(address, 1, "lio"))
    world.exporter.remove_portal(address)
    assert world.kernel.targets[DISK][2].portals == frozenset()
    with pytest.raises(Busy, match="--lio-listen"):
        world.exporter.remove_portal(world.listen)


def test_an_address_that_somebody_has_is_refused_and_tried_again_at_the_start(
    world: World,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        world.exporter.set_target(RECORD)
        world.exporter.start([world.listen], [PortalRecord(address, 1, "lio")])
        assert world.group.portals == {world.listen}
        (refused,) = [one for one in world.exporter.portals() if one.reason]
        assert refused.address == address and world.exporter.addresses() == [world.listen]
        assert world.exporter.housekeep() == []
    assert [one.address for one in world.exporter.housekeep()] == [address]
    assert world.group.portals == {world.listen, address}


def test_a_portal_that_the_kernel_refuses_is_taken_back(world: World) -> None:
    world.started(RECORD)
    world.kernel.refusing = {"add_portal"}
    with pytest.raises(IoFailed):
        world.exporter.add_portal(PortalRecord(free_address(), 1, "lio"))
    assert [one.address for one in world.exporter.portals()] == [world.listen]


def test_what_others_have_set_for_discovery_stays_until_something_is_wished(
    world: World,
) -> None:
    world.kernel.discovery = Chap("theirs", "their secret!")
    world.exporter.set_discovery_chap(None)
    world.started(RECORD)
    assert world.kernel.discovery == Chap("theirs", "their secret!")
    world.exporter.set_discovery_chap(CHAP)
    assert world.kernel.discovery == Chap("user", "twelve bytes", "me", "thirteen bytes")
    world.exporter.set_discovery_chap(None)
    assert world.kernel.discovery is None
    world.kernel.refusing = {"set_discovery"}
    with pytest.raises(IoFailed):
        world.exporter.set_discovery_chap(CHAP)


@pytest.fixture(autouse=True)
def closed(world: World) -> Iterator[None]:
    yield
    world.exporter.close()


def test_events_after_the_end_are_nobodys(world: World) -> None:
    world.started(RECORD)
    tell = world.kernel.tell
    world.exporter.close()
    tell(Event("added", "uio9", "tcm-user/9/x/scsi-snap/tank/vol0", 1))
    assert world.data_path.rings == []


def copies_reach(world: World) -> dict[str, set[UUID]]:
    """By device, the units that a copy by its ring reaches beside its own."""
    names = {world.kernel.device(name): name for name in world.kernel.backstores()}
    found = {}
    for ring in (one for one in world.data_path.rings if not one.closed()):
        (command_set,) = [made for made, native in world.data_path.made if native is ring.target]
        reached = command_set.neighbours()
        found[names[ring.device]] = {one.personality.identity.uuid for _, one in reached}
        assert all(itl.nexus != ring.nexus for itl, _ in reached)
    return found


def test_copies_reach_what_the_same_initiators_see(world: World) -> None:
    world.started(RECORD)
    world.exporter.map(DISK, 0, unit())
    world.exporter.map(DISK, 1, other())
    assert copies_reach(world) == {"tank:vol0": {OTHER}, "tank:a[]b": {VOLUME}}
    world.exporter.unmap(DISK, 1)
    assert copies_reach(world) == {"tank:vol0": set()}


def test_copies_do_not_reach_what_another_initiator_does_not_see(world: World) -> None:
    """The ring of a unit does not tell its initiators apart."""
    world.started(LISTED)
    world.exporter.map(DISK, 0, unit())
    world.exporter.map(DISK, 1, other(), (A,))
    assert copies_reach(world) == {"tank:vol0": set(), "tank:a[]b": {VOLUME}}
    world.exporter.map(DISK, 1, other(), (B,))
    assert copies_reach(world) == {"tank:vol0": {OTHER}, "tank:a[]b": {VOLUME}}
    world.exporter.set_target(replace(RECORD, name=f"{DISK}2"))
    world.exporter.map(f"{DISK}2", 0, unit())
    assert copies_reach(world) == {"tank:vol0": set(), "tank:a[]b": {VOLUME}}


def test_copies_reach_the_same_after_a_restart_and_with_a_new_ring(world: World) -> None:
    world.started(RECORD)
    world.exporter.map(DISK, 0, unit())
    world.exporter.map(DISK, 1, other())
    again = world.restarted()
    again.exporter.take_over(again._find)
    again.exporter.set_target(RECORD)
    again.exporter.map(DISK, 0, unit())
    again.exporter.map(DISK, 1, other())
    again.exporter.start([world.listen])
    assert copies_reach(again) == {"tank:vol0": {OTHER}, "tank:a[]b": {VOLUME}}
    next(iter(again.data_path.rings)).break_off("corrupt")
    again.exporter.housekeep()
    assert copies_reach(again) == {"tank:vol0": {OTHER}, "tank:a[]b": {VOLUME}}
