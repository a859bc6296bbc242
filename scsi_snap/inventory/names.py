"""Names as users type them, parsed once at the door.

    tank                    a pool
    tank/vol0               a volume
    tank/vol0@monday        a snapshot
    iqn.2026-11.org.example:disk, eui.…, naa.…      an iSCSI name (RFC 7143, 4.2.7)

A name of a pool, volume or snapshot starts with a letter or digit and goes on with letters,
digits, `-`, `_` and `.`, so that it never needs quoting in a shell, a URL or a path.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from scsi_snap import limits
from scsi_snap.errors import InvalidArgument
from scsi_snap.iscsi.errors import InvalidName
from scsi_snap.iscsi.names import normalise

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, order=True)
class VolumeName:
    pool: str
    volume: str

    def __str__(self) -> str:
        return f"{self.pool}/{self.volume}"

    @classmethod
    def parse(cls, text: str) -> VolumeName:
        pool, slash, volume = text.partition("/")
        if not slash or "@" in text:
            raise InvalidArgument(f"{text!r} is not a volume", "write POOL/VOLUME, like tank/vol0")
        return cls(part("pool", pool), part("volume", volume))


@dataclass(frozen=True, order=True)
class SnapshotName:
    pool: str
    volume: str
    snapshot: str

    def __str__(self) -> str:
        return f"{self.pool}/{self.volume}@{self.snapshot}"

    @property
    def origin(self) -> VolumeName:
        return VolumeName(self.pool, self.volume)

    @classmethod
    def parse(cls, text: str) -> SnapshotName:
        origin, at, snapshot = text.partition("@")
        if not at:
            raise InvalidArgument(
                f"{text!r} is not a snapshot", "write POOL/VOLUME@SNAPSHOT, like tank/vol0@monday"
            )
        name = VolumeName.parse(origin)
        return cls(name.pool, name.volume, part("snapshot", snapshot))


BackingName = VolumeName | SnapshotName
"""What a LUN can be mapped to."""


def parse_backing(text: str) -> BackingName:
    return SnapshotName.parse(text) if "@" in text else VolumeName.parse(text)


def part(kind: str, text: str) -> str:
    """`text` as the name of one `kind`."""
    if not _PART.fullmatch(text):
        raise InvalidArgument(
            f"{text!r} cannot be the name of a {kind}",
            "names start with a letter or digit, then letters, digits, '-', '_' and '.'",
        )
    if len(text) > limits.NAME_CHARS_MAX:
        raise InvalidArgument(
            f"the name of a {kind} has at most {limits.NAME_CHARS_MAX} characters"
        )
    return text


def iscsi_name(text: str) -> str:
    """`text` as an iSCSI name in its canonical spelling."""
    try:
        return normalise(text)
    except InvalidName as error:
        raise InvalidArgument(
            str(error), "write it like iqn.2026-11.org.example:disk (iqn.YEAR-MONTH.DOMAIN:NAME)"
        ) from error
