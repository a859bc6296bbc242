"""What a CDB asks to move against what the initiator expects to (SAM-5, 5.4.3; RFC 7143, 11.3 and
11.4.5): the one rule, for every transport.

A length that does not fit is no error in itself: what both have in common is moved, and the
transport reports the rest as a residual. Refused, before anything is carried out, is

- a direction that contradicts the CDB: the initiator expects some bytes, but not to send those
  that the CDB asks for, or not to receive those that it returns; but a READ whose initiator
  expects to send returns nothing, which the residual says (libiscsi's suite wants it GOOD);
- Data-Out that is short, where its parts mean nothing, or where the transport has no residual by
  which the initiator would learn of it.
"""

from scsi_snap.scsi.request import Expected, ExpectedDirection
from scsi_snap.scsi.sense import SenseCode, refuse

_SENDS = (ExpectedDirection.OUT, ExpectedDirection.UNSAID)
_RECEIVES = (ExpectedDirection.IN, ExpectedDirection.UNSAID)


def check_direction(
    expected: Expected, *, data_out: int, data_in: int, bears_data_out: bool = False
) -> None:
    """Refuses a command whose CDB asks for so much Data-Out or Data-In, if the initiator expects
    data to move, and that way none. `bears_data_out`: but not where it expects to send some.
    """
    if not expected.bytes:
        return
    sends, receives = expected.direction in _SENDS, expected.direction in _RECEIVES
    if (data_out and not sends) or (data_in and not receives and not (sends and bears_data_out)):
        refuse(SenseCode.INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT)


def first_blocks(data: bytes, wanted_bytes: int, expected: Expected, block_bytes: int) -> bytes:
    """The Data-Out of a command that may be carried out on the first blocks of its range alone.

    SBC-4 leaves open what becomes of a WRITE whose initiator sends less than TRANSFER LENGTH says.
    Its blocks are written where it learns of the others by a residual overflow; a block that came
    in part cannot be written, and is refused instead.
    """
    data = data[:wanted_bytes]
    short = len(data) < wanted_bytes
    if len(data) % block_bytes or (short and expected.direction is ExpectedDirection.UNSAID):
        refuse(SenseCode.INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT)
    return data
