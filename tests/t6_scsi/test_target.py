"""The task router: LUN addresses, REPORT LUNS, and the unit that is not there."""

from uuid import UUID

import pytest

from scsi_snap.scsi import lun_address
from scsi_snap.scsi.identity import Identity, Personality
from scsi_snap.scsi.logical_unit import LogicalUnit
from scsi_snap.scsi.nexus import TargetPort
from scsi_snap.scsi.target import Target
from tests.t6_scsi.bus import TARGET_NAME, Bus, expecting, initiator, make_bus
from tests.t6_scsi.fakes import MemoryDevice
from tests.t6_scsi.senses import LUN_NOT_SUPPORTED, fixed, in_cdb

REPORT_LUNS = [0xA0, 0, 0x00, 0, 0, 0, *[0, 0, 1, 0], 0, 0]


def eight(text: str) -> int:
    return int(text.replace(" ", ""), 16)


@pytest.fixture
def several() -> Bus:
    bus = make_bus(MemoryDevice())
    for number in (255, 256, 16383):
        unit = LogicalUnit(MemoryDevice(), Personality(Identity(UUID(int=number))))
        bus.target.add_unit(number, unit)
    return bus


class TestLunAddress:
    @pytest.mark.parametrize(
        ("number", "lun"),
        [
            (0, "0000 0000 0000 0000"),
            (5, "0005 0000 0000 0000"),
            (255, "00FF 0000 0000 0000"),
            (256, "4100 0000 0000 0000"),
            (16383, "7FFF 0000 0000 0000"),
        ],
    )
    def test_peripheral_below_256_and_flat_space_above(self, number: int, lun: str) -> None:
        assert lun_address.encode(number) == eight(lun)
        assert lun_address.decode(eight(lun)) == number

    def test_flat_space_of_a_small_number(self) -> None:
        assert lun_address.decode(eight("4005 0000 0000 0000")) == 5

    def test_a_plain_number_of_sixteen_bits(self) -> None:
        """The peripheral device method with a bus identifier, but there is no such bus."""
        assert lun_address.decode(eight("0100 0000 0000 0000")) == 256
        assert lun_address.decode(eight("3FFF 0000 0000 0000")) == 16383

    @pytest.mark.parametrize(
        "lun",
        [
            "0005 0001 0000 0000",  # two levels
            "0005 0000 0000 0001",
            "8005 0000 0000 0000",  # logical unit addressing method
            "C101 0000 0000 0000",  # well known: REPORT LUNS
            "FFFF FFFF FFFF FFFF",
        ],
    )
    def test_what_no_unit_has(self, lun: str) -> None:
        assert lun_address.decode(eight(lun)) is None

    def test_every_number_comes_back(self) -> None:
        numbers = range(16384)
        assert [lun_address.decode(lun_address.encode(number)) for number in numbers] == [*numbers]


class TestReportLuns:
    LIST = bytes.fromhex(
        "00000020 000000000000000000000000 00ff000000000000 4100000000000000 7fff000000000000"
    )

    def test_ascending(self, several: Bus) -> None:
        assert several.good(REPORT_LUNS) == self.LIST

    def test_from_any_unit_and_from_none(self, several: Bus) -> None:
        assert several.good(REPORT_LUNS, lun=eight("4100 0000 0000 0000")) == self.LIST
        assert several.good(REPORT_LUNS, lun=eight("0009 0000 0000 0000")) == self.LIST

    def test_the_length_field_does_not_adjust_to_the_allocation_length(self, several: Bus) -> None:
        cdb = [0xA0, 0, 0, 0, 0, 0, *[0, 0, 0, 12], 0, 0]
        assert several.good(cdb) == self.LIST[:12]

    def test_select_report(self, several: Bus) -> None:
        def select(code: int) -> list[int]:
            return [0xA0, 0, code, 0, 0, 0, *[0, 0, 1, 0], 0, 0]

        assert several.good(select(0x01)) == bytes(8)  # well known units: none
        assert several.good(select(0x02)) == self.LIST  # all
        assert several.refused(select(0x03)) == in_cdb(2)
        assert several.refused(select(0x10)) == in_cdb(2)


class TestMissingUnit:
    LUN = 9 << 48

    def test_commands(self, bus: Bus) -> None:
        for cdb in ([0] * 6, [0x28, *[0] * 9], [0x9E, 0x10, *[0] * 14], [0xFF, *[0] * 15]):
            assert bus.refused(cdb, lun=self.LUN) == fixed(LUN_NOT_SUPPORTED)

    def test_inquiry(self, bus: Bus) -> None:
        """SPC-4: qualifier 011b, device type 1Fh."""
        data = bus.good([0x12, 0, 0, 0, 36, 0], lun=self.LUN)
        assert data[0] == 0x7F and len(data) == 36
        assert bus.refused([0x12, 1, 0, 0, 36, 0], lun=self.LUN) == fixed(LUN_NOT_SUPPORTED)

    def test_request_sense(self, bus: Bus) -> None:
        """SPC-4: the reason is the parameter data."""
        assert bus.good([0x03, 0, 0, 0, 252, 0], lun=self.LUN) == fixed(LUN_NOT_SUPPORTED)
        descriptor = bus.good([0x03, 1, 0, 0, 252, 0], lun=self.LUN)
        assert descriptor == bytes([0x72, 0x5, 0x25, 0, 0, 0, 0, 0])

    def test_a_unit_that_was_removed(self, bus: Bus) -> None:
        bus.target.remove_unit(0)
        assert bus.refused([0] * 6) == fixed(LUN_NOT_SUPPORTED)
        assert bus.good(REPORT_LUNS) == bytes(8)


def test_the_port_that_was_asked_through_is_the_one_named() -> None:
    """One unit in two targets: the device identification page names each."""
    unit = LogicalUnit(MemoryDevice(), Personality(Identity(UUID(int=1))))
    for name in (TARGET_NAME, TARGET_NAME + "2"):
        target = Target(TargetPort(name, portal_group_tag=3, relative_identifier=2))
        target.add_unit(0, unit)
        target.nexus_begins(1, initiator(1))
        page = target.execute(1, 0, bytes([0x12, 1, 0x83, 1, 0, 0]), 1, b"", expecting(b""))[2]
        assert f"{name},t,0x0003\0".encode() in page


@pytest.mark.parametrize("product", ["seventeen letters", "new\nline", "Größe"])
def test_a_product_identification_that_cannot_be(product: str) -> None:
    with pytest.raises(ValueError, match="16 printable ASCII"):
        Identity(UUID(int=1), product=product)
