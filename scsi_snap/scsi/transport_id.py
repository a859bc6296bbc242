"""TransportIDs of iSCSI: how a parameter list names an initiator port (SPC-4, 7.6.4.6).

    byte 0      format code (two bits), protocol identifier 5h (four bits)
    bytes 2-3   additional length: a multiple of four, twenty at least
    bytes 4-    iSCSI name, ended by a null, padded with nulls

Format 00b names an initiator, that is every port of it which is known. Format 01b names one port:
the name, `,i,0x` and the ISID as hexadecimal digits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from scsi_snap.scsi.initiator_names import canonical
from scsi_snap.scsi.nexus import InitiatorPort
from scsi_snap.scsi.sense import SenseCode, refuse, refuse_parameter

HEADER_BYTES: Final = 4
_ISCSI = 0x05
_PROTOCOL_MASK = 0x0F
_DEVICE_FORMAT, _PORT_FORMAT = 0x00, 0x40
_FORMAT_MASK = 0xC0
_NAME_BYTES_MIN = 20
_ISID_BYTES = 6
_PORT_NAME = re.compile(rb"([^,]+),i,0x([0-9A-Fa-f]{1,12})")


@dataclass(frozen=True, slots=True)
class TransportId:
    """An initiator port, or with `isid` None all ports of an initiator."""

    name: str
    isid: bytes | None

    @property
    def port(self) -> InitiatorPort | None:
        """The one port named, if it is one."""
        return None if self.isid is None else InitiatorPort(self.name, self.isid)

    def covers(self, port: InitiatorPort) -> bool:
        """Whether it names that port."""
        return port.name == self.name and self.isid in (None, port.isid)


def encode(port: InitiatorPort) -> bytes:
    """The TransportID of an initiator port, in format 01b."""
    name = f"{port.name},i,0x{port.isid.hex()}".encode() + b"\x00"
    padded = (name + bytes(-len(name) % 4)).ljust(_NAME_BYTES_MIN, b"\x00")
    return bytes([_PORT_FORMAT | _ISCSI, 0]) + len(padded).to_bytes(2, "big") + padded


def parse_list(data: bytes, offset: int) -> list[TransportId]:
    """Every TransportID from `offset` of a parameter list to its end; a part of one is refused."""
    found = []
    while offset < len(data):
        if len(data) - offset < HEADER_BYTES:
            refuse(SenseCode.PARAMETER_LIST_LENGTH_ERROR)
        length = int.from_bytes(data[offset + 2 : offset + 4], "big")
        end = offset + HEADER_BYTES + length
        if end > len(data):
            refuse(SenseCode.PARAMETER_LIST_LENGTH_ERROR)
        found.append(_parse(data, offset, end))
        offset = end
    return found


def _parse(data: bytes, offset: int, end: int) -> TransportId:
    first, length = data[offset], end - offset - HEADER_BYTES
    form = first & _FORMAT_MASK
    if first & _PROTOCOL_MASK != _ISCSI:
        refuse_parameter(offset, 3)
    if form not in (_DEVICE_FORMAT, _PORT_FORMAT):
        refuse_parameter(offset, 7)
    if length < _NAME_BYTES_MIN or length % 4:
        refuse_parameter(offset + 2)
    name, null, padding = data[offset + HEADER_BYTES : end].partition(b"\x00")
    if not null or padding.strip(b"\x00"):
        refuse_parameter(offset + HEADER_BYTES)
    isid = None
    if form == _PORT_FORMAT:
        parts = _PORT_NAME.fullmatch(name)
        if parts is None:
            refuse_parameter(offset + HEADER_BYTES)
        name, digits = parts.groups()
        isid = bytes.fromhex(digits.decode("ascii").rjust(2 * _ISID_BYTES, "0"))
    try:
        return TransportId(canonical(name.decode("utf-8")), isid)
    except ValueError:
        refuse_parameter(offset + HEADER_BYTES)
