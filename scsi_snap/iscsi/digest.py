"""CRC-32C as an iSCSI digest (RFC 7143, 13.1), for discovery sessions that negotiate it.

Table-driven and slow, which is enough here: normal sessions compute digests natively.
"""

from __future__ import annotations

_REVERSED_POLYNOMIAL = 0x82F63B78


def _table() -> tuple[int, ...]:
    entries = []
    for byte in range(256):
        remainder = byte
        for _ in range(8):
            remainder = remainder >> 1 ^ (_REVERSED_POLYNOMIAL if remainder & 1 else 0)
        entries.append(remainder)
    return tuple(entries)


_TABLE = _table()


def crc32c(data: bytes) -> int:
    """The checksum as a number."""
    remainder = 0xFFFFFFFF
    for byte in data:
        remainder = remainder >> 8 ^ _TABLE[(remainder ^ byte) & 0xFF]
    return remainder ^ 0xFFFFFFFF


def digest(data: bytes) -> bytes:
    """The four bytes that follow `data` on the wire (least significant byte first)."""
    return crc32c(data).to_bytes(4, "little")
