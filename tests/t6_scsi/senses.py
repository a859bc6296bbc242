"""Sense data as a test expects it: fixed format, spelt out byte by byte (SPC-4, 4.5.3)."""

COMMAND_IN_PROGRESS = (0x5, 0x00, 0x16)
INVALID_OPCODE = (0x5, 0x20, 0x00)
LBA_OUT_OF_RANGE = (0x5, 0x21, 0x00)
INVALID_FIELD_IN_CDB = (0x5, 0x24, 0x00)
LUN_NOT_SUPPORTED = (0x5, 0x25, 0x00)
INVALID_FIELD_IN_LIST = (0x5, 0x26, 0x00)
LIST_LENGTH_ERROR = (0x5, 0x1A, 0x00)
INVALID_FIELD_IN_INFORMATION_UNIT = (0x5, 0x0E, 0x03)
INVALID_RELEASE = (0x5, 0x26, 0x04)
REMOVAL_PREVENTED = (0x5, 0x53, 0x02)
NO_REGISTRATION_RESOURCES = (0x5, 0x55, 0x04)
SEQUENCE_ERROR = (0x5, 0x2C, 0x00)
SAVING_NOT_SUPPORTED = (0x5, 0x39, 0x00)
FORMATTING = (0x2, 0x04, 0x04)
SANITIZING = (0x2, 0x04, 0x1B)
NOT_READY_START_IT = (0x2, 0x04, 0x02)
NO_MEDIUM = (0x2, 0x3A, 0x00)
READ_ERROR = (0x3, 0x11, 0x00)
WRITE_ERROR = (0x3, 0x0C, 0x00)
FORMAT_FAILED = (0x3, 0x31, 0x01)
SANITIZE_FAILED = (0x3, 0x31, 0x03)
INTERNAL_FAILURE = (0x4, 0x44, 0x00)
POWER_ON = (0x6, 0x29, 0x00)
DEVICE_RESET = (0x6, 0x29, 0x03)
NEXUS_LOSS = (0x6, 0x29, 0x07)
MODE_CHANGED = (0x6, 0x2A, 0x01)
MEDIUM_MAY_HAVE_CHANGED = (0x6, 0x28, 0x00)
RESERVATIONS_PREEMPTED = (0x6, 0x2A, 0x03)
RESERVATIONS_RELEASED = (0x6, 0x2A, 0x04)
REGISTRATIONS_PREEMPTED = (0x6, 0x2A, 0x05)
THRESHOLD_REACHED = (0x6, 0x38, 0x07)
INQUIRY_CHANGED = (0x6, 0x3F, 0x03)
CAPACITY_CHANGED = (0x6, 0x2A, 0x09)
LUNS_CHANGED = (0x6, 0x3F, 0x0E)
WRITE_PROTECTED = (0x7, 0x27, 0x00)
NO_SPACE = (0x7, 0x27, 0x07)
INCOMPLETE_ATOMIC_WRITES = (0xB, 0x0C, 0x10)
RESERVATIONS_LOST = (0x7, 0x44, 0x01)
MISCOMPARE = (0xE, 0x1D, 0x00)


def fixed(
    code: tuple[int, int, int],
    *,
    information: int | None = None,
    pointer: tuple[int, int, int] = (0, 0, 0),
) -> bytes:
    """`pointer` is the three sense key specific bytes."""
    key, asc, ascq = code
    return bytes(
        [
            0x70 if information is None else 0xF0,  # VALID, response code
            0x00,
            key,
            *(information or 0).to_bytes(4, "big"),
            10,  # ADDITIONAL SENSE LENGTH
            *[0] * 4,
            asc,
            ascq,
            0x00,
            *pointer,
        ]
    )


def in_cdb(byte: int, bit: int | None = None) -> bytes:
    """INVALID FIELD IN CDB with its field pointer: SKSV, C/D, BPV and bit; byte."""
    flags = 0xC0 if bit is None else 0xC8 | bit
    return fixed(INVALID_FIELD_IN_CDB, pointer=(flags, 0, byte))


def in_list(byte: int, bit: int | None = None) -> bytes:
    """INVALID FIELD IN PARAMETER LIST with its field pointer."""
    flags = 0x80 if bit is None else 0x88 | bit
    return fixed(INVALID_FIELD_IN_LIST, pointer=(flags, 0, byte))
