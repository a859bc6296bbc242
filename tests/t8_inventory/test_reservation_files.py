"""The files that keep reservations, and what an operator learns where one is damaged."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest

from scsi_snap.inventory.exporter import Unit
from scsi_snap.inventory.notes import Tell, unheard
from scsi_snap.inventory.portal_exporter import PortalExporter
from scsi_snap.inventory.records import TargetRecord
from scsi_snap.inventory.reservation_files import ReservationFile
from scsi_snap.inventory.state_directory import StateDirectory
from scsi_snap.inventory.units import Units
from scsi_snap.scsi.identity import Identity, Personality
from scsi_snap.scsi.record_store import StoreFailed
from scsi_snap.scsi.reservation_record import RECORD_BYTES_MAX
from tests.heard import Heard
from tests.t7_iscsi.initiator import DISK
from tests.t8_inventory.exporting import RecordingDataPath, device

UNIT, OTHER = UUID(int=1), UUID(int=2)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[StateDirectory]:
    made = StateDirectory(tmp_path / "state")
    yield made
    made.release()


def exporter_of(directory: StateDirectory, tell: Tell = unheard) -> PortalExporter:
    units = Units(partial(ReservationFile, directory), tell=tell)
    return PortalExporter(RecordingDataPath(), units)


def test_what_was_saved_is_there_for_that_unit_alone(directory: StateDirectory) -> None:
    store = ReservationFile(directory, UNIT)
    assert store.load() == b""
    store.save(b"one")
    store.save(b"two")
    assert ReservationFile(directory, UNIT).load() == b"two"
    assert ReservationFile(directory, OTHER).load() == b""
    assert sorted(path.name for path in directory.path.glob("reservations*")) == [
        f"reservations-{UNIT}",
        f"reservations-{UNIT}.previous",
    ]


def test_a_record_goes_with_its_volume_and_not_with_the_mapping(
    directory: StateDirectory,
) -> None:
    for uuid in (UNIT, OTHER):
        store = ReservationFile(directory, uuid)
        store.save(b"one")
        store.save(b"damaged")
    exporter = exporter_of(directory)
    exporter.set_target(TargetRecord(DISK, "id"))
    exporter.map(DISK, 0, Unit("tank/vol0", device(), UNIT, Personality(Identity(UNIT))))
    exporter.unmap(DISK, 0)
    assert ReservationFile(directory, UNIT).load()
    for _ in range(2):
        exporter.backing_deleted(UNIT)
        names = {path.name for path in directory.path.glob("reservations*")}
        assert names == {f"reservations-{OTHER}", f"reservations-{OTHER}.previous"}


def test_a_record_that_cannot_be_removed_fails_nothing(directory: StateDirectory) -> None:
    (directory.path / f"reservations-{UNIT}").mkdir()
    exporter = exporter_of(directory)
    exporter.backing_deleted(UNIT)


def test_a_file_is_read_to_a_limit(directory: StateDirectory) -> None:
    (directory.path / f"reservations-{UNIT}").write_bytes(b"x" * (RECORD_BYTES_MAX + 99))
    assert len(ReservationFile(directory, UNIT).load()) == RECORD_BYTES_MAX + 1


def test_what_cannot_be_read_or_written(directory: StateDirectory) -> None:
    store = ReservationFile(directory, UNIT)
    (directory.path / f"reservations-{UNIT}").mkdir()
    with pytest.raises(StoreFailed):
        store.load()
    with pytest.raises(StoreFailed):
        store.save(b"data")


def test_an_operator_learns_once_of_a_damaged_file(directory: StateDirectory) -> None:
    (directory.path / f"reservations-{UNIT}").write_bytes(b"damaged")
    heard = Heard()
    exporter = exporter_of(directory, heard)
    exporter.set_target(TargetRecord(DISK, "id"))
    for lun, (name, uuid) in enumerate({"tank/vol0": UNIT, "tank/vol1": OTHER}.items()):
        exporter.map(DISK, lun, Unit(name, device(), uuid, Personality(Identity(uuid))))
    (note,) = heard.take()
    assert (note.kind, note.subject) == ("reservations-lost", "tank/vol0")
    assert f"reservations-{UNIT}" in note.message and "--replace-lost" in note.message
