"""The files that keep mode parameters for the next process, and which boot they are of."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest

from scsi_snap.inventory import mode_files
from scsi_snap.inventory.exporter import Unit
from scsi_snap.inventory.mode_files import ModeFile
from scsi_snap.inventory.notes import Tell, unheard
from scsi_snap.inventory.portal_exporter import PortalExporter
from scsi_snap.inventory.records import TargetRecord
from scsi_snap.inventory.state_directory import StateDirectory
from scsi_snap.inventory.units import Units
from scsi_snap.scsi.identity import Identity, Personality
from scsi_snap.scsi.record_store import StoreFailed
from tests.heard import Heard
from tests.t7_iscsi.initiator import DISK
from tests.t8_inventory.exporting import RecordingDataPath, device

UNIT = UUID(int=1)
BOOT, NEXT_BOOT = str(UUID(int=7)), str(UUID(int=8))


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[StateDirectory]:
    made = StateDirectory(tmp_path / "state")
    yield made
    made.release()


def names(directory: StateDirectory) -> set[str]:
    return {path.name for path in directory.path.glob("modes*")}


def test_what_was_saved_is_there_in_the_same_boot_alone(directory: StateDirectory) -> None:
    store = ModeFile(directory, BOOT, UNIT)
    assert store.load() == b""
    store.save(b"one\n")
    store.save(b"two\n")
    assert ModeFile(directory, BOOT, UNIT).load() == b"two\n"
    assert ModeFile(directory, BOOT, UUID(int=2)).load() == b""
    assert ModeFile(directory, NEXT_BOOT, UNIT).load() == b""
    store.remove()
    assert names(directory) == set()


@pytest.mark.parametrize("data", [b"x", b"\n", BOOT[:-1].encode() + b"\nrecord"])
def test_of_which_boot_it_is_must_be_told(directory: StateDirectory, data: bytes) -> None:
    """What comes back is no record, so it is taken for damaged and not for nothing."""
    (directory.path / f"modes-{UNIT}").write_bytes(data)
    assert ModeFile(directory, BOOT, UNIT).load() == data


def test_where_boots_cannot_be_told_apart(
    directory: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mode_files, "BOOT_ID", directory.path / "nothing")
    assert mode_files.boot() == ""
    store = ModeFile(directory, mode_files.boot(), UNIT)
    store.save(b"record")
    assert ModeFile(directory, BOOT, UNIT).load() != b"record"


def test_this_boot_has_a_name() -> None:
    assert UUID(mode_files.boot())


def test_what_cannot_be_read_or_written(directory: StateDirectory) -> None:
    store = ModeFile(directory, BOOT, UNIT)
    (directory.path / f"modes-{UNIT}").mkdir()
    for call in (store.load, store.remove, partial(store.save, b"data")):
        with pytest.raises(StoreFailed):
            call()


def exporter(directory: StateDirectory, tell: Tell = unheard) -> PortalExporter:
    units = Units(mode_store=partial(ModeFile, directory, BOOT), tell=tell)
    made = PortalExporter(RecordingDataPath(), units)
    made.set_target(TargetRecord(DISK, "id"))
    made.map(DISK, 0, Unit("tank/vol0", device(), UNIT, Personality(Identity(UNIT))))
    return made


def test_they_stay_with_the_process_and_go_with_the_last_mapping(
    directory: StateDirectory,
) -> None:
    save(directory)
    mapped = exporter(directory)
    assert names(directory)
    mapped.unmap(DISK, 0)
    assert names(directory) == set()


def test_an_operator_learns_once_of_a_damaged_file(directory: StateDirectory) -> None:
    save(directory)
    heard = Heard()
    exporter(directory, heard)
    (note,) = heard.take()
    assert (note.kind, note.subject) == ("modes-lost", "tank/vol0")
    assert f"modes-{UNIT}" in note.message


def test_they_go_with_the_volume(directory: StateDirectory) -> None:
    """Those of another boot, too, that nobody has mapped since."""
    mapped = exporter(directory)
    mapped.unmap(DISK, 0)
    save(directory)
    mapped.backing_deleted(UNIT)
    assert names(directory) == set()


def save(directory: StateDirectory) -> None:
    ModeFile(directory, BOOT, UNIT).save(b"damaged, which stays until it means nothing any more")
