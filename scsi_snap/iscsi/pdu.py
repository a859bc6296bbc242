"""The PDUs of login and discovery, as values, with their 48-byte basic header segment.

A PDU is a basic header segment (BHS), then perhaps additional header segments, a header digest, a
data segment padded to four bytes, a data digest. Each class below lists where its fields lie in
the BHS (`LAYOUT`, one line a field, byte offsets of RFC 7143, section 11); encoding and decoding
both read that list. Bits and bytes that no line names are reserved: sent as zero, ignored when
received. Which PDU it is, immediate delivery and the data segment's length are common to all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from scsi_snap.iscsi.errors import ProtocolError

BHS_BYTES = 48
NO_TASK_TAG = 0xFFFFFFFF
"""The reserved value of an initiator or target transfer tag (RFC 7143, 11.2.1.8)."""

_IMMEDIATE = 0x40
_OPCODE_MASK = 0x3F


@dataclass(frozen=True, slots=True)
class Bits:
    """An unsigned number within one byte; a single bit is a bool."""

    name: str
    byte: int
    shift: int
    width: int

    def read(self, header: bytes) -> int | bool:
        """The field's value in a BHS."""
        value = header[self.byte] >> self.shift & ((1 << self.width) - 1)
        return bool(value) if self.width == 1 else value

    def write(self, header: bytearray, value: Any) -> None:
        """Puts a value into a BHS."""
        number = int(value)
        assert 0 <= number < 1 << self.width, f"{self.name}={number} does not fit"
        header[self.byte] |= number << self.shift


@dataclass(frozen=True, slots=True)
class Number:
    """An unsigned big-endian number of whole bytes."""

    name: str
    offset: int
    length_bytes: int

    def read(self, header: bytes) -> int:
        """The field's value in a BHS."""
        return int.from_bytes(header[self.offset : self.offset + self.length_bytes], "big")

    def write(self, header: bytearray, value: Any) -> None:
        """Puts a value into a BHS."""
        encoded = int(value).to_bytes(self.length_bytes, "big")
        header[self.offset : self.offset + self.length_bytes] = encoded


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes taken as they are."""

    name: str
    offset: int
    length_bytes: int

    def read(self, header: bytes) -> bytes:
        """The field's value in a BHS."""
        return bytes(header[self.offset : self.offset + self.length_bytes])

    def write(self, header: bytearray, value: Any) -> None:
        """Puts a value into a BHS."""
        assert len(value) == self.length_bytes, f"{self.name} has {len(value)} bytes"
        header[self.offset : self.offset + self.length_bytes] = value


Layout: TypeAlias = tuple[Bits | Number | Raw, ...]

_FINAL = Bits("final", 1, 7, 1)
_CONTINUES = Bits("continues", 1, 6, 1)
_TASK_TAG = Number("initiator_task_tag", 16, 4)
_TRANSFER_TAG = Number("target_transfer_tag", 20, 4)
_LUN = Raw("lun", 8, 8)
_FROM_INITIATOR = (Number("cmd_sn", 24, 4), Number("exp_stat_sn", 28, 4))
_FROM_TARGET = (
    Number("stat_sn", 24, 4),
    Number("exp_cmd_sn", 28, 4),
    Number("max_cmd_sn", 32, 4),
)
_LOGIN_STAGES = (
    Bits("transit", 1, 7, 1),
    _CONTINUES,
    Bits("current_stage", 1, 2, 2),
    Bits("next_stage", 1, 0, 2),
    Raw("isid", 8, 6),
    Number("tsih", 14, 2),
    _TASK_TAG,
)


class _Encodable:
    """`encode_header` for a dataclass with OPCODE, LAYOUT, `immediate` and `data`."""

    __slots__ = ()
    OPCODE: ClassVar[int]
    FLAGS: ClassVar[int] = 0
    """Bits of byte 1 that are always one."""
    LAYOUT: ClassVar[Layout]
    immediate: bool
    data: bytes

    def encode_header(self) -> bytes:
        """The BHS: 48 bytes."""
        header = bytearray(BHS_BYTES)
        header[0] = self.OPCODE | (_IMMEDIATE if self.immediate else 0)
        header[1] = self.FLAGS
        for field in self.LAYOUT:
            field.write(header, getattr(self, field.name))
        header[5:8] = len(self.data).to_bytes(3, "big")
        return bytes(header)

    def encode(self) -> bytes:
        """BHS and padded data segment, without digests."""
        return self.encode_header() + pad(self.data)


