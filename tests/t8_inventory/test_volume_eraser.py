"""SANITIZE down to the pool: the note that outlives the daemon, snapshots, and what is left."""

from __future__ import annotations

import threading

import pytest

from scsi_snap.control.snapshots import SnapshotToMake
from scsi_snap.errors import Busy, NotFound
from scsi_snap.inventory.volume_eraser import VolumeEraser
from scsi_snap.scsi.identity import Identity, Personality
from scsi_snap.scsi.logical_unit import LogicalUnit
from scsi_snap.scsi.nexus import TargetPort
from scsi_snap.scsi.target import Target
from tests.controllers import IQN, MONDAY, VOL0, Controller
from tests.t6_scsi.bus import expecting, initiator
from tests.t6_scsi.held import join_background

BLOCK_ERASE = bytes([0x48, 0x02, *[0] * 8])
NEXUS = 1


def set_up(controller: Controller) -> None:
    controller.with_volume()
    controller.service.targets.create(IQN)
    controller.service.targets.map(IQN, 0, VOL0)


def eraser_of(controller: Controller) -> VolumeEraser:
    eraser = controller.exporter.units[IQN, 0].eraser
    assert isinstance(eraser, VolumeEraser)
    return eraser


def target_over(controller: Controller) -> Target:
    """As the portal makes one, over the unit that was mapped."""
    unit = controller.exporter.units[IQN, 0]
    logical_unit = LogicalUnit(unit.device, Personality(Identity(unit.uuid)), eraser=unit.eraser)
    target = Target(TargetPort(IQN))
    target.add_unit(0, logical_unit)
    target.nexus_begins(NEXUS, initiator(NEXUS))
    target.execute(NEXUS, 0, bytes(6), 0, b"", expecting(b""))
    return target


def take(controller: Controller) -> None:
    controller.service.snapshots.create([SnapshotToMake(MONDAY)])


def test_a_volume_is_sanitized_store_and_all(controller: Controller) -> None:
    set_up(controller)
    controller.write(0, 64)
    target = target_over(controller)
    assert target.execute(NEXUS, 0, BLOCK_ERASE, 0, b"", expecting(b"")) == (0, b"", b"", 0)
    content = controller.disks.pool("tank")
    assert content.erased_stores == ["vol0"]
    assert content.volumes["vol0"].attributes == {}
    device = controller.exporter.units[IQN, 0].device
    assert device.read(0, 64 * 512) == bytes(64 * 512)


def test_live_snapshots_refuse_it(controller: Controller) -> None:
    set_up(controller)
    take(controller)
    target = target_over(controller)
    status, sense, _, _ = target.execute(NEXUS, 0, BLOCK_ERASE, 0, b"", expecting(b""))
    assert (status, sense[2], sense[12:14]) == (2, 0x5, b"\x2c\x00")
    assert controller.disks.pool("tank").volumes["vol0"].attributes == {}


def test_no_snapshot_is_taken_while_the_note_stands(controller: Controller) -> None:
    set_up(controller)
    assert eraser_of(controller).begin("note")
    with pytest.raises(Busy, match="sanitized"):
        take(controller)
    eraser_of(controller).set_note("")
    take(controller)


def test_the_note_outlives_a_crash_and_the_operation_goes_on(controller: Controller) -> None:
    set_up(controller)
    controller.write(0, 64)
    assert eraser_of(controller).begin(
        '{"allow_exit": false, "passes": 0, "pattern": "eJwDAAAAAAE=", "invert": false,'
        ' "failed": false}'
    )
    again = controller.restarted()
    target = target_over(again)
    join_background()
    assert target.execute(NEXUS, 0, bytes(6), 0, b"", expecting(b""))[0] == 0
    assert again.disks.pool("tank").erased_stores == ["vol0"]
    assert not any(again.exporter.units[IQN, 0].device.read(0, 64 * 512))


def test_the_note_and_a_snapshot_exclude_each_other(controller: Controller) -> None:
    """Both look and then write under the lock of the pool."""
    set_up(controller)
    handle = controller.assembly.pools.get("tank")
    began: list[bool] = []
    noting = threading.Thread(target=lambda: began.append(eraser_of(controller).begin("note")))
    with handle.lock:
        noting.start()
        take(controller)
    noting.join(60)
    assert began == [False]


def test_a_volume_that_is_gone(controller: Controller) -> None:
    set_up(controller)
    eraser = eraser_of(controller)
    controller.service.targets.unmap(IQN, 0)
    controller.service.volumes.delete(VOL0)
    with pytest.raises(NotFound):
        eraser.begin("note")


def test_a_snapshot_has_no_sanitize(controller: Controller) -> None:
    set_up(controller)
    take(controller)
    controller.service.targets.map(IQN, 1, MONDAY)
    assert controller.exporter.units[IQN, 1].eraser is None
