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
    COPY_ABORTED = 0xA
    ABORTED_COMMAND = 0xB
    MISCOMPARE = 0xE


@unique
class SenseCode(Enum):
    """Sense key, ADDITIONAL SENSE CODE, ADDITIONAL SENSE CODE QUALIFIER (SPC-4)."""

    NO_ADDITIONAL_SENSE_INFORMATION = (SenseKey.NO_SENSE, 0x00, 0x00)

    INITIALIZING_COMMAND_REQUIRED = (SenseKey.NOT_READY, 0x04, 0x02)
    MEDIUM_NOT_PRESENT = (SenseKey.NOT_READY, 0x3A, 0x00)
    FORMAT_IN_PROGRESS = (SenseKey.NOT_READY, 0x04, 0x04)
    SANITIZE_IN_PROGRESS = (SenseKey.NOT_READY, 0x04, 0x1B)

    WRITE_ERROR = (SenseKey.MEDIUM_ERROR, 0x0C, 0x00)
    UNRECOVERED_READ_ERROR = (SenseKey.MEDIUM_ERROR, 0x11, 0x00)
    FORMAT_COMMAND_FAILED = (SenseKey.MEDIUM_ERROR, 0x31, 0x01)
    SANITIZE_COMMAND_FAILED = (SenseKey.MEDIUM_ERROR, 0x31, 0x03)

    LOGICAL_UNIT_FAILED_SELF_TEST = (SenseKey.HARDWARE_ERROR, 0x3E, 0x03)
    INTERNAL_TARGET_FAILURE = (SenseKey.HARDWARE_ERROR, 0x44, 0x00)

    OPERATION_IN_PROGRESS = (SenseKey.ILLEGAL_REQUEST, 0x00, 0x16)
    INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT = (SenseKey.ILLEGAL_REQUEST, 0x0E, 0x03)
    PARAMETER_LIST_LENGTH_ERROR = (SenseKey.ILLEGAL_REQUEST, 0x1A, 0x00)
    INVALID_COMMAND_OPERATION_CODE = (SenseKey.ILLEGAL_REQUEST, 0x20, 0x00)
    LBA_OUT_OF_RANGE = (SenseKey.ILLEGAL_REQUEST, 0x21, 0x00)
    INVALID_FIELD_IN_CDB = (SenseKey.ILLEGAL_REQUEST, 0x24, 0x00)
    LOGICAL_UNIT_NOT_SUPPORTED = (SenseKey.ILLEGAL_REQUEST, 0x25, 0x00)
    INVALID_FIELD_IN_PARAMETER_LIST = (SenseKey.ILLEGAL_REQUEST, 0x26, 0x00)
    INVALID_RELEASE_OF_PERSISTENT_RESERVATION = (SenseKey.ILLEGAL_REQUEST, 0x26, 0x04)
    TOO_MANY_TARGET_DESCRIPTORS = (SenseKey.ILLEGAL_REQUEST, 0x26, 0x06)
    UNSUPPORTED_TARGET_DESCRIPTOR_TYPE_CODE = (SenseKey.ILLEGAL_REQUEST, 0x26, 0x07)
    TOO_MANY_SEGMENT_DESCRIPTORS = (SenseKey.ILLEGAL_REQUEST, 0x26, 0x08)
    UNSUPPORTED_SEGMENT_DESCRIPTOR_TYPE_CODE = (SenseKey.ILLEGAL_REQUEST, 0x26, 0x09)
    INLINE_DATA_LENGTH_EXCEEDED = (SenseKey.ILLEGAL_REQUEST, 0x26, 0x0B)
    COMMAND_SEQUENCE_ERROR = (SenseKey.ILLEGAL_REQUEST, 0x2C, 0x00)
    SAVING_PARAMETERS_NOT_SUPPORTED = (SenseKey.ILLEGAL_REQUEST, 0x39, 0x00)
    MEDIUM_REMOVAL_PREVENTED = (SenseKey.ILLEGAL_REQUEST, 0x53, 0x02)
    INSUFFICIENT_REGISTRATION_RESOURCES = (SenseKey.ILLEGAL_REQUEST, 0x55, 0x04)
    INVALID_MESSAGE_ERROR = (SenseKey.ILLEGAL_REQUEST, 0x49, 0x00)

    MEDIUM_MAY_HAVE_CHANGED = (SenseKey.UNIT_ATTENTION, 0x28, 0x00)
    POWER_ON_OCCURRED = (SenseKey.UNIT_ATTENTION, 0x29, 0x00)
    BUS_DEVICE_RESET_OCCURRED = (SenseKey.UNIT_ATTENTION, 0x29, 0x03)
    I_T_NEXUS_LOSS_OCCURRED = (SenseKey.UNIT_ATTENTION, 0x29, 0x07)
    MODE_PARAMETERS_CHANGED = (SenseKey.UNIT_ATTENTION, 0x2A, 0x01)
    LOG_PARAMETERS_CHANGED = (SenseKey.UNIT_ATTENTION, 0x2A, 0x02)
    CAPACITY_DATA_HAS_CHANGED = (SenseKey.UNIT_ATTENTION, 0x2A, 0x09)
    THIN_PROVISIONING_SOFT_THRESHOLD_REACHED = (SenseKey.UNIT_ATTENTION, 0x38, 0x07)
    INQUIRY_DATA_HAS_CHANGED = (SenseKey.UNIT_ATTENTION, 0x3F, 0x03)
    DEVICE_IDENTIFIER_CHANGED = (SenseKey.UNIT_ATTENTION, 0x3F, 0x05)
    RESERVATIONS_PREEMPTED = (SenseKey.UNIT_ATTENTION, 0x2A, 0x03)
    RESERVATIONS_RELEASED = (SenseKey.UNIT_ATTENTION, 0x2A, 0x04)
    REGISTRATIONS_PREEMPTED = (SenseKey.UNIT_ATTENTION, 0x2A, 0x05)
    REPORTED_LUNS_DATA_HAS_CHANGED = (SenseKey.UNIT_ATTENTION, 0x3F, 0x0E)

    WRITE_PROTECTED = (SenseKey.DATA_PROTECT, 0x27, 0x00)
    SPACE_ALLOCATION_FAILED_WRITE_PROTECT = (SenseKey.DATA_PROTECT, 0x27, 0x07)
    PERSISTENT_RESERVATION_INFORMATION_LOST = (SenseKey.DATA_PROTECT, 0x44, 0x01)

    SEGMENT_CANNOT_BE_COPIED = (SenseKey.COPY_ABORTED, 0x00, 0x00)
    UNREACHABLE_COPY_TARGET = (SenseKey.COPY_ABORTED, 0x08, 0x04)
    THIRD_PARTY_DEVICE_FAILURE = (SenseKey.COPY_ABORTED, 0x0D, 0x01)
    COPY_TARGET_DEVICE_NOT_REACHABLE = (SenseKey.COPY_ABORTED, 0x0D, 0x02)
    INCORRECT_COPY_TARGET_DEVICE_TYPE = (SenseKey.COPY_ABORTED, 0x0D, 0x03)
    UNEXPECTED_INEXACT_SEGMENT = (SenseKey.COPY_ABORTED, 0x26, 0x0A)
    INCOMPLETE_MULTIPLE_ATOMIC_WRITE_OPERATIONS = (SenseKey.ABORTED_COMMAND, 0x0C, 0x10)

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
class SegmentPointer:
    """The field of a segment descriptor that a COPY ABORTED is about (SPC-4)."""

    byte: int
    """Its first byte, from the start of the segment descriptor."""

    def encode(self) -> bytes:
        """Three bytes: SKSV, SD; FIELD POINTER."""
        return bytes([0xA0]) + min(self.byte, 0xFFFF).to_bytes(2, "big")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the operation is that a NOT READY is about (SPC-4)."""

    done: float
    """From 0 to 1."""

    def encode(self) -> bytes:
        """Three bytes: SKSV; PROGRESS INDICATION, in 65536ths."""
        return bytes([0x80]) + min(int(self.done * 0x10000), 0xFFFF).to_bytes(2, "big")


@dataclass(frozen=True, slots=True)
class Sense:
    """One piece of sense data, in no format yet."""

    code: SenseCode
    information: int | None = None
    """The INFORMATION field; for a block command, an LBA (SBC-3)."""
    field: FieldPointer | SegmentPointer | Progress | None = None
    """SENSE KEY SPECIFIC: which of them follows from the sense key."""
    command_information: int | None = None
    """COMMAND-SPECIFIC INFORMATION; for a third-party copy, the segment's number (SPC-4)."""

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
        data[8:12] = (self.command_information or 0).to_bytes(4, "big")
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
        if self.command_information is not None:
            descriptors += bytes([0x01, 0x0A, 0x00, 0x00])
            descriptors += self.command_information.to_bytes(8, "big")
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
