"""What is chosen of a volume's logical unit, kept as attributes of the volume in its pool
(docs/formats/volume-attributes.md), and the personality that each unit gets from it.

A pool carries the choices to every machine that imports it. What a pool holds may have been
written by another version, or damaged by hand: a stored value that cannot be used counts as not
chosen and is told, and the volume is there all the same.

Nothing that names a volume is ever said by a snapshot of it: a snapshot's serial number and NAA
identifier come from its own UUID, so that no host takes the two for paths to one disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any
from uuid import UUID

from scsi_snap.inventory.pool_views import SnapshotView, VolumeView
from scsi_snap.scsi.identity import PRODUCT, VENDOR, Identity, Personality

PROVISIONINGS = ("thin", "full")
DEALLOCATIONS = ("any", "unmap", "write-same")
PHYSICAL_BLOCKS = ("512", "4096")

_YES = "yes"
_ANY_UUID = UUID(int=0)


@dataclass(frozen=True)
class Traits:
    """What is chosen of a volume's logical unit. A text that is empty is not chosen: the default
    stands. `naa` is in lower-case hexadecimal digits.

    Raises ValueError, saying which and why, for what a unit cannot be.
    """

    provisioning: str = "thin"
    deallocation: str = "any"
    physical_block: str = "4096"
    read_only: bool = False
    removable: bool = False
    vendor: str = ""
    product: str = ""
    serial: str = ""
    naa: str = ""

    def __post_init__(self) -> None:
        if self.provisioning not in PROVISIONINGS:
            raise ValueError(f"a volume is provisioned thin or full, not {self.provisioning!r}")
        if self.deallocation not in DEALLOCATIONS:
            words = "any, unmap or write-same"
            raise ValueError(f"deallocation is by {words}, not {self.deallocation!r}")
        if self.physical_block not in PHYSICAL_BLOCKS:
            raise ValueError(f"a physical block has 512 or 4096 bytes, not {self.physical_block!r}")
        for text in (self.vendor, self.product, self.serial):
            # Hosts see fields padded with spaces: with and without, it is one name.
            if text != text.strip(" "):
                raise ValueError(f"{text!r} begins or ends with a space")
        if self.naa.strip("0123456789abcdef"):
            raise ValueError(f"{self.naa!r} is not a NAA identifier in hexadecimal digits")
        self.identity(_ANY_UUID)

    def identity(self, uuid: UUID) -> Identity:
        """Of the volume with this UUID."""
        if len(self.naa) % 2:
            raise ValueError(f"{self.naa!r} has an odd number of hexadecimal digits")
        return Identity(
            uuid,
            self.vendor or VENDOR,
            self.product or PRODUCT,
            self.serial,
            bytes.fromhex(self.naa),
        )

    def to_attributes(self) -> dict[str, str]:
        """Every attribute of a personality; empty ones are those to remove."""
        return {
            "provisioning": "" if self.provisioning == "thin" else self.provisioning,
            "deallocation": "" if self.deallocation == "any" else self.deallocation,
            "physical-block": "" if self.physical_block == "4096" else self.physical_block,
            "read-only": _YES if self.read_only else "",
            "removable": _YES if self.removable else "",
            "vendor": self.vendor,
            "product": self.product,
            "serial": self.serial,
            "naa": self.naa,
        }

    @property
    def for_life(self) -> dict[str, str]:
        """What is chosen when the volume is made and stays."""
        return {
            "provisioning": self.provisioning,
            "deallocation": self.deallocation,
            "physical-block": self.physical_block,
        }


_KEYS = {field.name: field.name.replace("_", "-") for field in fields(Traits)}


def read(attributes: Mapping[str, str]) -> tuple[Traits, tuple[str, ...]]:
    """What is stored, as far as it can be used, and what cannot. Other keys are not looked at."""
    return _read(tuple(attributes.get(key, "") for key in _KEYS.values()))


@lru_cache(maxsize=256)
def _read(stored_values: tuple[str, ...]) -> tuple[Traits, tuple[str, ...]]:
    """Most volumes of a controller are made alike."""
    traits, problems = Traits(), []
    for (name, key), stored in zip(_KEYS.items(), stored_values, strict=True):
        if not stored:
            continue
        try:
            value: Any = _parse_flag(stored) if isinstance(getattr(traits, name), bool) else stored
            traits = replace(traits, **{name: value})
        except ValueError as error:
            problems.append(f"its attribute {key!r} is not used: {error}")
    return traits, tuple(problems)


def _parse_flag(stored: str) -> bool:
    if stored != _YES:
        raise ValueError(f"{stored!r} is not {_YES!r}")
    return True


def of_volume(volume: VolumeView) -> Personality:
    traits, _ = read(volume.attributes)
    return Personality(
        traits.identity(UUID(volume.id)),
        thin=traits.provisioning == "thin",
        unmap_command=traits.deallocation != "write-same",
        unmap_by_write_same=traits.deallocation != "unmap",
        physical_block_bytes=int(traits.physical_block),
        removable=traits.removable,
        read_only=traits.read_only,
    )


def of_snapshot(volume: VolumeView, snapshot: SnapshotView) -> Personality:
    """Looks like its volume, and is named by itself; read-only."""
    base = of_volume(volume)
    identity = Identity(UUID(snapshot.id), base.identity.vendor, base.identity.product)
    return replace(base, identity=identity, read_only=True)


def chosen_names(chosen: Identity) -> dict[str, str]:
    """What of the identity was chosen to tell its unit apart, as attributes of its volume."""
    names = {"serial": chosen.chosen_serial, "naa": chosen.chosen_naa.hex()}
    return {attribute: value for attribute, value in names.items() if value}


def may_derive(chosen: Identity) -> bool:
    """Whether a name that was chosen looks like one that derives from a UUID: then any volume or
    snapshot may have it, without having chosen anything."""
    if chosen.chosen_naa.hex().startswith("3"):
        return True
    try:
        UUID(chosen.chosen_serial)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class Claim:
    """The unit of a volume or snapshot that has a name which another one chose."""

    uuid: UUID
    label: str
    what: str


def claims_on(chosen: Identity, pool: str, volumes: Iterable[VolumeView]) -> Iterator[Claim]:
    """What else is named as `chosen` chose, among these volumes of a pool and their snapshots."""
    for volume in volumes:
        for identity, label in _identities(pool, volume):
            if identity.uuid == chosen.uuid:
                continue
            if identity.serial_number == chosen.chosen_serial:
                yield Claim(identity.uuid, label, f"serial number {identity.serial_number!r}")
            if identity.naa == chosen.chosen_naa:
                yield Claim(identity.uuid, label, f"NAA identifier {identity.naa.hex()}")


def _identities(pool: str, volume: VolumeView) -> Iterator[tuple[Identity, str]]:
    yield of_volume(volume).identity, f"{pool}/{volume.name}"
    for snapshot in volume.snapshots:
        yield of_snapshot(volume, snapshot).identity, f"{pool}/{volume.name}@{snapshot.name}"
