"""PDUs out of a byte stream, and into it.

`PduReader.receive` only stores; `next_pdu` returns one PDU, or None when more bytes are needed,
or raises ProtocolError when the stream cannot be followed any further. Bytes that belong to what
comes after are in `trailing_data`. At most one PDU of the largest allowed size is waited for, so
a caller who drains `next_pdu` after every `receive` holds little more than that.
"""

from __future__ import annotations

from scsi_snap.iscsi.digest import digest
from scsi_snap.iscsi.errors import ProtocolError
from scsi_snap.iscsi.pdu import (
    BHS_BYTES,
    Pdu,
    ResponsePdu,
    check_no_additional_header,
    data_segment_bytes,
    decode,
    pad,
    padding_bytes,
)

_DIGEST_BYTES = 4


class PduReader:
    """Cuts one connection's bytes into PDUs."""

    def __init__(
        self,
        max_data_segment_bytes: int,
        *,
        header_digest: bool = False,
        data_digest: bool = False,
        received: bytes = b"",
    ) -> None:
        self._max_data_segment_bytes = max_data_segment_bytes
        self._header_digest = header_digest
        self._data_digest = data_digest
        self._buffer = bytearray(received)
        self.last_header = b""
        """The BHS of the PDU returned last, as it was received."""

    @property
    def trailing_data(self) -> bytes:
        """What was received and is not part of a PDU returned so far."""
        return bytes(self._buffer)

    def receive(self, data: bytes) -> None:
        """Stores bytes off the connection."""
        self._buffer += data

    def next_pdu(self) -> Pdu | None:
        """One PDU, or None when it is not all there; ProtocolError when it cannot be read."""
        if len(self._buffer) < BHS_BYTES:
            return None
        header = bytes(self._buffer[:BHS_BYTES])
        check_no_additional_header(header)
        data_bytes = data_segment_bytes(header)
        if data_bytes > self._max_data_segment_bytes:
            raise ProtocolError(
                f"a data segment of {data_bytes} bytes, where {self._max_data_segment_bytes} "
                "is the most that was declared"
            )
        data_at = BHS_BYTES + (_DIGEST_BYTES if self._header_digest else 0)
        if len(self._buffer) < data_at:
            return None
        if self._header_digest:
            self._check("header", header, bytes(self._buffer[BHS_BYTES:data_at]))
        padded_end = data_at + data_bytes + padding_bytes(data_bytes)
        has_data_digest = self._data_digest and data_bytes > 0
        end = padded_end + (_DIGEST_BYTES if has_data_digest else 0)
        if len(self._buffer) < end:
            return None
        padded = bytes(self._buffer[data_at:padded_end])
        if has_data_digest:
            self._check("data", padded, bytes(self._buffer[padded_end:end]))
        del self._buffer[:end]
        self.last_header = header
        return decode(header, padded[:data_bytes])

    @staticmethod
    def _check(what: str, covered: bytes, received: bytes) -> None:
        if digest(covered) != received:
            raise ProtocolError(f"a {what} digest that does not match")


def write_pdu(pdu: ResponsePdu, *, header_digest: bool = False, data_digest: bool = False) -> bytes:
    """A PDU as it goes out, with the digests that the connection uses."""
    header = pdu.encode_header()
    data = pad(pdu.data)
    return b"".join(
        (
            header,
            digest(header) if header_digest else b"",
            data,
            digest(data) if data_digest and data else b"",
        )
    )
