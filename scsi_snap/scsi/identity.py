"""What a logical unit says it is: INQUIRY strings and the names of the device identification page,
and the traits that are chosen when its volume is made.
"""

import hashlib
from dataclasses import dataclass
from typing import Final
from uuid import UUID

VENDOR: Final = "SCSISNAP"
"""T10 vendor identification, eight characters; not registered with T10."""

PRODUCT: Final = "VIRTUAL DISK"

REVISION: Final = "0001"

NAA_BYTES: Final = {0x2: 8, 0x3: 8, 0x5: 8, 0x6: 16}
"""Length of a NAA designator by its first four bits (SPC-4, 7.8.6.6)."""

SERIAL_CHARACTERS_MAX: Final = 64
"""Of a chosen serial number: what hosts print and keep."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A unit's identity. A snapshot has its own, so that no host takes it for its origin.

    Raises ValueError for what INQUIRY cannot say.
    """

    uuid: UUID
    vendor: str = VENDOR
    """Up to eight printable ASCII characters."""
    product: str = PRODUCT
    """Up to sixteen printable ASCII characters."""
    chosen_serial: str = ""
    chosen_naa: bytes = b""

    def __post_init__(self) -> None:
        _check_text("a vendor identification", self.vendor, 8)
        _check_text("a product identification", self.product, 16)
        _check_text("a serial number", self.chosen_serial, SERIAL_CHARACTERS_MAX)
        naa = self.chosen_naa
        if naa and NAA_BYTES.get(naa[0] >> 4) != len(naa):
            raise ValueError("a NAA identifier begins with 2, 3 or 5 and has 8 bytes, or 6 and 16")

    @property
    def serial_number(self) -> str:
        """The product serial number, ASCII."""
        return self.chosen_serial or str(self.uuid)

    @property
    def naa(self) -> bytes:
        """The NAA designator: the chosen one, or NAA 3h, locally assigned (SPC-4): the kinds with
        a company's number need one.
        """
        if self.chosen_naa:
            return self.chosen_naa
        digest = hashlib.blake2b(self.uuid.bytes, digest_size=8).digest()
        return bytes([0x30 | digest[0] & 0x0F]) + digest[1:]


@dataclass(frozen=True, slots=True)
class Personality:
    """What a unit is beside its data. It stays over restarts; identity and flags may be changed."""

    identity: Identity
    thin: bool = True
    """Blocks can be deallocated; else fully provisioned."""
    unmap_command: bool = True
    """Where thin: UNMAP deallocates (LBPU)."""
    unmap_by_write_same: bool = True
    """Where thin: WRITE SAME with UNMAP deallocates (LBPWS, LBPWS10). One of the two does."""
    physical_block_bytes: int = 4096
    """What the unit says is written as one; not less than a logical block."""
    removable: bool = False
    """The medium can be ejected and loaded (RMB)."""
    read_only: bool = False
    """Write protected, whatever its device is."""


def _check_text(what: str, text: str, characters_max: int) -> None:
    if not (text.isascii() and text.isprintable() and len(text) <= characters_max):
        raise ValueError(f"{what} is up to {characters_max} printable ASCII characters")
