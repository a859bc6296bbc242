"""What the API's texts and numbers may be, as OpenAPI shows them.

The bounds are those of `control` and `inventory`, which hold every face to them with words of their
own: here they are described and not checked a second time.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from scsi_snap import limits, units
from scsi_snap.control import pools, volumes
from scsi_snap.control.event_kinds import Severity
from scsi_snap.inventory import names, personalities
from scsi_snap.iscsi.limits import (
    MAX_CHAP_NAME_BYTES,
    MAX_CHAP_SECRET_BYTES,
    MIN_CHAP_SECRET_BYTES,
)
from scsi_snap.scsi.initiator_names import NAME_BYTES_MAX

_PART = names.PART_PATTERN
_EXACT_MAX = (1 << 53) - 1
"""The largest whole number that every reader of JSON keeps (RFC 8259, 6)."""
_BLOCKS_MAX = units.SIZE_BYTES_MAX // units.SECTOR_BYTES


def _text(description: str, **bounds: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "description": description, **bounds})


def _number(description: str, **bounds: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": "integer", "description": description, **bounds})


def _whole(value: Any) -> Any:
    """JSON has one kind of number: 1.0 is an integer there."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_INTEGER = BeforeValidator(_whole)


def _counted(description: str, smallest: int, largest: int = _EXACT_MAX) -> Any:
    """Checked here, as no verb has a bound for it."""
    return Field(ge=smallest, le=largest, description=description)


def _part(kind: str) -> WithJsonSchema:
    return _text(f"a {kind}'s name", pattern=f"^{_PART}$", maxLength=limits.NAME_CHARS_MAX)


def _powers_of_two(smallest: int, largest: int) -> list[int]:
    return [1 << shift for shift in range(smallest.bit_length() - 1, largest.bit_length())]


CHUNKS = _powers_of_two(volumes.CHUNK_BYTES_MIN, volumes.CHUNK_BYTES_MAX)

PoolPart = Annotated[str, _part("pool")]
VolumePart = Annotated[str, _part("volume")]
SnapshotPart = Annotated[str, _part("snapshot")]
VolumeFullName = Annotated[str, _text("POOL/VOLUME", pattern=f"^{_PART}/{_PART}$")]
SnapshotFullName = Annotated[
    str, _text("POOL/VOLUME@SNAPSHOT", pattern=f"^{_PART}/{_PART}@{_PART}$")
]
Backing = Annotated[
    str,
    _text(
        "POOL/VOLUME, or POOL/VOLUME@SNAPSHOT (read-only)",
        pattern=f"^{_PART}/{_PART}(@{_PART})?$",
    ),
]
_SECTORS = {"minimum": 512, "maximum": units.SIZE_BYTES_MAX, "multipleOf": 512}

MemberPath = Annotated[
    str,
    _text(
        "absolute path of a file or block device",
        pattern=r"^/[^\x00-\x1f\x7f-\x9f]+$",
        maxLength=limits.MEMBER_PATH_BYTES_MAX,
    ),
]
MemberSize = Annotated[int, _number("make the file with this size", **_SECTORS), _INTEGER]
Level = Annotated[str, _text("of redundancy", enum=list(pools.LEVELS))]
StripBytes = Annotated[
    int,
    _number(
        "one member's share of a stripe",
        enum=_powers_of_two(pools.STRIP_BYTES_MIN, pools.STRIP_BYTES_MAX),
    ),
    _INTEGER,
]

VolumeBytes = Annotated[int, _number("a whole number of logical blocks", **_SECTORS), _INTEGER]
BlockBytes = Annotated[int, _number("a logical block", enum=list(volumes.BLOCK_BYTES)), _INTEGER]
ChunkBytes = Annotated[
    int,
    _number(
        "the unit of preservation",
        enum=CHUNKS,
    ),
    _INTEGER,
]
Policy = Annotated[str, _text("when the exception store is full", enum=list(volumes.POLICIES))]
StoreLimit = Annotated[
    int,
    _number(
        "what preserved chunks may take, one chunk or more",
        **(_SECTORS | {"minimum": volumes.CHUNK_BYTES_MIN}),
    ),
    _INTEGER,
]
NewStoreLimit = Annotated[
    int,
    _number(
        "what preserved chunks may take, one chunk or more; 0: as far as the pool goes",
        **(_SECTORS | {"minimum": 0}),
    ),
    _INTEGER,
]
Provisioning = Annotated[
    str, _text("of a volume being made", enum=list(personalities.PROVISIONINGS))
]
Deallocation = Annotated[
    str, _text("of a volume being made", enum=list(personalities.DEALLOCATIONS))
]
PhysicalBlock = Annotated[
    str, _text("bytes, of a volume being made", enum=list(personalities.PHYSICAL_BLOCKS))
]


def _printable(description: str, most: int) -> WithJsonSchema:
    pattern = rf"^([!-~]([ -~]{{0,{most - 2}}}[!-~])?)?$"
    return _text(f"{description}; empty: the default", pattern=pattern, maxLength=most)