@dataclass(frozen=True, slots=True, kw_only=True)
class NopOut(_Encodable):
    """RFC 7143, 11.18. A ping when the initiator task tag is not the reserved one."""

    OPCODE: ClassVar[int] = 0x00
    FLAGS: ClassVar[int] = 0x80
    LAYOUT: ClassVar[Layout] = (_LUN, _TASK_TAG, _TRANSFER_TAG, *_FROM_INITIATOR)
    immediate: bool = False
    lun: bytes = bytes(8)
    initiator_task_tag: int
    target_transfer_tag: int = NO_TASK_TAG
    cmd_sn: int
    exp_stat_sn: int
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginRequest(_Encodable):
    """RFC 7143, 11.12."""

    OPCODE: ClassVar[int] = 0x03
    LAYOUT: ClassVar[Layout] = (
        *_LOGIN_STAGES,
        Number("version_max", 2, 1),
        Number("version_min", 3, 1),
        Number("cid", 20, 2),
        *_FROM_INITIATOR,
    )
    immediate: bool = True
    transit: bool
    continues: bool = False
    current_stage: int
    next_stage: int = 0
    version_max: int = 0
    version_min: int = 0
    isid: bytes
    tsih: int = 0
    initiator_task_tag: int
    cid: int = 0
    cmd_sn: int
    exp_stat_sn: int
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRequest(_Encodable):
    """RFC 7143, 11.10."""

    OPCODE: ClassVar[int] = 0x04
    LAYOUT: ClassVar[Layout] = (
        _FINAL,
        _CONTINUES,
        _LUN,
        _TASK_TAG,
        _TRANSFER_TAG,
        *_FROM_INITIATOR,
    )
    immediate: bool = False
    final: bool
    continues: bool = False
    lun: bytes = bytes(8)
    initiator_task_tag: int
    target_transfer_tag: int = NO_TASK_TAG
    cmd_sn: int
    exp_stat_sn: int
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogoutRequest(_Encodable):
    """RFC 7143, 11.14. Reason 0 closes the session, 1 the connection, 2 asks for recovery."""

    OPCODE: ClassVar[int] = 0x06
    FLAGS: ClassVar[int] = 0x80
    LAYOUT: ClassVar[Layout] = (
        Bits("reason", 1, 0, 7),
        _TASK_TAG,
        Number("cid", 20, 2),
        *_FROM_INITIATOR,
    )
    immediate: bool = False
    reason: int
    initiator_task_tag: int
    cid: int = 0
    cmd_sn: int
    exp_stat_sn: int
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class NopIn(_Encodable):
    """RFC 7143, 11.19."""

    OPCODE: ClassVar[int] = 0x20
    FLAGS: ClassVar[int] = 0x80
    LAYOUT: ClassVar[Layout] = (_LUN, _TASK_TAG, _TRANSFER_TAG, *_FROM_TARGET)
    immediate: bool = False
    lun: bytes = bytes(8)
    initiator_task_tag: int
    target_transfer_tag: int = NO_TASK_TAG
    stat_sn: int
    exp_cmd_sn: int
    max_cmd_sn: int
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginResponse(_Encodable):
    """RFC 7143, 11.13. `status` is class and detail as one number (`LoginStatus`)."""

    OPCODE: ClassVar[int] = 0x23
    LAYOUT: ClassVar[Layout] = (
        *_LOGIN_STAGES,
        Number("version_max", 2, 1),
        Number("version_active", 3, 1),
        *_FROM_TARGET,
        Number("status", 36, 2),
    )
    immediate: bool = False
    transit: bool
    continues: bool = False
    current_stage: int
    next_stage: int = 0
    version_max: int = 0
    version_active: int = 0
    isid: bytes
    tsih: int = 0
    initiator_task_tag: int
    stat_sn: int
    exp_cmd_sn: int
    max_cmd_sn: int
    status: int = 0
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextResponse(_Encodable):
    """RFC 7143, 11.11."""

    OPCODE: ClassVar[int] = 0x24
    LAYOUT: ClassVar[Layout] = (_FINAL, _CONTINUES, _LUN, _TASK_TAG, _TRANSFER_TAG, *_FROM_TARGET)
    immediate: bool = False
    final: bool
    continues: bool = False
    lun: bytes = bytes(8)
    initiator_task_tag: int
    target_transfer_tag: int = NO_TASK_TAG
    stat_sn: int
    exp_cmd_sn: int
    max_cmd_sn: int
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogoutResponse(_Encodable):
    """RFC 7143, 11.15. Response 0 closed, 1 no such CID, 2 recovery not supported."""

    OPCODE: ClassVar[int] = 0x26
    FLAGS: ClassVar[int] = 0x80
    LAYOUT: ClassVar[Layout] = (
        Number("response", 2, 1),
        _TASK_TAG,
        *_FROM_TARGET,
        Number("time2wait_s", 40, 2),
        Number("time2retain_s", 42, 2),
    )
    immediate: bool = False
    response: int
    initiator_task_tag: int
    stat_sn: int
    exp_cmd_sn: int
    max_cmd_sn: int
    time2wait_s: int = 0
    time2retain_s: int = 0
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject(_Encodable):
    """RFC 7143, 11.17. The data segment is the header that is rejected."""

    OPCODE: ClassVar[int] = 0x3F
    FLAGS: ClassVar[int] = 0x80
    LAYOUT: ClassVar[Layout] = (
        Number("reason", 2, 1),
        _TASK_TAG,
        *_FROM_TARGET,
        Number("data_sn", 36, 4),
    )
    immediate: bool = False
    reason: int
    initiator_task_tag: int = NO_TASK_TAG
    stat_sn: int
    exp_cmd_sn: int
    max_cmd_sn: int
    data_sn: int = 0
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherPdu:
    """A PDU that neither login nor discovery has a use for, whole, to be refused by its caller."""

    opcode: int
    immediate: bool
    header: bytes
    data: bytes


