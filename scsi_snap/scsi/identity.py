"""What a logical unit says it is: INQUIRY strings and the names of the device identification
page.
"""

import hashlib
from dataclasses import dataclass
from typing import Final
from uuid import UUID

VENDOR: Final = "SCSISNAP"
"""T10 vendor identification, eight characters; not registered with T10."""

REVISION: Final = "0001"


@dataclass(frozen=True, slots=True)
class Identity:
    """A unit's identity. A snapshot has its own, so that no host takes it for its origin."""

    uuid: UUID
    product: str = "VIRTUAL DISK"
    """Up to sixteen printable ASCII characters."""

    def __post_init__(self) -> None:
        if not (self.product.isascii() and self.product.isprintable() and len(self.product) <= 16):
            raise ValueError("a product identification is up to 16 printable ASCII characters")

    @property
    def serial_number(self) -> str:
        """The product serial number, ASCII."""
        return str(self.uuid)

    @property
    def naa(self) -> bytes:
        """NAA 3h, locally assigned (SPC-4): the kinds with a company's number need
        one.
        """
        digest = hashlib.blake2b(self.uuid.bytes, digest_size=8).digest()
        return bytes([0x30 | digest[0] & 0x0F]) + digest[1:]
