"""What the kernel's target calls our units.

    what                     storage object        dev_config
    tank/vol0                tank:vol0             scsi-snap/tank/vol0
    tank/vol0@monday         tank:vol0:monday      scsi-snap/tank/vol0@monday
    tank/vol0, read-only     tank:vol0[ro]         scsi-snap/tank/vol0?ro
    tank/a:b                 tank:a[]b             scsi-snap/tank/a%3Ab

The configuration says what a device shows; its name is for people, and for tools, whose paths have
letters, digits and `:_.-[]` alone. A `:` within one of our names would be a separator in the one,
and in the other rtslib takes none. Neither form is ambiguous.
"""

from __future__ import annotations

from urllib.parse import unquote

from scsi_snap.errors import InvalidArgument, Unsupported
from scsi_snap.inventory import names
from scsi_snap.inventory.names import BackingName
from scsi_snap.lio.uio import SUBTYPES

_READ_ONLY = "?ro"
_BYTES_MAX = 240
"""Of both: the kernel has room for 256 with the NUL, and cuts silently; so has a file name, such as
that of a ring's record, which has a number too."""


def storage_object(backing: str, *, read_only: bool) -> str:
    """Raises `Unsupported` where it is too long."""
    parts = backing.replace(":", "[]").replace("/", ":").replace("@", ":")
    return _bounded(parts + ("[ro]" if read_only else ""), backing)


def dev_config(backing: str, *, read_only: bool) -> str:
    """The same."""
    text = f"{SUBTYPES[0]}/{backing.replace(':', '%3A')}{_READ_ONLY if read_only else ''}"
    return _bounded(text, backing)


def backing_of(config: str) -> tuple[BackingName, bool]:
    """What a device shows, by what follows the subtype, and whether it is read-only. Raises
    `InvalidArgument`."""
    if not config.isprintable():
        raise InvalidArgument(f"{config!r} is no volume or snapshot")
    read_only = config.endswith(_READ_ONLY)
    return names.parse_backing(unquote(config.removesuffix(_READ_ONLY))), read_only


def _bounded(text: str, backing: str) -> str:
    if len(text) > _BYTES_MAX:
        raise Unsupported(
            f"the name {backing} is too long for the kernel's target",
            "only a target made by `scsi-snap target create --via portal` can show it",
        )
    return text
