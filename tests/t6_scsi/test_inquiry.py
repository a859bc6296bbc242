"""INQUIRY, VPD pages and READ CAPACITY."""

import pytest

from scsi_snap.scsi.nexus import TargetPort
from scsi_snap.scsi.target import Target
from tests.t6_scsi.bus import TARGET_NAME, UNIT_UUID, Bus, make_bus
from tests.t6_scsi.fakes import HollowDevice, RecordingGate
from tests.t6_scsi.senses import WRITE_PROTECTED, fixed, in_cdb

MIB = 1 << 20


def vpd(bus: Bus, page: int, length: int = 0x400) -> bytes:
    return bus.good([0x12, 0x01, page, *length.to_bytes(2, "big"), 0])


def test_standard_data(bus: Bus) -> None:
    data = bus.good([0x12, 0x00, 0x00, 0x00, 0xFF, 0x00])
    assert len(data) == 96
    assert data[:8] == bytes(
        [
            0x00,  # connected, direct-access block device
            0x00,  # not removable
            0x06,  # SPC-4
            0x12,  # NORMACA 0, HISUP 1, response data format 2
            91,  # additional length
            0x18,  # TPGS 01b: implicit; 3PC; SCCS, PROTECT: none
            0x00,  # ENCSERV, MULTIP: none
            0x02,  # CMDQUE
        ]
    )
    assert data[8:36] == b"SCSISNAP" + b"VIRTUAL DISK    " + b"0001"
    # SAM-5, iSCSI, SPC-4, SBC-3, no version claimed of each.
    assert data[58:74].hex() == "00a00960046004c0" + "0000" * 4


@pytest.mark.parametrize("length", [0, 1, 5, 36, 95, 96, 97, 65535])
def test_the_allocation_length_cuts_and_nothing_else_changes(bus: Bus, length: int) -> None:
    """SPC-4, 4.2.5.6: truncation is no error, and ADDITIONAL LENGTH does not adjust."""
    whole = bus.good([0x12, 0, 0, 0xFF, 0xFF, 0])
    assert bus.good([0x12, 0, 0, *length.to_bytes(2, "big"), 0]) == whole[:length]


def test_a_page_code_without_evpd(bus: Bus) -> None:
    assert bus.refused([0x12, 0x00, 0x83, 0, 0xFF, 0]) == in_cdb(2)


def test_cmddt_is_obsolete(bus: Bus) -> None:
    assert bus.refused([0x12, 0x02, 0x00, 0, 0xFF, 0]) == in_cdb(1, bit=1)


def test_every_listed_page_is_there_and_no_other(bus: Bus) -> None:
    page = vpd(bus, 0x00)
    codes = [0x00, 0x80, 0x83, 0x86, 0x87, 0x88, 0x8F, 0xB0, 0xB1, 0xB2]
    assert page == bytes([0, 0x00, 0, len(codes), *codes])
    for code in range(256):
        if code in page[4:]:
            data = vpd(bus, code)
            assert data[:2] == bytes([0, code])
            assert int.from_bytes(data[2:4], "big") == len(data) - 4
        else:
            assert bus.refused([0x12, 0x01, code, 0, 0xFF, 0]) == in_cdb(2)


def test_unit_serial_number(bus: Bus) -> None:
    assert vpd(bus, 0x80)[4:].decode() == str(UNIT_UUID)


