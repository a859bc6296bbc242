"""Verbs on snapshots."""

from __future__ import annotations

from typing import cast

import pytest

from scsi_snap.control.allocated_extents import allocated
from scsi_snap.control.outcomes import Deleted
from scsi_snap.control.snapshots import SnapshotToMake
from scsi_snap.control.views import LunReference
from scsi_snap.errors import Busy, Exists, InvalidArgument, NotFound, SnapshotInvalid
from scsi_snap.inventory.names import SnapshotName, VolumeName
from scsi_snap.inventory.native import NativeDevice
from scsi_snap.limits import DIFF_EXTENTS_PAGE
from tests.controllers import IQN, MIB, MONDAY, VOL0, Controller
from tests.fakes import FakePool

TUESDAY = SnapshotName("tank", "vol0", "tuesday")
CHUNK_BLOCKS = 128


def take(controller: Controller, *names: SnapshotName) -> None:
    controller.service.snapshots.create([SnapshotToMake(name) for name in names])


def extents(
    controller: Controller, since: SnapshotName, until: SnapshotName | None = None
) -> list[tuple[int, int]]:
    diff = controller.service.snapshots.diff(since, until)
    return [(one.first_lba, one.blocks) for one in diff.extents]


def test_one_point_over_several_volumes(controller: Controller) -> None:
    controller.with_volume()
    controller.service.volumes.create(VolumeName("tank", "vol1"), MIB)
    take(controller, MONDAY, SnapshotName("tank", "vol1", "monday"))
    both = controller.service.snapshots.all()
    assert [one.name for one in both] == ["tank/vol0@monday", "tank/vol1@monday"]
    assert both[0].group == both[1].group is not None
    assert all(one.whole_volume and one.blocks == MIB // 512 for one in both)


def test_a_point_is_taken_whole_or_not_at_all(controller: Controller) -> None:
    controller.with_volume()
    with pytest.raises(NotFound):
        take(controller, MONDAY, SnapshotName("tank", "vol9", "monday"))
    take(controller, TUESDAY)
    controller.service.volumes.create(VolumeName("tank", "vol1"), MIB)
    with pytest.raises(Exists):
        take(controller, SnapshotName("tank", "vol1", "x"), TUESDAY)
    assert [one.name for one in controller.service.snapshots.all()] == ["tank/vol0@tuesday"]


def test_a_snapshot_is_not_taken_twice(controller: Controller) -> None:
    take(controller.with_volume(), MONDAY)
    with pytest.raises(Exists, match="monday"):
        take(controller, MONDAY)
    with pytest.raises(InvalidArgument, match="two snapshots"):
        take(controller, TUESDAY, SnapshotName("tank", "vol0", "wednesday"))
    with pytest.raises(InvalidArgument):
        take(controller)


def test_a_range_must_be_within_the_volume(controller: Controller) -> None:
    controller.with_volume()
    for block_range in ((0, 2049), (2048, 1), (-1, 2), (0, 0)):
        with pytest.raises(InvalidArgument, match="not within tank/vol0"):
            controller.service.snapshots.create([SnapshotToMake(MONDAY, block_range)])
    controller.service.snapshots.create([SnapshotToMake(MONDAY, (128, 256))])
    found = controller.service.snapshots.show(MONDAY)
    assert (found.first_lba, found.blocks, found.whole_volume) == (128, 256, False)


def test_diff_lists_what_changed_between_two_points_and_until_now(controller: Controller) -> None:
    take(controller.with_volume(), MONDAY)
    controller.write(0, 1)
    controller.write(3 * CHUNK_BLOCKS, 2 * CHUNK_BLOCKS)
    take(controller, TUESDAY)
    controller.write(10 * CHUNK_BLOCKS, 1)
    assert extents(controller, MONDAY, TUESDAY) == [(0, 128), (384, 256)]
    assert extents(controller, MONDAY) == [(0, 128), (384, 256), (1280, 128)]
    assert extents(controller, TUESDAY) == [(1280, 128)]


def test_diff_goes_page_by_page(controller: Controller) -> None:
    take(controller.with_volume(), MONDAY)
    for chunk in (0, 2, 4, 6):
        controller.write(chunk * CHUNK_BLOCKS, 1)
    first = controller.service.snapshots.diff(MONDAY, limit=3)
    assert [one.first_lba for one in first.extents] == [0, 256, 512]
    assert first.next_lba == 768
    last = controller.service.snapshots.diff(MONDAY, first_lba=768, limit=3)
    assert [one.first_lba for one in last.extents] == [768] and last.next_lba is None


class HoledDevice:
    """Blocks of 4096 bytes; mapped ranges in bytes, on no block's border."""

    block_bytes = 4096

    def __init__(self, mapped: list[tuple[int, int]], runs_at_once: int) -> None:
        self._mapped, self._runs_at_once = mapped, runs_at_once

    def lba_status(self, offset_bytes: int, length_bytes: int) -> list[tuple[int, bool]]:
        at, end = offset_bytes, offset_bytes + length_bytes
        runs: list[tuple[int, bool]] = []
        while at < end and len(runs) < self._runs_at_once:
            inside = next((one for one in self._mapped if one[0] <= at < sum(one)), None)
            later = [start for start, _ in self._mapped if start > at]
            stop = min(sum(inside) if inside else min(later, default=end), end)
            runs.append((stop - at, inside is not None))
            at = stop
        return runs


@pytest.mark.parametrize("runs_at_once", [1, 2, 1000])
def test_allocated_extents_page_by_page(runs_at_once: int) -> None:
    mapped = [(0, 512), (1024, 3072), (8192, 512), (16384, 8192), (40960, 512), (45568, 512)]
    device = HoledDevice(mapped, runs_at_once)
    wanted = [(0, 4096), (8192, 4096), (16384, 8192), (40960, 8192)]
    for limit in (1, 2, 3, 100):
        found, reached = [], 0
        while reached < 65536:
            page, reached = allocated(cast(NativeDevice, device), reached, 65536, limit)
            assert len(page) <= limit
            found += page
        assert found == wanted, limit
    assert allocated(cast(NativeDevice, device), 65536, 65536, 1) == ([], 65536)


def test_a_page_of_a_sparse_volume_ends_early() -> None:
    device = HoledDevice([(at, 4096) for at in range(0, 1 << 20, 8192)], runs_at_once=1)
    found, reached = allocated(cast(NativeDevice, device), 0, 1 << 20, 1000)
    assert (len(found), reached) == (8, 8 * 8192)


def test_extents_of_a_snapshot_are_within_its_range(controller: Controller) -> None:
    controller.with_volume()
    controller.service.snapshots.create([SnapshotToMake(MONDAY, (128, 256))])
    for first_lba, wanted in ((0, [(128, 256)]), (200, [(200, 184)]), (384, []), (9999, [])):
        found = controller.service.snapshots.extents(MONDAY, first_lba)
        assert [(one.first_lba, one.blocks) for one in found.extents] == wanted
        assert found.next_lba is None
    for limit in (0, DIFF_EXTENTS_PAGE + 1):
        with pytest.raises(InvalidArgument):
            controller.service.snapshots.extents(MONDAY, limit=limit)


def test_diff_the_wrong_way_round_is_refused(controller: Controller) -> None:
    take(controller.with_volume(), MONDAY)
    take(controller, TUESDAY)
    controller.service.volumes.create(VolumeName("tank", "vol1"), MIB)
    elsewhere = SnapshotName("tank", "vol1", "monday")
    take(controller, elsewhere)
    for since, until in ((TUESDAY, MONDAY), (MONDAY, MONDAY), (MONDAY, elsewhere)):
        with pytest.raises(InvalidArgument):
            controller.service.snapshots.diff(since, until)


def test_map_counts_what_is_preserved_within_the_range(controller: Controller) -> None:
    controller.with_volume()
    # Chunks 4 to 11 of 16.
    controller.service.snapshots.create([SnapshotToMake(MONDAY, (512, 1024))])
    for chunk in (0, 4, 5, 7):
        controller.write(chunk * CHUNK_BLOCKS, 1)
    drawn = controller.service.snapshots.map(MONDAY, 8)
    chunk_bytes = 65536
    assert drawn.cell_bytes == 2 * chunk_bytes
    assert [cell.covered_bytes // chunk_bytes for cell in drawn.cells] == [0, 0, 2, 2, 2, 2, 0, 0]
    assert [cell.preserved_bytes // chunk_bytes for cell in drawn.cells] == [0, 0, 2, 1, 0, 0, 0, 0]
    assert (drawn.covered_bytes, drawn.preserved_bytes) == (8 * chunk_bytes, 3 * chunk_bytes)
    whole = controller.service.snapshots.map(MONDAY, 1)
    assert (whole.covered_bytes, whole.preserved_bytes) == (8 * chunk_bytes, 3 * chunk_bytes)


@pytest.mark.parametrize("cells", [1, 3, 16, 17, 4096])
def test_map_cells_cover_the_volume_whatever_their_number(
    controller: Controller, cells: int
) -> None:
    controller.with_volume()
    controller.service.volumes.create(VolumeName("tank", "odd"), 65536 * 7 + 512)
    name = SnapshotName("tank", "odd", "m")
    take(controller, name)
    controller.write(7 * 128, 1, name.origin)
    drawn = controller.service.snapshots.map(name, cells)
    assert len(drawn.cells) <= cells
    assert sum(cell.covered_bytes for cell in drawn.cells) == 65536 * 7 + 512
    assert drawn.preserved_bytes == drawn.cells[-1].preserved_bytes == 512


def test_delete_is_refused_while_mapped(controller: Controller) -> None:
    take(controller.with_volume(), MONDAY)
    take(controller, TUESDAY)
    controller.service.targets.create(IQN)
    controller.service.targets.map(IQN, 1, MONDAY)
    controller.service.targets.map(IQN, 0, VOL0)
    with pytest.raises(Busy, match="LUN 1"):
        controller.service.snapshots.delete(MONDAY)
    assert controller.exporter.deleted == []
    assert controller.service.snapshots.delete(TUESDAY) == Deleted("tank/vol0@tuesday")
    assert len(controller.exporter.deleted) == 1
    with pytest.raises(NotFound, match="tuesday"):
        controller.service.snapshots.delete(TUESDAY)
    assert controller.service.snapshots.show(MONDAY).mapped == (LunReference(IQN, 1),)


def test_a_dropped_snapshot_says_why_and_draws_nothing(controller: Controller) -> None:
    take(controller.with_volume(), MONDAY)
    native = controller.assembly.pools.get("tank").native
    assert isinstance(native, FakePool)
    native.drop_snapshot("vol0", "monday", "the store is full")
    assert controller.service.snapshots.show(MONDAY).invalid_reason == "the store is full"
    with pytest.raises(SnapshotInvalid, match="the store is full"):
        controller.service.snapshots.diff(MONDAY)
    with pytest.raises(SnapshotInvalid):
        controller.service.snapshots.map(MONDAY, 10)
    controller.service.fetch_events()
    event = controller.service.events.after(0)[-1]
    assert (event.kind, event.subject) == ("snapshots-dropped", "tank/vol0@monday")
    assert event.message == "the snapshot was dropped: the store is full"
    controller.service.snapshots.delete(MONDAY)


def test_list_of_one_volume(controller: Controller) -> None:
    take(controller.with_volume(), MONDAY)
    controller.service.volumes.create(VolumeName("tank", "vol1"), MIB)
    assert controller.service.snapshots.all("tank", "vol1") == []
    assert len(controller.service.snapshots.all("tank", "vol0")) == 1
    with pytest.raises(NotFound) as caught:
        controller.service.snapshots.show(SnapshotName("tank", "vol0", "mondy"))
    assert caught.value.hint == "did you mean 'monday'?"
