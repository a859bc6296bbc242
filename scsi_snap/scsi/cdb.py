"""Command descriptor blocks as declared fields.

A `Layout` lists the fields of one CDB: where each is, how wide, and which values are meant.
Parsing, the field pointer of sense data, and the CDB usage data of REPORT SUPPORTED OPERATION CODES
all derive from it. Bits of no field are reserved or obsolete; as SPC-4 allows, they are not
looked at. A reserved *value* of a declared field is refused (same clause).

Bits count as in the standards: byte 0 comes first, bit 7 is the most significant.
"""

from dataclasses import dataclass
from typing import Final, NoReturn

from scsi_snap.scsi.sense import CheckCondition, FieldPointer, Sense, SenseCode

ONLY_ZERO: Final = frozenset({0})


@dataclass(frozen=True, slots=True)
class Field:
    """A field, most significant bit first, possibly over several bytes."""

    name: str
    byte: int
    """The byte it begins in."""
    bit: int
    """Its most significant bit in that byte."""
    width_bits: int
    values: frozenset[int] | None = None
    """What it may hold; None where the handler decides."""
    zero_means: int = 0
    """What zero stands for: 256 blocks in the six-byte commands."""

    def shift(self, length: int) -> int:
        """How far its least significant bit is from that of a CDB of `length` bytes."""
        return 8 * (length - self.byte) - (7 - self.bit) - self.width_bits

    @property
    def pointer(self) -> FieldPointer:
        """Where it is, as sense data says it."""
        whole_bytes = self.bit == 7 and self.width_bits % 8 == 0
        return FieldPointer(self.byte, None if whole_bytes else self.bit, in_cdb=True)


def number(name: str, byte: int, width_bytes: int, *, zero_means: int = 0) -> Field:
    """A field of whole bytes."""
    return Field(name, byte, 7, 8 * width_bytes, zero_means=zero_means)


def flag(name: str, byte: int, bit: int) -> Field:
    """A field of one bit."""
    return Field(name, byte, bit, 1)


def refused(name: str, byte: int, bit: int, width_bits: int = 1) -> Field:
    """A field that asks for something that is not there: anything but zero is refused."""
    return Field(name, byte, bit, width_bits, ONLY_ZERO)


class Layout:
    """The fields of one CDB."""

    def __init__(self, length: int, *fields: Field) -> None:
        # NACA asks for the ACA condition, and standard INQUIRY says NORMACA is zero (SAM-5).
        self.fields: Final = (*fields, refused("naca", length - 1, 2))
        self.length: Final = length
        self._by_name: Final = {field.name: field for field in self.fields}
        assert len(self._by_name) == len(self.fields), "two fields of one name"

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> Field:
        return self._by_name[name]

    def usage_data(self, operation_code: int, service_action: int | None) -> bytes:
        """The CDB usage data (SPC-4): ones where a bit is evaluated.

        The operation code and the service action stand as themselves; a field that must be zero is
        not evaluated for anything, so a host that honours the map does not set it.
        """
        usage = 0
        for field in self.fields:
            if field.values != ONLY_ZERO:
                usage |= ((1 << field.width_bits) - 1) << field.shift(self.length)
        data = bytearray(usage.to_bytes(self.length, "big"))
        data[0] = operation_code
        if service_action is not None:
            data[1] |= service_action
        return bytes(data)


class Cdb:
    """A CDB whose declared fields hold values that are meant."""

    __slots__ = ("_layout", "_value")

    def __init__(self, layout: Layout, data: bytes) -> None:
        """Raises `CheckCondition` where `data` is too short or a field holds a reserved value."""
        if len(data) < layout.length:
            pointer = FieldPointer(len(data), None, in_cdb=True)
            raise CheckCondition(Sense(SenseCode.INVALID_FIELD_IN_CDB, field=pointer))
        self._layout = layout
        self._value = int.from_bytes(data[: layout.length], "big")
        for field in layout.fields:
            if field.values is not None and self[field.name] not in field.values:
                self.refuse(field.name)

    def __contains__(self, name: str) -> bool:
        return name in self._layout

    def __getitem__(self, name: str) -> int:
        field = self._layout[name]
        mask = (1 << field.width_bits) - 1
        value = (self._value >> field.shift(self._layout.length)) & mask
        return value or field.zero_means

    def get(self, name: str) -> int:
        """The field's value, or zero where this CDB has no such field."""
        return self[name] if name in self._layout else 0

    def refuse(self, name: str) -> NoReturn:
        """Ends the command: this field is invalid."""
        pointer = self._layout[name].pointer
        raise CheckCondition(Sense(SenseCode.INVALID_FIELD_IN_CDB, field=pointer))