def test_device_identification(bus: Bus) -> None:
    """SPC-4, 7.8.6: (protocol, code set, PIV, association, type) and the designator of each."""
    page = vpd(bus, 0x83)
    found: list[tuple[int, int, int, int, int]] = []
    values: list[bytes] = []
    at = 4
    while at < len(page):
        first, second, _, length = page[at : at + 4]
        found.append((first >> 4, first & 15, second >> 7, second >> 4 & 3, second & 15))
        values.append(page[at + 4 : at + 4 + length])
        at += 4 + length
    assert at == len(page)
    assert found == [
        (0, 1, 0, 0, 3),  # logical unit, binary: NAA
        (0, 2, 0, 0, 1),  # logical unit, ASCII: T10 vendor identification
        (0, 3, 0, 0, 8),  # logical unit, UTF-8: SCSI name string
        (0, 1, 0, 0, 6),  # logical unit, binary: logical unit group
        (5, 1, 1, 1, 4),  # target port of iSCSI, binary: relative target port identifier
        (5, 1, 1, 1, 5),  # target port of iSCSI, binary: target port group
        (5, 3, 1, 1, 8),  # target port of iSCSI, UTF-8: SCSI name string
        (5, 3, 1, 2, 8),  # target device of iSCSI, UTF-8: SCSI name string
    ]
    naa, vendor, unit_name, unit_group, port_identifier, group, port_name, device_name = values
    assert len(naa) == 8 and naa[0] >> 4 == 0x3  # locally assigned
    assert vendor == b"SCSISNAP" + str(UNIT_UUID).encode()
    assert unit_name.rstrip(b"\0").decode() == f"naa.{naa.hex()}"
    assert port_identifier == group == unit_group == b"\0\0\0\1"
    assert port_name.rstrip(b"\0").decode() == f"{TARGET_NAME},t,0x0001"
    assert device_name.rstrip(b"\0").decode() == TARGET_NAME
    for name in (unit_name, port_name, device_name):
        assert name.endswith(b"\0") and len(name) % 4 == 0


def test_extended_inquiry(bus: Bus, read_only_bus: Bus) -> None:
    """SPC-4, 7.8.7: HEADSUP, ORDSUP, SIMPSUP; V_SUP with a write cache; LUICLR; nothing else."""
    page = vpd(bus, 0x86)
    assert page == bytes([0, 0x86, 0, 0x3C, 0, 0x07, 0x01, 0x01, *[0] * 56])
    assert vpd(read_only_bus, 0x86)[6] == 0x00


def test_mode_page_policy(bus: Bus) -> None:
    """SPC-4, 7.8.9: every page and subpage is shared, and by this unit alone (MLUS)."""
    assert vpd(bus, 0x87) == bytes([0, 0x87, 0, 4, 0x3F, 0xFF, 0x00, 0x00])


def test_scsi_ports(bus: Bus) -> None:
    """SPC-4, 7.8.14: relative identifier, no initiator port, the port's name."""
    page = vpd(bus, 0x88)
    name = f"{TARGET_NAME},t,0x0001".encode() + b"\0"
    name += bytes(-len(name) % 4)
    designator = bytes([0x53, 0x98, 0, len(name)]) + name
    port = bytes([0, 0, 0, 1, *[0] * 6, 0, len(designator)]) + designator
    assert page == bytes([0, 0x88, 0, len(port)]) + port


def test_a_unit_with_two_ports(bus: Bus) -> None:
    """MULTIP, and both ports in 88h; a port of another target device is not one of them."""
    ports = [
        TargetPort(TARGET_NAME, 2, relative_identifier=2),
        TargetPort(f"{TARGET_NAME}2", 1, relative_identifier=3),
    ]
    targets = [Target(port, RecordingGate()) for port in ports]
    for target in targets:
        target.add_unit(0, bus.unit)
    assert bus.good([0x12, 0, 0, 0, 0xFF, 0])[6] == 0x10
    page = vpd(bus, 0x88)
    assert page.count(b",t,0x000") == 2 and page.count(b",t,0x0002\0") == 1
    targets[0].remove_unit(0)
    assert bus.good([0x12, 0, 0, 0, 0xFF, 0])[6] == 0x00


