"""key=value text: the data segments of Login and Text PDUs (RFC 7143, 6.1).

Each pair is `key=value` and a NUL. A logical request may span PDUs (C bit), and a pair may lie
across the border, so text is decoded only when the last part is there. A NUL too many, or a
missing one at the very end, is let pass: initiators send both and nothing becomes ambiguous.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from typing import TypeAlias

from scsi_snap.iscsi.errors import ProtocolError
from scsi_snap.iscsi.limits import (
    MAX_KEY_NAME_BYTES,
    MAX_KEYS_IN_REQUEST,
    MAX_NEGOTIATION_TEXT_BYTES,
    MAX_VALUE_BYTES,
)

Pairs: TypeAlias = list[tuple[str, str]]

_KEY_NAME = re.compile(rf"[A-Za-z][A-Za-z0-9.+@_#-]{{0,{MAX_KEY_NAME_BYTES - 1}}}")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,19}")
_HEXADECIMAL = re.compile(r"0[xX][0-9a-fA-F]{1,16}")


def encode_text(pairs: Iterable[tuple[str, str]]) -> bytes:
    """Text of the pairs in order."""
    return b"".join(f"{key}={value}".encode() + b"\0" for key, value in pairs)


def decode_text(text: bytes) -> Pairs:
    """The pairs in order. Duplicates stay: whether one may come twice is the key's affair."""
    parts = [part for part in text.split(b"\0") if part]
    if len(parts) > MAX_KEYS_IN_REQUEST:
        raise ProtocolError(f"{len(parts)} keys in one request, over {MAX_KEYS_IN_REQUEST}")
    return [_decode_pair(part) for part in parts]


def _decode_pair(part: bytes) -> tuple[str, str]:
    try:
        key, separator, value = part.decode("utf-8").partition("=")
    except UnicodeDecodeError:
        raise ProtocolError("text that is not UTF-8") from None
    if not separator:
        raise ProtocolError(f"text without '=': {part[:80]!r}")
    if not _KEY_NAME.fullmatch(key):
        raise ProtocolError(f"not a key name: {key[:80]!r}")
    if len(value.encode()) > MAX_VALUE_BYTES:
        raise ProtocolError(f"a value of {key} longer than {MAX_VALUE_BYTES} bytes")
    return key, value


class TextJoiner:
    """Joins the parts of one logical request (C bit set on all but the last)."""

    def __init__(self) -> None:
        self._text = bytearray()

    def add(self, part: bytes, *, continues: bool) -> bytes | None:
        """The whole text when `part` is the last, else None. ProtocolError beyond the limit."""
        if len(self._text) + len(part) > MAX_NEGOTIATION_TEXT_BYTES:
            raise ProtocolError(f"more than {MAX_NEGOTIATION_TEXT_BYTES} bytes of text")
        self._text += part
        if continues:
            return None
        text = bytes(self._text)
        self._text.clear()
        return text


def list_values(value: str) -> list[str]:
    """The values of a list, in lower case: no two that there are differ in case alone."""
    return [one.strip().casefold() for one in value.split(",")]


def parse_number(value: str) -> int | None:
    """A decimal or hexadecimal constant of at most 64 bits; None when it is neither."""
    if _DECIMAL.fullmatch(value):
        return int(value) if int(value) < 1 << 64 else None
    if _HEXADECIMAL.fullmatch(value):
        return int(value, 16)
    return None


def encode_binary(data: bytes) -> str:
    """A binary value as a hexadecimal constant."""
    return "0x" + data.hex()


def decode_binary(value: str) -> bytes | None:
    """A hexadecimal (0x) or base64 (0b) constant; None when it is neither."""
    prefix, digits = value[:2].lower(), value[2:]
    if not digits or not digits.isascii():
        return None
    try:
        if prefix == "0x":
            return binascii.unhexlify(digits if len(digits) % 2 == 0 else "0" + digits)
        if prefix == "0b":
            return base64.b64decode(digits, validate=True)
    except ValueError:
        return None
    return None
