"""Rings of the kernel: served as devices come, go, break, and find their volumes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from scsi_snap.errors import IoFailed, NotFound, PoolUnavailable
from scsi_snap.inventory.exporter import Unit
from scsi_snap.inventory.lio_names import backing_of, dev_config, storage_object
from scsi_snap.inventory.names import BackingName, SnapshotName, VolumeName
from scsi_snap.inventory.native import NativeTarget
from scsi_snap.inventory.rings import Rings
from scsi_snap.inventory.units import Units
from scsi_snap.lio.tcmu_events import Event
from scsi_snap.scsi import lun_address
from tests.fakes import FakeNativeError, FakeNativeRing
from tests.heard import Heard
from tests.simulated_kernel import SimulatedKernel
from tests.t6_scsi.bus import expecting
from tests.t8_inventory.exporting import (
    SNAPSHOT,
    TEST_UNIT_READY,
    VOLUME,
    WRITE,
    RecordingDataPath,
    unit,
)
from tests.t8_inventory.ring_world import Listening

CONFIG = "scsi-snap/tank/vol0"
POWER_ON = (0x29, 0)
WRITE_PROTECTED = (0x27, 0)


@dataclass
class World:
    kernel: SimulatedKernel
    records: Path
    data_path: RecordingDataPath = field(default_factory=RecordingDataPath)
    heard: Heard = field(default_factory=Heard)
    listening: Listening = field(default_factory=Listening)
    backings: dict[str, Callable[[], Unit]] = field(default_factory=lambda: {"tank/vol0": unit})

    def __post_init__(self) -> None:
        self.units = Units(tell=self.heard)
        self.rings = Rings(
            self.data_path, self.units, self.kernel.tree, self.listening, self.records, [0x89]
        )
        self.kernel.tell = self.listening.tell

    def find(self, backing: BackingName, use: Callable[[Unit], None]) -> None:
        if backing not in (VolumeName("tank", "vol0"), SnapshotName("tank", "vol0", "monday")):
            raise NotFound(f"no volume named {backing}")
        if str(backing) not in self.backings:
            raise PoolUnavailable("pool tank is away")
        use(self.backings[str(backing)]())

    def taken_over(self) -> World:
        self.rings.take_over(self.find)
        return self

    def ring(self) -> FakeNativeRing:
        """The one that is open."""
        (found,) = [one for one in self.data_path.rings if not one.closed()]
        return found

    def attention(self, ring: FakeNativeRing, cdb: bytes = TEST_UNIT_READY) -> tuple[int, int]:
        (command_set,) = [one for one, native in self.data_path.made if native is ring.target]
        done = command_set.execute(
            ring.nexus, lun_address.encode(0), cdb, 0, bytes(512), expecting(bytes(512))
        )
        return (done[1][12], done[1][13]) if done[0] else (0, 0)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(SimulatedKernel(tmp_path / "k"), tmp_path / "rings")


def test_devices_that_are_there_are_taken_over_unnoticed(world: World) -> None:
    world.kernel.add_device("a", CONFIG, 1 << 20)
    world.kernel.add_device("theirs", "rbd/pool/image", 1 << 20)
    world.taken_over()
    assert world.ring().device == world.kernel.device("a")
    assert world.ring().records == str(world.records / "0-a")
    assert world.attention(world.ring()) == (0, 0)
    assert world.kernel.attribute("a", "action/reset_ring") == "", "the ring is as it was"
    assert (world.kernel.parameters / "reset_netlink").read_text() == "1"


def test_a_device_that_a_guardian_has_blocked_goes_on(world: World) -> None:
    world.kernel.add_device("a", CONFIG, 1 << 20)
    world.kernel.tree.devices()[0].block()
    world.taken_over()
    assert world.kernel.attribute("a", "action/block_dev") == "0"


def test_a_device_that_comes_is_served_and_begins_with_power_on(world: World) -> None:
    world.taken_over()
    world.kernel.add_device("a", "scsi_snap/tank/vol0", 5 << 20, cmd_time_out=30)
    assert world.ring().device == world.kernel.device("a")
    assert world.attention(world.ring()) == POWER_ON
    assert world.kernel.attribute("a", "attrib/cmd_time_out") == "0"
    assert world.kernel.attribute("a", "attrib/dev_size") == str(1 << 20), "what it really has"
    assert world.heard.take() == []


def test_a_read_only_device(world: World) -> None:
    world.taken_over()
    world.kernel.add_device("a", f"{CONFIG}?ro", 1 << 20)
    world.attention(world.ring())
    assert world.attention(world.ring(), WRITE) == WRITE_PROTECTED


def test_a_device_that_goes_is_let_go_of_with_its_record(world: World) -> None:
    world.kernel.add_device("a", CONFIG, 1 << 20)
    world.taken_over()
    ring = world.ring()
    Path(ring.records).touch()
    world.kernel.remove_device("a")
    assert ring.closed() and not Path(ring.records).exists()
    assert world.units.find(VOLUME) is None


def test_the_record_stays_at_the_end_of_the_daemon(world: World) -> None:
    world.kernel.add_device("a", CONFIG, 1 << 20)
    world.taken_over()
    ring = world.ring()
    Path(ring.records).touch()
    world.rings.close()
    assert ring.closed() and Path(ring.records).exists()
    world.rings.retry()
    assert world.data_path.rings == [ring]


def test_two_devices_of_a_volume_are_one_unit_and_two_nexuses(world: World) -> None:
    world.kernel.add_device("a", CONFIG, 1 << 20)
    world.kernel.add_device("b", CONFIG, 1 << 20)
    world.taken_over()
    first, second = world.data_path.rings
    assert first.target.units == second.target.units and first.nexus != second.nexus
    assert [one.name for one in world.rings.showing(VOLUME)] == ["a", "b"]
    assert world.rings.showing(SNAPSHOT) == []
    world.kernel.remove_device("a")
    assert world.units.find(VOLUME) is not None


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (CONFIG, "away"),
        ("scsi-snap/tank/other", "no volume"),
        ("scsi-snap/nonsense", "not a volume"),
        ("scsi-snap/tank/\x1b[2J", "no volume or snapshot"),
    ],
)
def test_commands_wait_where_the_backing_is_not_there(
    world: World, config: str, reason: str
) -> None:
    world.backings.clear()
    world.kernel.add_device("a", config, 1 << 20)
    world.taken_over()
    (note,) = world.heard.take()
    assert note.kind == "ring-not-served" and reason in note.message and "user/a" in note.subject
    world.rings.retry()
    assert world.heard.take() == [], "told once"
    assert world.data_path.rings == []


def test_it_is_served_when_the_backing_is_back(world: World) -> None:
    world.backings.clear()
    world.kernel.add_device("a", CONFIG, 1 << 20)
    world.taken_over()
    world.backings["tank/vol0"] = unit
    world.rings.retry()
    assert world.ring().device == world.kernel.device("a")
    assert [note.kind for note in world.heard.take()] == ["ring-not-served", "ring-served"]


def test_a_ring_that_cannot_be_attached_is_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.kernel.add_device("a", CONFIG, 1 << 20)
    (world.kernel.dev / "uio0").unlink()
    world.taken_over()
    assert "uio0" in str(world.heard.take())
    (world.kernel.dev / "uio0").touch()

    def refuse(*arguments: object) -> FakeNativeRing:
        raise FakeNativeError("io-error", "the file of records is full")

    with monkeypatch.context() as patch:
        patch.setattr(world.data_path, "attach_ring", refuse)
        world.rings.retry()
    assert "full" in str(world.heard.take())
    assert world.units.find(VOLUME) is None, "nothing is left of it"
    world.rings.retry()
    assert not world.ring().closed()


def test_a_broken_ring_is_emptied_and_served_again(world: World) -> None:
    world.kernel.add_device("a", CONFIG, 1 << 20)
    world.taken_over()
    world.ring().break_off("an entry of length 3")
    world.rings.retry()
    assert world.ring().device == world.kernel.device("a")
    assert world.kernel.attribute("a", "action/reset_ring") == "1"
    assert world.kernel.attribute("a", "action/block_dev") == "0"
    (note,) = world.heard.take()
    assert note.kind == "ring-restarted" and "length 3" in note.message


def test_what_initiators_chose_stays_when_a_broken_ring_is_begun_again(world: World) -> None:
    """They are not told of it."""
    world.kernel.add_device("a", CONFIG, 1 << 20)
    world.taken_over()
    shared = world.units.find(VOLUME)
    world.ring().break_off("an entry of length 3")
    world.rings.retry()
    assert world.units.find(VOLUME) is shared
    assert world.attention(world.ring()) == (0, 0)
    world.kernel.remove_device("a")
    assert world.units.find(VOLUME) is None


def test_a_device_that_gives_up_is_not_taken_over_as_it_stands(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that its initiator was told failed would be carried out over newer data."""
    world.kernel.add_device("a", CONFIG, 1 << 20, cmd_time_out=30)
    monkeypatch.setattr("scsi_snap.lio.uio.TcmuDevice.prepare", lambda _: None)
    order = []
    attach = world.data_path.attach_ring

    def noting(target: NativeTarget, *rest: object) -> object:
        actions = [world.kernel.attribute("a", f"action/{one}") for one in ("block_dev",)]
        order.append((actions, world.kernel.attribute("a", "action/reset_ring")))
        return attach(target, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(world.data_path, "attach_ring", noting)
    world.taken_over()
    assert order == [(["1"], "1")]
    assert world.kernel.attribute("a", "action/block_dev") == "0"
    assert [note.kind for note in world.heard.take()] == ["ring-gives-up"]


def test_lost_events_are_made_good_by_a_look_at_all(world: World) -> None:
    world.kernel.add_device("a", CONFIG, 1 << 20)
    world.taken_over()
    first = world.ring()
    world.kernel.tell = lambda event: None
    world.kernel.remove_device("a")
    world.kernel.add_device("b", CONFIG, 1 << 20)
    world.listening.rescan()
    assert first.closed() and world.ring().device == world.kernel.device("b")


def test_a_name_of_uio_that_is_given_again_is_another_device(world: World) -> None:
    world.kernel.add_device("a", CONFIG, 1 << 20)
    world.taken_over()
    first = world.ring()
    (world.kernel.sys / "class/uio/uio0/name").write_text("tcm-user/5/z/scsi-snap/tank/vol0")
    world.rings.rescan()
    assert first.closed() and world.rings.showing(VOLUME)[0].name == "z"
    world.listening.tell(Event("removed", "uio0", "tcm-user/0/a/scsi-snap/tank/vol0", 1))
    assert world.rings.showing(VOLUME)[0].name == "z", "that was another one"


def test_records_of_devices_that_have_gone_unseen_go(world: World) -> None:
    world.kernel.add_device("a", CONFIG, 1 << 20)
    world.records.mkdir()
    for name in ("0-a", "7-b"):
        (world.records / name).touch()
    world.taken_over()
    assert [one.name for one in world.records.iterdir()] == ["0-a"]


def test_without_events_devices_are_looked_for(world: World) -> None:
    world.listening.failing = OSError(2, "the kernel has no netlink family TCM-USER")
    world.taken_over()
    assert [note.kind for note in world.heard.take()] == ["lio-events"]
    world.kernel.add_device("a", CONFIG, 1 << 20)
    assert world.data_path.rings == []
    world.rings.retry()
    assert world.ring().device == world.kernel.device("a")
    world.rings.close()


def test_whether_the_kernel_waits_for_an_answer(world: World) -> None:
    world.taken_over()
    world.kernel.add_device("a", CONFIG, 1 << 20, reply=1)
    world.kernel.add_device("b", CONFIG, 1 << 20)
    asked = world.listening.expects_answer
    assert asked(Event("reconfigured", "uio0", "a", 1))
    assert not asked(Event("reconfigured", "uio1", "b", 1))
    assert not asked(Event("removed", "uio9", "c", 1))


def test_the_size_that_a_tool_sets_is_put_right(world: World) -> None:
    world.taken_over()
    world.kernel.add_device("a", CONFIG, 1 << 20)
    file = world.kernel.core / "user_0/a/attrib/dev_size"
    file.write_text("77")
    world.listening.tell(Event("reconfigured", "uio0", "a", 1, 77))
    assert file.read_text() == str(1 << 20)


def test_serving_what_the_kernel_does_not_show(world: World) -> None:
    world.taken_over()
    with pytest.raises(IoFailed, match="user/none"):
        world.rings.serve("none", unit(), read_only=False)


@pytest.mark.parametrize("backing", ["tank/vol0", "a:b/c.d-e@f:g", "t/v@s", "p:v/s"])
@pytest.mark.parametrize("read_only", [False, True])
def test_names_go_through_the_kernel_and_come_back(backing: str, read_only: bool) -> None:
    config = dev_config(backing, read_only=read_only)
    assert ":" not in config
    found, protected = backing_of(config.partition("/")[2])
    assert (str(found), protected) == (backing, read_only)


def test_no_two_backings_have_one_storage_object() -> None:
    parts = ("a", "a:b", "b", "b:a", "a.b")
    backings = [f"{p}/{v}" for p in parts for v in parts]
    backings += [f"{one}@{s}" for one in backings for s in parts]
    names = [storage_object(one, read_only=flag) for one in backings for flag in (True, False)]
    assert len(set(names)) == len(names)