def test_block_limits(bus_of: Bus) -> None:
    """What is enforced; the enforcing is tested with the commands."""
    page = vpd(bus_of, 0xB0)
    block_bytes = bus_of.device.block_bytes
    assert page[:4] == b"\x00\xb0\x00\x3c"
    assert page[4] == 0x01  # WSNZ
    assert page[5] == 255  # MAXIMUM COMPARE AND WRITE LENGTH
    physical = 4096 // block_bytes
    assert int.from_bytes(page[6:8], "big") == physical  # OPTIMAL TRANSFER LENGTH GRANULARITY
    assert int.from_bytes(page[8:12], "big") * block_bytes == 16 << 20
    assert int.from_bytes(page[16:20], "big") * block_bytes == 16 << 20  # MAXIMUM PREFETCH LENGTH
    assert int.from_bytes(page[20:24], "big") * block_bytes == 256 << 20
    assert int.from_bytes(page[24:28], "big") == 256
    # OPTIMAL UNMAP GRANULARITY; UGAVALID, alignment 0: of blocks of 512 bytes alone.
    granularity, valid = (physical, b"\x80") if block_bytes == 512 else (0, b"\0")
    assert int.from_bytes(page[28:32], "big") == granularity
    assert page[32:36] == valid + bytes(3)
    assert int.from_bytes(page[36:44], "big") * block_bytes == 16 << 20
    # Of atomic writes: maximum, alignment, granularity, maximum with boundary, maximum boundary.
    atomic = [int.from_bytes(page[at : at + 4], "big") for at in range(44, 64, 4)]
    with_boundary = min(16 * MIB // block_bytes, 0xFFFF) // physical * physical
    assert atomic == [32768 // block_bytes, physical, physical, with_boundary, 32768 // block_bytes]


def test_block_device_characteristics(bus: Bus) -> None:
    page = vpd(bus, 0xB1)
    assert page[:6] == b"\x00\xb1\x00\x3c\x00\x01"  # not rotating
    assert page[8] == 0x01  # VBULS
    assert len(page) == 64


def test_logical_block_provisioning(bus: Bus) -> None:
    """LBPU, LBPWS, LBPWS10; LBPRZ 001b; no anchoring, no group; thin."""
    assert vpd(bus, 0xB2) == b"\x00\xb2\x00\x04" + bytes([0, 0b111_001_00, 0x02, 0])


def test_a_snapshot_is_thin_and_write_protected(bus: Bus, read_only_bus: Bus) -> None:
    """It says of provisioning what its volume says: a backup skips what is not allocated."""
    for page in (0xB0, 0xB2):
        limits = vpd(read_only_bus, page)[:40]
        assert limits == vpd(bus, page)[:40]
    assert vpd(read_only_bus, 0xB0)[44:64] == bytes(20)  # nothing is written atomically
    assert read_only_bus.good([0x9E, 0x10, *[0] * 8, *[0, 0, 0, 32], 0, 0])[14] == 0xC0
    descriptor = (8).to_bytes(8, "big") + (8).to_bytes(4, "big") + bytes(4)
    unmap = [0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0]
    sense = read_only_bus.refused(unmap, b"\0\x16\0\x10\0\0\0\0" + descriptor)
    assert sense == fixed(WRITE_PROTECTED)


class TestReadCapacity:
    def test_10(self, bus_of: Bus) -> None:
        block_bytes = bus_of.device.block_bytes
        data = bus_of.good([0x25, *[0] * 9])
        assert data == (63).to_bytes(4, "big") + block_bytes.to_bytes(4, "big")

    def test_16(self, bus_of: Bus) -> None:
        data = bus_of.good([0x9E, 0x10, *[0] * 8, *[0, 0, 0, 32], 0, 0])
        assert data[:8] == (63).to_bytes(8, "big")
        assert data[8:12] == bus_of.device.block_bytes.to_bytes(4, "big")
        # No protection; logical blocks per physical block; LBPME, LBPRZ, lowest aligned LBA 0.
        exponent = {512: 3, 4096: 0}[bus_of.device.block_bytes]
        assert data[12:16] == bytes([0x00, exponent, 0xC0, 0x00])
        assert data[16:] == bytes(16)

    def test_16_is_cut_to_the_allocation_length(self, bus: Bus) -> None:
        assert len(bus.good([0x9E, 0x10, *[0] * 8, *[0, 0, 0, 12], 0, 0])) == 12

    def test_a_unit_too_large_for_10(self) -> None:
        bus = make_bus(HollowDevice(blocks=3 << 32))
        assert bus.good([0x25, *[0] * 9])[:4] == b"\xff\xff\xff\xff"
        data = bus.good([0x9E, 0x10, *[0] * 8, *[0, 0, 0, 32], 0, 0])
        assert int.from_bytes(data[:8], "big") == (3 << 32) - 1
