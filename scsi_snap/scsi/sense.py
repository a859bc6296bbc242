"""Sense data: why a command ended in CHECK CONDITION (SPC-4, 4.5).

`SenseCode` is the one table of sense key, additional sense code and qualifier. `Sense` adds what is
particular to one failure and encodes it in fixed (70h) or descriptor format (72h), as the D_SENSE
bit of the Control mode page chooses.

Inside this package a handler raises `CheckCondition`; the device server turns it into a completion.
It never leaves the package.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum, unique
from typing import NoReturn


@unique
class SenseKey(IntEnum):
    """The sense keys of SPC-4 that occur."""

    NO_SENSE = 0x0
    NOT_READY = 0x2
    MEDIUM_ERROR = 0x3
    HARDWARE_ERROR = 0x4
    ILLEGAL_REQUEST = 0x5
    UNIT_ATTENTION = 0x6
    DATA_PROTECT = 0x7
    MISCOMPARE = 0xE


@unique
class SenseCode(Enum):
    """Sense key, ADDITIONAL SENSE CODE, ADDITIONAL SENSE CODE QUALIFIER (SPC-4)."""

    NO_ADDITIONAL_SENSE_INFORMATION = (SenseKey.NO_SENSE, 0x00, 0x00)

    INITIALIZING_COMMAND_REQUIRED = (SenseKey.NOT_READY, 0x04, 0x02)

    WRITE_ERROR = (SenseKey.MEDIUM_ERROR, 0x0C, 0x00)
    UNRECOVERED_READ_ERROR = (SenseKey.MEDIUM_ERROR, 0x11, 0x00)

    INTERNAL_TARGET_FAILURE = (SenseKey.HARDWARE_ERROR, 0x44, 0x00)

    INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT = (SenseKey.ILLEGAL_REQUEST, 0x0E, 0x03)
    PARAMETER_LIST_LENGTH_ERROR = (SenseKey.ILLEGAL_REQUEST, 0x1A, 0x00)
    INVALID_COMMAND_OPERATION_CODE = (SenseKey.ILLEGAL_REQUEST, 0x20, 0x00)
    LBA_OUT_OF_RANGE = (SenseKey.ILLEGAL_REQUEST, 0x21, 0x00)
    INVALID_FIELD_IN_CDB = (SenseKey.ILLEGAL_REQUEST, 0x24, 0x00)
    LOGICAL_UNIT_NOT_SUPPORTED = (SenseKey.ILLEGAL_REQUEST, 0x25, 0x00)
    INVALID_FIELD_IN_PARAMETER_LIST = (SenseKey.ILLEGAL_REQUEST, 0x26, 0x00)
    SAVING_PARAMETERS_NOT_SUPPORTED = (SenseKey.ILLEGAL_REQUEST, 0x39, 0x00)
    INVALID_MESSAGE_ERROR = (SenseKey.ILLEGAL_REQUEST, 0x49, 0x00)

    POWER_ON_OCCURRED = (SenseKey.UNIT_ATTENTION, 0x29, 0x00)
    BUS_DEVICE_RESET_OCCURRED = (SenseKey.UNIT_ATTENTION, 0x29, 0x03)
    I_T_NEXUS_LOSS_OCCURRED = (SenseKey.UNIT_ATTENTION, 0x29, 0x07)
    MODE_PARAMETERS_CHANGED = (SenseKey.UNIT_ATTENTION, 0x2A, 0x01)
    CAPACITY_DATA_HAS_CHANGED = (SenseKey.UNIT_ATTENTION, 0x2A, 0x09)
    REPORTED_LUNS_DATA_HAS_CHANGED = (SenseKey.UNIT_ATTENTION, 0x3F, 0x0E)

    WRITE_PROTECTED = (SenseKey.DATA_PROTECT, 0x27, 0x00)
    SPACE_ALLOCATION_FAILED_WRITE_PROTECT = (SenseKey.DATA_PROTECT, 0x27, 0x07)

    MISCOMPARE_DURING_VERIFY_OPERATION = (SenseKey.MISCOMPARE, 0x1D, 0x00)

    @property
    def key(self) -> SenseKey:
        """SENSE KEY."""
        return self.value[0]

    @property
    def additional_sense_code(self) -> int:
        """ASC."""
        return self.value[1]

    @property
    def additional_sense_code_qualifier(self) -> int:
        """ASCQ."""
        return self.value[2]


@dataclass(frozen=True, slots=True)
class FieldPointer:
    """The field that an ILLEGAL REQUEST is about (SPC-4)."""

    byte: int
    """Its first byte."""
    bit: int | None
    """Its most significant bit in that byte; None when the field is whole bytes."""
    in_cdb: bool
    """In the CDB, else in the Data-Out parameter list."""

    def encode(self) -> bytes:
        """Three bytes: SKSV, C/D, BPV, BIT POINTER; FIELD POINTER."""
        flags = 0x80 | (0x40 if self.in_cdb else 0)
        if self.bit is not None:
            flags |= 0x08 | self.bit
        return bytes([flags]) + min(self.byte, 0xFFFF).to_bytes(2, "big")


@dataclass(frozen=True, slots=True)
class Sense:
    """One piece of sense data, in no format yet."""

    code: SenseCode
    information: int | None = None
    """The INFORMATION field; for a block command, an LBA (SBC-3)."""
    field: FieldPointer | None = None

    def encode(self, *, descriptor_format: bool) -> bytes:
        """The sense data in one of its two formats."""
        return self._descriptor() if descriptor_format else self._fixed()

    def _fixed(self) -> bytes:
        """SPC-4, 4.5.3: 18 bytes. An LBA that needs more than 32 bits leaves VALID clear."""
        data = bytearray(18)
        data[0] = 0x70
        if self.information is not None and self.information < 1 << 32:
            data[0] |= 0x80
            data[3:7] = self.information.to_bytes(4, "big")
        data[2] = self.code.key
        data[7] = len(data) - 8
        data[12] = self.code.additional_sense_code
        data[13] = self.code.additional_sense_code_qualifier
        if self.field is not None:
            data[15:18] = self.field.encode()
        return bytes(data)

    def _descriptor(self) -> bytes:
        """SPC-4, 4.5.2: eight bytes and the descriptors that apply."""
        descriptors = b""
        if self.information is not None:
            descriptors += bytes([0x00, 0x0A, 0x80, 0x00]) + self.information.to_bytes(8, "big")
        if self.field is not None:
            descriptors += bytes([0x02, 0x06, 0x00, 0x00]) + self.field.encode() + b"\x00"
        header = [
            0x72,
            self.code.key,
            self.code.additional_sense_code,
            self.code.additional_sense_code_qualifier,
            0,
            0,
            0,
            len(descriptors),
        ]
        return bytes(header) + descriptors


class CheckCondition(Exception):
    """The command being handled ends in CHECK CONDITION with this sense data."""

    def __init__(self, sense: Sense) -> None:
        super().__init__(sense.code.name)
        self.sense = sense


def refuse(code: SenseCode, information: int | None = None) -> NoReturn:
    """Ends the command in CHECK CONDITION."""
    raise CheckCondition(Sense(code, information))


def refuse_parameter(byte: int, bit: int | None = None) -> NoReturn:
    """Ends the command: the field at this byte of the Data-Out parameter list is invalid."""
    pointer = FieldPointer(byte, bit, in_cdb=False)
    raise CheckCondition(Sense(SenseCode.INVALID_FIELD_IN_PARAMETER_LIST, field=pointer))
