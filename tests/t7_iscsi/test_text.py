"""key=value text, numbers, binary values."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from scsi_snap.iscsi.errors import ProtocolError
from scsi_snap.iscsi.limits import MAX_KEYS_IN_REQUEST, MAX_NEGOTIATION_TEXT_BYTES
from scsi_snap.iscsi.text import (
    Pairs,
    TextJoiner,
    decode_binary,
    decode_text,
    encode_binary,
    encode_text,
    parse_number,
)
from tests.t7_iscsi.given import given

CASES: list[tuple[bytes, Pairs]] = [
    (b"", []),
    (b"A=b\0", [("A", "b")]),
    (b"A=\0", [("A", "")]),
    (b"A=b=c\0", [("A", "b=c")]),
    (b"A=b\0A=c\0", [("A", "b"), ("A", "c")]),
    (b"iSCSIProtocolLevel=1\0", [("iSCSIProtocolLevel", "1")]),
    (b"X-org.example.a+b@c_d-e=1,2\0", [("X-org.example.a+b@c_d-e", "1,2")]),
    (b"X#NodeArchitecture=Example OS/1.0\0", [("X#NodeArchitecture", "Example OS/1.0")]),
    ("TargetAlias=größer\0".encode(), [("TargetAlias", "größer")]),
]


@pytest.mark.parametrize(("text", "pairs"), CASES)
def test_both_directions(text: bytes, pairs: Pairs) -> None:
    assert decode_text(text) == pairs
    assert encode_text(pairs) == text


@pytest.mark.parametrize(("text", "pairs"), CASES)
def test_joined_byte_by_byte(text: bytes, pairs: Pairs) -> None:
    joiner = TextJoiner()
    for at in range(len(text)):
        assert joiner.add(text[at : at + 1], continues=True) is None
    assert decode_text(joiner.add(b"", continues=False) or b"") == pairs
    assert joiner.add(b"B=1\0", continues=False) == b"B=1\0", "nothing stays behind"


def test_lenient_about_nuls() -> None:
    assert decode_text(b"A=b") == [("A", "b")]
    assert decode_text(b"A=b\0\0\0C=d\0\0") == [("A", "b"), ("C", "d")]


@pytest.mark.parametrize(
    "text",
    [
        b"A\0",
        b"=b\0",
        b"1A=b\0",
        b"A b=c\0",
        b"A\xff=c\0",
        b"A=\xff\xfe\0",
        b"A" * 64 + b"=b\0",
        b"A=" + b"x" * 2051 + b"\0",
        b"A=b\0" * (MAX_KEYS_IN_REQUEST + 1),
    ],
)
def test_refuses(text: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_text(text)


def test_longest_that_is_allowed() -> None:
    assert decode_text(b"A" * 63 + b"=" + b"x" * 2050 + b"\0") == [("A" * 63, "x" * 2050)]
    assert len(decode_text(b"A=b\0" * MAX_KEYS_IN_REQUEST)) == MAX_KEYS_IN_REQUEST


def test_joined_text_is_bounded() -> None:
    joiner = TextJoiner()
    for _ in range(MAX_NEGOTIATION_TEXT_BYTES // 4096):
        joiner.add(bytes(4096), continues=True)
    with pytest.raises(ProtocolError, match="bytes of text"):
        joiner.add(b"x", continues=True)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("8192", 8192),
        ("0x2000", 8192),
        ("0X1f", 31),
        ("18446744073709551615", 2**64 - 1),
        ("18446744073709551616", None),
        ("0x10000000000000000", None),
        ("", None),
        ("-1", None),
        ("+1", None),
        ("01", None),
        ("1 ", None),
        ("1_0", None),
        ("٣", None),
        ("0x", None),
        ("Yes", None),
    ],
)
def test_numbers(text: str, number: int | None) -> None:
    assert parse_number(text) == number


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("0x00ff", b"\x00\xff"),
        ("0XABcd", b"\xab\xcd"),
        ("0xabc", b"\x0a\xbc"),
        ("0bAP8=", b"\x00\xff"),
        ("0BAP8=", b"\x00\xff"),
        ("0x", None),
        ("0b", None),
        ("0xgg", None),
        ("0b!!!!", None),
        ("0bAP8", None),
        ("abcd", None),
        ("0x\u0661\u0662", None),
        ("", None),
    ],
)
def test_binary_values(text: str, data: bytes | None) -> None:
    assert decode_binary(text) == data


@given(st.binary(min_size=1, max_size=100))
def test_binary_values_come_back(data: bytes) -> None:
    assert decode_binary(encode_binary(data)) == data


@given(st.binary(max_size=400))
def test_arbitrary_text_raises_only_protocol_errors(text: bytes) -> None:
    try:
        pairs = decode_text(text)
    except ProtocolError:
        return
    assert decode_text(encode_text(pairs)) == pairs


@given(st.text(max_size=30))
def test_arbitrary_values_never_raise(text: str) -> None:
    parse_number(text)
    decode_binary(text)
