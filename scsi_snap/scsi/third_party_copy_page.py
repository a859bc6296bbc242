"""The third-party copy VPD page, 8Fh (SPC-4, 7.8.17): what the copy manager can do.

Of its descriptors, those that are mandatory, and nothing of tokens, which are not supported.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from scsi_snap.scsi.copy_list import DESCRIPTOR_TYPES, THIS_UNIT
from scsi_snap.scsi.limits import (
    COPY_CONCURRENT_MAX,
    COPY_CSCD_DESCRIPTORS_MAX,
    COPY_DESCRIPTOR_LIST_BYTES_MAX,
    COPY_RESULTS_MAX,
    COPY_SEGMENT_BYTES_MAX,
    COPY_SEGMENTS_MAX,
)
from scsi_snap.scsi.nexus import TargetPort

if TYPE_CHECKING:
    from scsi_snap.scsi.logical_unit import LogicalUnit
    from scsi_snap.scsi.operation import Operation

_SUPPORTED_COMMANDS, _PARAMETER_DATA = 0x0001, 0x0004
_SUPPORTED_DESCRIPTORS, _SUPPORTED_CSCD_IDS = 0x0008, 0x000C
_GENERAL_COPY_OPERATIONS = 0x8001
_COPY_OPERATION_CODES = (0x83, 0x84)

DATA_SEGMENT_GRANULARITY: Final = 0
"""As a power of two, in bytes: descriptor 0Ah can say any number."""


def third_party_copy(unit: "LogicalUnit", _port: TargetPort) -> bytes:
    """The descriptors, ascending by type."""
    return b"".join(
        [
            _descriptor(_SUPPORTED_COMMANDS, _counted(_commands(unit.operations), 1)),
            _descriptor(_PARAMETER_DATA, _parameter_data()),
            _descriptor(_SUPPORTED_DESCRIPTORS, _counted(bytes(DESCRIPTOR_TYPES), 1)),
            _descriptor(_SUPPORTED_CSCD_IDS, _counted(THIS_UNIT.to_bytes(2, "big"), 2)),
            _descriptor(_GENERAL_COPY_OPERATIONS, _general()),
        ]
    )


def _descriptor(kind: int, contents: bytes) -> bytes:
    contents += bytes(-len(contents) % 4)
    return kind.to_bytes(2, "big") + len(contents).to_bytes(2, "big") + contents


def _counted(contents: bytes, width: int) -> bytes:
    return len(contents).to_bytes(width, "big") + contents


def _commands(operations: "Iterable[Operation]") -> bytes:
    """Each operation code with its service actions."""
    actions: dict[int, list[int]] = {}
    for each in operations:
        if each.operation_code in _COPY_OPERATION_CODES:
            actions.setdefault(each.operation_code, []).append(each.service_action or 0)
    return b"".join(bytes([code, len(found), *found]) for code, found in actions.items())


def _parameter_data() -> bytes:
    """Limits of the parameter list; no inline data."""
    data = bytearray(28)
    data[4:6] = COPY_CSCD_DESCRIPTORS_MAX.to_bytes(2, "big")
    data[6:8] = COPY_SEGMENTS_MAX.to_bytes(2, "big")
    data[8:12] = COPY_DESCRIPTOR_LIST_BYTES_MAX.to_bytes(4, "big")
    return bytes(data)


def _general() -> bytes:
    """Limits of copies; no inline data."""
    data = bytearray(32)
    data[0:4] = COPY_CONCURRENT_MAX.to_bytes(4, "big")
    data[4:8] = min(COPY_CONCURRENT_MAX, COPY_RESULTS_MAX).to_bytes(4, "big")
    data[8:12] = COPY_SEGMENT_BYTES_MAX.to_bytes(4, "big")
    data[12] = DATA_SEGMENT_GRANULARITY
    return bytes(data)
