"""Mode pages as they are by default, and what tests make of them."""

from tests.t6_scsi.bus import Bus

RECOVERY = bytes([0x01, 0x0A, *[0] * 10])
CACHING = bytes([0x08, 0x12, 0x04, *[0] * 17])  # WCE
CONTROL = bytes([0x0A, 0x0A, 0x20, 0x10, 0, 0, 0, 0, 0xFF, 0xFF, 0, 0])
CONTROL_EXTENSION = bytes([0x4A, 0x01, 0x00, 0x1C, 0x01, *[0] * 27])  # IALUAE
EXCEPTIONS = bytes([0x1C, 0x0A, 0x08, *[0] * 9])  # DEXCPT
CURRENT, CHANGEABLE, DEFAULT, SAVED = 0x00, 0x40, 0x80, 0xC0


def descriptor(bus: Bus) -> bytes:
    return (64).to_bytes(4, "big") + bus.device.block_bytes.to_bytes(4, "big")


def with_bit(page: bytes, byte: int, bit: int) -> bytes:
    return page[:byte] + bytes([page[byte] ^ bit]) + page[byte + 1 :]


NO_WCE = with_bit(CACHING, 2, 0x04)
SWP = with_bit(CONTROL, 4, 0x08)
D_SENSE = with_bit(CONTROL, 2, 0x04)


def select_6(bus: Bus, pages: bytes, nexus: int = 1) -> bytes:
    data = bytes(4) + pages
    return bus.good([0x15, 0x10, 0, 0, len(data), 0], data, nexus=nexus)
