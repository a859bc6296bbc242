"""What initiators know a logical unit by, derived from the UUID of its volume or snapshot.

The same volume has the same identity in every controller that imports its pool, after every
restart and rename; a snapshot has its own UUID and so never appears as its origin (multipath
would join the two, and a file system would be mounted twice).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True)
class UnitIdentity:
    """`serial` for VPD page 80h, `naa` and `uuid` for designators of VPD page 83h."""

    serial: str
    naa: bytes
    uuid: bytes


def identity_of(uuid: UUID) -> UnitIdentity:
    """`naa` is NAA 3h (locally assigned, SPC-5 7.7.6.6.4): eight bytes, 60 of whose bits are a
    digest of the UUID. NAA 6h would need an IEEE company identifier of our own."""
    digest = hashlib.sha256(b"scsi_snap unit " + uuid.bytes).digest()
    naa = bytes([0x30 | digest[0] & 0x0F]) + digest[1:8]
    return UnitIdentity(serial=uuid.hex, naa=naa, uuid=uuid.bytes)
