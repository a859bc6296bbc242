"""Names as users type them, parsed once at the door.

    tank                    a pool
    tank/vol0               a volume
    tank/vol0@monday        a snapshot
    iqn.2026-11.org.example:disk, eui.…, naa.…      a target (RFC 7143, 4.2.7)
    the same, or whatever else it calls itself      an initiator

A name of a pool, volume or snapshot starts with a letter or digit and goes on with letters,
digits, `.`, `_`, `:` and `-`, so that it never needs quoting in a shell, a URL or a path.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from scsi_snap import limits
from scsi_snap.errors import InvalidArgument
from scsi_snap.iscsi import names as iscsi_names
from scsi_snap.iscsi.errors import InvalidName
from scsi_snap.units import SECTOR_BYTES, SIZE_BYTES_MAX, exact_size, format_size

PART_PATTERN = "[A-Za-z0-9][A-Za-z0-9._:-]*"
"""Of the name of a pool, volume or snapshot, as a regular expression."""

_PART = re.compile(PART_PATTERN)


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
            "names start with a letter or digit, then letters, digits, '.', '_', ':' and '-'",
        )
    if len(text) > limits.NAME_CHARS_MAX:
        raise InvalidArgument(
            f"the name of a {kind} has at most {limits.NAME_CHARS_MAX} characters,"
            f" this one {len(text)}",
            "take a shorter one",
        )
    return text


def member_path(text: str) -> str:
    """`text` as the path of a member: absolute, and fit for a catalog, a log and a terminal."""
    if text.startswith("rbd:"):
        raise InvalidArgument(
            f"the member {text!r} is on Ceph RBD, which is not supported yet",
            "name files or block devices",
        )
    try:
        size_bytes = len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidArgument(
            f"the member {text!r} is not UTF-8", "rename it, or name it by a symbolic link"
        ) from error
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise InvalidArgument(
            f"the member {text!r} has control characters in its name",
            "rename it, or name it by a symbolic link",
        )
    if size_bytes > limits.MEMBER_PATH_BYTES_MAX:
        raise InvalidArgument(
            f"the path of a member has at most {limits.MEMBER_PATH_BYTES_MAX} bytes",
            "name it by a symbolic link",
        )
    if not text.startswith("/"):
        raise InvalidArgument(
            f"the member {text!r} is not an absolute path",
            "the daemon has a working directory of its own: name members from / on",
        )
    return text


def member_size(path: str, size_bytes: int | None) -> int | None:
    """What a member's file is to be made with; None: it is there."""
    if size_bytes is not None and (
        not SECTOR_BYTES <= size_bytes <= SIZE_BYTES_MAX or size_bytes % SECTOR_BYTES
    ):
        raise InvalidArgument(
            f"the member {path!r} cannot be made with {exact_size(size_bytes)}",
            f"a multiple of {SECTOR_BYTES} bytes, at most {format_size(SIZE_BYTES_MAX)}",
        )
    return size_bytes


def target_name(text: str) -> str:
    """`text` as the name of a target, in its canonical spelling."""
    try:
        return iscsi_names.target_name(text)
    except InvalidName as error:
        raise InvalidArgument(
            str(error), "write it like iqn.2026-11.org.example:disk (iqn.YEAR-MONTH.DOMAIN:NAME)"
        ) from error


def initiator_name(text: str) -> str:
    """`text` as the name of an initiator, in its canonical spelling: it may be any that an
    initiator gives itself."""
    try:
        return iscsi_names.initiator_name(text)
    except InvalidName as error:
        raise InvalidArgument(
            f"{text!r} cannot be the name of an initiator: {error}",
            "write it like iqn.2026-11.org.example:host1; `scsi-snap events` has the names of"
            " initiators that were refused",
        ) from error
