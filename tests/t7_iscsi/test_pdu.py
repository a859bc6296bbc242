"""Every PDU both ways, and PDUs out of byte streams: whole, byte by byte, with bytes behind."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from scsi_snap.iscsi.digest import crc32c, digest
from scsi_snap.iscsi.errors import ProtocolError
from scsi_snap.iscsi.framing import PduReader, write_pdu
from scsi_snap.iscsi.pdu import (
    BHS_BYTES,
    PDU_TYPES,
    LoginRequest,
    LoginResponse,
    LogoutRequest,
    LogoutResponse,
    NopIn,
    NopOut,
    OtherPdu,
    Pdu,
    Reject,
    TextRequest,
    TextResponse,
    decode,
)
from tests.t7_iscsi.given import given

SERIAL = {"stat_sn": 0x11111111, "exp_cmd_sn": 0x22222222, "max_cmd_sn": 0x33333333}
FROM_INITIATOR = {"cmd_sn": 0x44444444, "exp_stat_sn": 0x55555555}
ITT = "deadbeef"
LUN = bytes.fromhex("0001000000000000")
SERIALS_OUT = "11111111 22222222 33333333"
SERIALS_IN = "44444444 55555555"

CASES: list[tuple[str, Pdu, str]] = [
    (
        "login request",
        LoginRequest(
            transit=True,
            current_stage=1,
            next_stage=3,
            version_max=2,
            version_min=1,
            isid=bytes.fromhex("800102030405"),
            tsih=0x0A0B,
            initiator_task_tag=0xDEADBEEF,
            cid=0x0C0D,
            data=b"A=b\0",
            **FROM_INITIATOR,
        ),
        f"43 87 02 01 00 000004 800102030405 0a0b {ITT} 0c0d 0000 {SERIALS_IN}"
        + "00" * 16
        + "413d6200",
    ),
    (
        "login request that continues",
        LoginRequest(
            transit=False,
            continues=True,
            current_stage=0,
            isid=bytes(6),
            initiator_task_tag=1,
            cmd_sn=0,
            exp_stat_sn=0,
            data=b"A",
        ),
        "43 40 00 00 00 000001" + "00" * 8 + "00000001" + "00" * 28 + "41 000000",
    ),
    (
        "login response",
        LoginResponse(
            transit=True,
            current_stage=0,
            next_stage=1,
            isid=bytes.fromhex("800102030405"),
            tsih=7,
            initiator_task_tag=0xDEADBEEF,
            status=0x0203,
            **SERIAL,
        ),
        f"23 81 00 00 00 000000 800102030405 0007 {ITT} 00000000 {SERIALS_OUT} 0203" + "00" * 10,
    ),
    (
        "text request",
        TextRequest(
            final=True, lun=LUN, initiator_task_tag=0xDEADBEEF, data=b"A=\0", **FROM_INITIATOR
        ),
        f"04 80 0000 00 000003 {LUN.hex()} {ITT} ffffffff {SERIALS_IN}" + "00" * 16 + "413d00 00",
    ),
    (
        "text response",
        TextResponse(
            final=False,
            continues=True,
            initiator_task_tag=0xDEADBEEF,
            target_transfer_tag=9,
            **SERIAL,
        ),
        f"24 40 0000 00 000000 {'00' * 8} {ITT} 00000009 {SERIALS_OUT}" + "00" * 12,
    ),
    (
        "logout request",
        LogoutRequest(
            immediate=True, reason=1, initiator_task_tag=0xDEADBEEF, cid=3, **FROM_INITIATOR
        ),
        f"46 81 0000 00 000000 {'00' * 8} {ITT} 0003 0000 {SERIALS_IN}" + "00" * 16,
    ),
    (
        "logout response",
        LogoutResponse(
            response=2, initiator_task_tag=0xDEADBEEF, time2wait_s=4, time2retain_s=5, **SERIAL
        ),
        f"26 80 02 00 00 000000 {'00' * 8} {ITT} 00000000 {SERIALS_OUT}00000000 0004 0005 00000000",
    ),
    (
        "NOP-Out",
        NopOut(initiator_task_tag=0xDEADBEEF, lun=LUN, data=b"ping!", **FROM_INITIATOR),
        f"00 80 0000 00 000005 {LUN.hex()} {ITT} ffffffff {SERIALS_IN}"
        + "00" * 16
        + "70696e6721 000000",
    ),
    (
        "NOP-In",
        NopIn(initiator_task_tag=0xDEADBEEF, **SERIAL),
        f"20 80 0000 00 000000 {'00' * 8} {ITT} ffffffff {SERIALS_OUT}" + "00" * 12,
    ),
    (
        "reject",
        Reject(reason=4, data_sn=6, data=bytes(48), **SERIAL),
        f"3f 80 04 00 00 000030 {'00' * 8} ffffffff 00000000 {SERIALS_OUT} 00000006" + "00" * 56,
    ),
]
IDS = [name for name, _, _ in CASES]


def encoded(text: str) -> bytes:
    return bytes.fromhex(text.replace(" ", ""))


@pytest.mark.parametrize(("pdu", "wire"), [case[1:] for case in CASES], ids=IDS)
def test_encodes(pdu: Pdu, wire: str) -> None:
    assert not isinstance(pdu, OtherPdu)
    assert pdu.encode() == encoded(wire)


@pytest.mark.parametrize(("pdu", "wire"), [case[1:] for case in CASES], ids=IDS)
@pytest.mark.parametrize("step", [1, 7, 48, 1000])
@pytest.mark.parametrize("digests", [False, True])
def test_reads_in_pieces_with_bytes_behind(pdu: Pdu, wire: str, step: int, digests: bool) -> None:
    assert not isinstance(pdu, OtherPdu)
    stream = write_pdu(pdu, header_digest=digests, data_digest=digests)  # type: ignore[arg-type]
    assert digests or stream == encoded(wire)
    reader = PduReader(64, header_digest=digests, data_digest=digests)
    whole = stream + b"behind"
    read = []
    for at in range(0, len(whole), step):
        reader.receive(whole[at : at + step])
        if (found := reader.next_pdu()) is not None:
            read.append((at + step, found))
            break
    ((consumed, found),) = read
    reader.receive(whole[consumed:])
    assert found == pdu
    assert consumed >= len(stream)
    assert reader.trailing_data == b"behind"


def test_every_type_has_a_case_and_an_opcode_of_its_own() -> None:
    assert {type(pdu) for _, pdu, _ in CASES} == set(PDU_TYPES.values())
    assert len({pdu_type.OPCODE for pdu_type in PDU_TYPES.values()}) == len(PDU_TYPES) == 9


def test_fields_of_a_layout_do_not_overlap() -> None:
    for pdu_type in PDU_TYPES.values():
        used: set[tuple[int, int]] = {(byte, bit) for byte in (0, 4, 5, 6, 7) for bit in range(8)}
        for part in pdu_type.LAYOUT:
            if hasattr(part, "byte"):
                bits = {(part.byte, part.shift + bit) for bit in range(part.width)}
            else:
                end = part.offset + part.length_bytes
                bits = {(byte, bit) for byte in range(part.offset, end) for bit in range(8)}
            assert not bits & used, (pdu_type, part.name)
            assert max(byte for byte, _ in bits) < BHS_BYTES
            used |= bits


@pytest.mark.parametrize("broken_byte", [0, 48, 52, 55, 56])
def test_a_digest_that_does_not_match_ends_the_stream(broken_byte: int) -> None:
    pdu = NopIn(initiator_task_tag=1, stat_sn=1, exp_cmd_sn=1, max_cmd_sn=1, data=b"four")
    stream = bytearray(write_pdu(pdu, header_digest=True, data_digest=True))
    assert len(stream) == 60
    stream[broken_byte] ^= 0x10
    reader = PduReader(64, header_digest=True, data_digest=True, received=bytes(stream))
    with pytest.raises(ProtocolError, match="digest"):
        reader.next_pdu()


def test_too_long_a_data_segment_is_refused_before_it_arrives() -> None:
    reader = PduReader(8192, received=bytes(5) + (8193).to_bytes(3, "big") + bytes(40))
    with pytest.raises(ProtocolError, match="8193"):
        reader.next_pdu()


def test_additional_header_segments_are_refused() -> None:
    with pytest.raises(ProtocolError, match="additional"):
        PduReader(8192, received=bytes(4) + b"\1" + bytes(43)).next_pdu()


def test_crc32c_of_the_rfc() -> None:
    """RFC 7143, appendix A.4: 32 bytes of zeros, of ones, ascending, descending."""
    assert digest(bytes(32)).hex() == "aa36918a"
    assert digest(b"\xff" * 32).hex() == "43aba862"
    assert digest(bytes(range(32))).hex() == "4e79dd46"
    assert digest(bytes(range(31, -1, -1))).hex() == "5cdb3f11"
    assert crc32c(b"123456789") == 0xE3069283


@given(st.binary(min_size=BHS_BYTES, max_size=BHS_BYTES), st.binary(max_size=40))
def test_any_header_decodes_and_survives_a_round(header: bytes, data: bytes) -> None:
    pdu = decode(header, data)
    if isinstance(pdu, OtherPdu):
        assert pdu.header == header
    else:
        assert decode(pdu.encode_header(), data) == pdu


@given(st.lists(st.binary(max_size=120), max_size=12), st.booleans())
def test_arbitrary_bytes_raise_only_protocol_errors(chunks: list[bytes], digests: bool) -> None:
    reader = PduReader(64, header_digest=digests, data_digest=digests)
    try:
        for chunk in chunks:
            reader.receive(chunk)
            while reader.next_pdu() is not None:
                pass
            assert len(reader.trailing_data) < BHS_BYTES + 64 + 8 + len(chunk)
    except ProtocolError:
        pass