Vendor = Annotated[str, _printable("vendor identification", 8)]
Product = Annotated[str, _printable("product identification", 16)]
Serial = Annotated[str, _printable("unit serial number, of this volume alone", 64)]
Naa = Annotated[
    str,
    _text(
        "NAA identifier in hexadecimal, of this volume alone; empty: the default",
        pattern="^([235][0-9a-f]{15}|6[0-9a-f]{31})?$",
    ),
]

Lba = Annotated[int, _counted("a logical block address", 0, _BLOCKS_MAX), _INTEGER]
BlockCount = Annotated[int, _counted("logical blocks", 1, _BLOCKS_MAX), _INTEGER]
PageLimit = Annotated[
    int, _number("extents in one answer", minimum=1, maximum=limits.DIFF_EXTENTS_PAGE), _INTEGER
]
CellCount = Annotated[
    int, _number("cells of the picture", minimum=1, maximum=limits.MAP_CELLS_MAX), _INTEGER
]

_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
_DATE = "[0-9]{4}-(0[1-9]|1[0-2])"
_HEX = "[0-9A-Fa-f]"

TargetName = Annotated[
    str,
    _text(
        "iSCSI name of a target, in any case",
        pattern=(
            rf"^([Ii][Qq][Nn]\.{_DATE}(\.{_LABEL})+(:[A-Za-z0-9.:-]+)?"
            rf"|[Ee][Uu][Ii]\.{_HEX}{{16}}|[Nn][Aa][Aa]\.({_HEX}{{16}}|{_HEX}{{32}}))$"
        ),
        maxLength=NAME_BYTES_MAX,
        examples=["iqn.2026-11.org.example:disk"],
    ),
]
InitiatorName = Annotated[
    str,
    _text(
        "iSCSI name of an initiator, as it gives it",
        pattern="^[A-Za-z0-9]([ -+.0-~-]*[!-+.0-~-])?$",
        maxLength=NAME_BYTES_MAX,
        examples=["iqn.2026-11.org.example:host1"],
    ),
]
LunNumber = Annotated[int, _number("a LUN", minimum=0, maximum=limits.LUN_MAX), _INTEGER]
GroupTag = Annotated[
    int, _number("a portal group tag", minimum=1, maximum=limits.PORTAL_GROUP_TAG_MAX), _INTEGER
]
_OCTET = "(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
_IPV4 = rf"{_OCTET}(\.{_OCTET}){{3}}"
_GROUP = "[0-9a-f]{1,4}"
_IPV6 = "|".join(
    [
        f"{_GROUP}(:{_GROUP}){{7}}",
        f"::({_GROUP}(:{_GROUP}){{0,6}})?",
        *(
            f"{_GROUP}(:{_GROUP}){{{left - 1}}}::({_GROUP}(:{_GROUP}){{0,{6 - left}}})?"
            for left in range(1, 7)
        ),
        f"{_GROUP}(:{_GROUP}){{6}}::",
    ]
)
_HOST_NAME = "[A-Za-z]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?"
_PORT = "(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})"

Address = Annotated[
    str,
    _text(
        "ADDRESS:PORT; the port is 3260 where there is none",
        pattern=f"^(({_IPV4}|\\[({_IPV6})\\]|{_HOST_NAME})(:{_PORT})?|:{_PORT})$",
        examples=["192.0.2.1:3260"],
    ),
]
SessionId = Annotated[int, _counted("of `session list`", 1), _INTEGER]
DryRun = Annotated[bool, Field(description="say what would go, and do nothing")]
EventNumber = Annotated[int, _counted("of an event", 0), _INTEGER]
LeastSeverity = Annotated[Severity, Field(description="only those that are so grave, or graver")]
Subject = Annotated[
    str,
    Field(
        pattern=r"^[^\x00-\x1f\x7f]+$",
        description="only about this, and what is in it: a pool, a volume, a target, a portal, ...",
    ),
]
WaitSeconds = Annotated[
    float, Field(ge=0, le=limits.EVENT_WAIT_S_MAX, description="to wait for the first one")
]

ChapUser = Annotated[
    str,
    _text(
        "a CHAP name, at most 255 bytes of UTF-8",
        pattern=r"^[^\x00]+$",
        maxLength=MAX_CHAP_NAME_BYTES,
    ),
]
ChapSecret = Annotated[
    str,
    _text(
        "a CHAP secret, at most 255 bytes of UTF-8",
        examples=["known to the initiator"],
        minLength=MIN_CHAP_SECRET_BYTES,
        maxLength=MAX_CHAP_SECRET_BYTES,
    ),
]
MutualUser = Annotated[
    str,
    _text(
        "whom the target proves to be; goes with `mutual_secret`",
        pattern=r"^[^\x00]*$",
        maxLength=MAX_CHAP_NAME_BYTES,
    ),
]
MutualSecret = Annotated[
    str,
    _text(
        "what it proves it by, another one than `secret`",
        examples=["known to the target"],
        maxLength=MAX_CHAP_SECRET_BYTES,
    ),
]