RequestPdu: TypeAlias = NopOut | LoginRequest | TextRequest | LogoutRequest | OtherPdu
ResponsePdu: TypeAlias = NopIn | LoginResponse | TextResponse | LogoutResponse | Reject
Pdu: TypeAlias = RequestPdu | ResponsePdu

PDU_TYPES: dict[int, type[_Encodable]] = {
    pdu_type.OPCODE: pdu_type
    for pdu_type in (
        NopOut,
        LoginRequest,
        TextRequest,
        LogoutRequest,
        NopIn,
        LoginResponse,
        TextResponse,
        LogoutResponse,
        Reject,
    )
}


def decode(header: bytes, data: bytes) -> Pdu:
    """The PDU of a BHS and its data segment (padding taken off). Any 48 bytes are some PDU."""
    assert len(header) == BHS_BYTES
    immediate = bool(header[0] & _IMMEDIATE)
    pdu_type = PDU_TYPES.get(header[0] & _OPCODE_MASK)
    if pdu_type is None:
        opcode = header[0] & _OPCODE_MASK
        return OtherPdu(opcode=opcode, immediate=immediate, header=header, data=data)
    fields: dict[str, Any] = {field.name: field.read(header) for field in pdu_type.LAYOUT}
    decoded: Pdu = pdu_type(immediate=immediate, data=data, **fields)  # type: ignore[call-arg, assignment]
    return decoded


def data_segment_bytes(header: bytes) -> int:
    """DataSegmentLength, without padding."""
    return int.from_bytes(header[5:8], "big")


def check_no_additional_header(header: bytes) -> None:
    """ProtocolError for a TotalAHSLength: no PDU of login or discovery has additional headers."""
    if header[4]:
        raise ProtocolError(f"a PDU with {header[4] * 4} bytes of additional header segments")


def padding_bytes(length_bytes: int) -> int:
    """How many zeros follow a segment of that length."""
    return -length_bytes % 4


def pad(data: bytes) -> bytes:
    """A segment with its padding."""
    return data + bytes(padding_bytes(len(data)))
