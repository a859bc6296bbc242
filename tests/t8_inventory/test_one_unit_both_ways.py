"""A volume that the embedded portal and the kernel's target show at the same time is one logical
unit: what one way changes, the other is told of, once (SPC-5, unit attention conditions)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scsi_snap.inventory.exporters import Exporters
from scsi_snap.inventory.lio_exporter import LioExporter
from scsi_snap.inventory.records import TargetRecord
from scsi_snap.inventory.rings import Rings
from scsi_snap.scsi.identity import Identity, Personality
from scsi_snap.scsi.target import Target
from tests.fakes import FakeNativeRing
from tests.simulated_kernel import SimulatedKernel
from tests.t6_scsi.bus import expecting
from tests.t7_iscsi.initiator import DISK
from tests.t8_inventory.exporting import (
    GOOD,
    INQUIRY_SERIAL,
    MODE_SENSE,
    RECORD,
    TEST_UNIT_READY,
    VOLUME,
    Exporting,
    exporting,
    unit,
)

BY_LIO = TargetRecord("iqn.2026-11.org.example:kernel", "id-2", via="lio")
RESET, MODES_CHANGED = (0x29, 0x03), (0x2A, 0x01)
CAPACITY_CHANGED, INQUIRY_CHANGED = (0x2A, 0x09), (0x3F, 0x03)
SOFTWARE_WRITE_PROTECT = bytes(4) + bytes([0x0A, 0x0A, 0x20, 0x10, 8, 0, 0, 0, 0xFF, 0xFF, 0, 0])
MODE_SELECT = bytes([0x15, 0x10, 0, 0, len(SOFTWARE_WRITE_PROTECT), 0])


class Silent:
    """The kernel tells of no event."""

    def __init__(self, *_: object) -> None: ...
    def start(self) -> None: ...
    def close(self) -> None: ...


@dataclass
class Ring:
    """The kernel's way to the unit."""

    command_set: Target
    native: FakeNativeRing

    def execute(self, cdb: bytes, data_out: bytes = b"") -> tuple[int, bytes, bytes]:
        done = self.command_set.execute(
            self.native.nexus, 0, cdb, 0, data_out, expecting(data_out), False
        )
        return done[:3]

    def attentions(self) -> list[tuple[int, int]]:
        found = []
        while True:
            status, sense, _ = self.execute(TEST_UNIT_READY)
            if status == GOOD:
                return found
            found.append((sense[12], sense[13]))


class BothWays:
    def __init__(self, at: Exporting, root: Path) -> None:
        units = at.exporter._units
        self.kernel = SimulatedKernel(root)
        rings = Rings(at.data_path, units, self.kernel.tree, Silent, root / "rings", [])
        self.lio = LioExporter(lambda: self.kernel, rings, units.new_nexus)
        self.exporters = Exporters(at.exporter, self.lio)
        self.exporters.set_target(RECORD)
        self.exporters.take_over(lambda _name, _use: None)
        self.exporters.set_target(BY_LIO)
        self.lio.start([])
        self.exporters.map(DISK, 0, unit())
        self.exporters.map(BY_LIO.name, 5, unit())
        (native,) = at.data_path.rings
        assert isinstance(native, FakeNativeRing)
        (command_set,) = (made for made, target in at.data_path.made if target is native.target)
        self.ring = Ring(command_set, native)
        self.ring.attentions()


def test_one_serial_number_and_one_set_of_mode_parameters(tmp_path: Path) -> None:
    async def run(at: Exporting) -> None:
        both, path = BothWays(at, tmp_path / "kernel"), await at.path()
        assert both.ring.execute(INQUIRY_SERIAL)[2] == path.data(0, INQUIRY_SERIAL)
        assert both.ring.execute(MODE_SELECT, SOFTWARE_WRITE_PROTECT)[0] == GOOD
        assert (path.attentions(0), both.ring.attentions()) == ([MODES_CHANGED], [])
        for page in (both.ring.execute(MODE_SENSE)[2], path.data(0, MODE_SENSE)):
            assert page[2] & 0x80
        path.command_set.task_management(path.number, 0, 5)
        assert both.ring.attentions() == [RESET]

    exporting(run)


def test_each_way_is_told_of_a_change_once(tmp_path: Path) -> None:
    async def run(at: Exporting) -> None:
        both, path = BothWays(at, tmp_path / "kernel"), await at.path()
        both.exporters.capacity_changed(VOLUME)
        assert path.attentions(0) == both.ring.attentions() == [CAPACITY_CHANGED]
        other = Personality(Identity(VOLUME, vendor="ACME"))
        both.exporters.personality_changed(VOLUME, other)
        assert path.attentions(0) == both.ring.attentions() == [INQUIRY_CHANGED]

    exporting(run)


def test_no_nexus_of_the_one_has_the_number_of_one_of_the_other(tmp_path: Path) -> None:
    async def run(at: Exporting) -> None:
        both, path = BothWays(at, tmp_path / "kernel"), await at.path()
        assert both.ring.native.nexus != path.number
        at.exporter.close_session(path.number)
        await at.verb(both.exporters.housekeep)
        assert both.ring.execute(MODE_SENSE)[0] == GOOD and both.ring.attentions() == []

    exporting(run)


def test_the_unit_stays_as_long_as_one_of_them_shows_it(tmp_path: Path) -> None:
    async def run(at: Exporting) -> None:
        both = BothWays(at, tmp_path / "kernel")
        units = at.exporter._units
        shared = units.find(VOLUME)
        assert shared is not None
        both.ring.execute(MODE_SELECT, SOFTWARE_WRITE_PROTECT)
        both.exporters.unmap(DISK, 0)
        assert units.find(VOLUME) is shared
        both.exporters.map(DISK, 0, unit())
        both.exporters.unmap(BY_LIO.name, 5)
        assert units.find(VOLUME) is shared and both.ring.native.closed()
        assert (await at.path()).data(0, MODE_SENSE)[2] & 0x80
        both.exporters.unmap(DISK, 0)
        assert units.find(VOLUME) is None

    exporting(run)
