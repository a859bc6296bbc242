"""What a user chooses of a volume's logical unit, checked at the door."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from scsi_snap.errors import InvalidArgument
from scsi_snap.inventory.personalities import Traits

_HINTS = {
    "provisioning": "thin: blocks can be given back by UNMAP; full: their space is set aside",
    "deallocation": "unmap: by UNMAP; write-same: by WRITE SAME with UNMAP; any: by both",
    "physical_block": "512 or 4096 bytes",
    "vendor": "up to 8 printable ASCII characters; empty for the default",
    "product": "up to 16 printable ASCII characters; empty for the default",
    "serial": "up to 64 printable ASCII characters; empty for the volume's UUID",
    "naa": "16 hexadecimal digits that begin with 2, 3 or 5, or 32 that begin with 6;"
    " empty for one that derives from the volume's UUID",
}


@dataclass(frozen=True)
class TraitChoices:
    """None leaves as it is; an empty text goes back to the default."""

    provisioning: str | None = None
    deallocation: str | None = None
    physical_block: str | None = None
    read_only: bool | None = None
    removable: bool | None = None
    vendor: str | None = None
    product: str | None = None
    serial: str | None = None
    naa: str | None = None

    def applied_to(self, traits: Traits) -> Traits:
        """Raises `InvalidArgument` for what a unit cannot be."""
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue
            if field.name == "naa":
                value = _plain_hexadecimal(value)
            try:
                traits = replace(traits, **{field.name: value})
            except ValueError as error:
                raise InvalidArgument(str(error), _HINTS.get(field.name, "")) from error
        return traits


NO_CHOICES = TraitChoices()


def _plain_hexadecimal(text: str) -> str:
    """NAA identifiers as hosts print them: `naa.6…`, `0x6…`, `6:…`, in either case."""
    return text.lower().removeprefix("naa.").removeprefix("0x").replace(":", "")
