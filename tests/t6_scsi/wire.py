"""An initiator in full-feature phase over a real socket, one command at a time (RFC 7143).

No login: the parameters below are what one would have agreed on. They are small, so that few bytes
make many PDUs.
"""

from __future__ import annotations

import itertools
import socket
from dataclasses import dataclass

from scsi_snap.iscsi.parameters import SessionParameters

BHS_BYTES = 48
SEGMENT_BYTES = 2048
FIRST_BURST_BYTES = 4096
MAX_BURST_BYTES = 8192
ANSWER_SECONDS = 60
COMMAND, DATA_OUT, RESPONSE, DATA_IN, R2T = 0x01, 0x05, 0x21, 0x25, 0x31
ASYNC_MESSAGE, SCSI_EVENT = 0x32, 0
ACA = 0x04
NO_TAG = b"\xff" * 4
FINAL, READ, WRITE, SIMPLE, HAS_STATUS, RESIDUAL_BITS = 0x80, 0x40, 0x20, 0x01, 0x01, 0x1E

PARAMETERS = SessionParameters(
    initiator_name="iqn.2026-11.org.example:initiator",
    target_name="iqn.2026-11.org.example:disk",
    isid=bytes.fromhex("800000000001"),
    tsih=1,
    cid=0,
    target_portal_group_tag=1,
    cmd_sn=1,
    stat_sn=1,
    header_digest=False,
    data_digest=False,
    max_recv_data_segment_length=SEGMENT_BYTES,
    max_send_data_segment_length=SEGMENT_BYTES,
    max_burst_length=MAX_BURST_BYTES,
    first_burst_length=FIRST_BURST_BYTES,
    initial_r2t=True,
    immediate_data=True,
    max_outstanding_r2t=1,
)


class NoText:
    """The text of sessions that negotiate nothing any more: rejected."""

    def negotiate(self, request: bytes, begins: bool) -> None:
        """Nothing to say."""


@dataclass(frozen=True)
class Command:
    """A command. Its Data-Out is at least as long as what the target may ask for."""

    lun: int
    cdb: bytes
    reads: bool
    expected_bytes: int
    data_out: bytes = b""
    immediate_bytes: int = 0
    unsolicited_bytes: int = 0
    """Beyond the immediate data."""
    direction: int | None = None
    """The R and W bits, where they are not those of `reads`."""
    attribute: int = SIMPLE


@dataclass(frozen=True)
class Completion:
    """All that an initiator learns of a command's end."""

    response: int
    status: int
    residual_bits: int
    residual_count: int
    sense: bytes
    data_in: bytes


def receive_pdu(connection: socket.socket) -> tuple[bytes, bytes]:
    """A PDU without digests: its header, its data segment."""
    header = _exactly(connection, BHS_BYTES)
    length = int.from_bytes(header[5:8], "big")
    return header, _exactly(connection, length + -length % 4)[:length]


def _exactly(connection: socket.socket, length: int) -> bytes:
    received = b""
    while len(received) < length:
        piece = connection.recv(length - len(received))
        assert piece, "the target has closed the connection"
        received += piece
    return received


class Wire:
    """The initiator's end of a connection."""

    def __init__(
        self,
        connection: socket.socket,
        cmd_sn: int = PARAMETERS.cmd_sn,
        exp_stat_sn: int = PARAMETERS.stat_sn,
    ) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(ANSWER_SECONDS)
        self._socket = connection
        self._cmd_sn = itertools.count(cmd_sn)
        self._exp_stat_sn = exp_stat_sn
        self.solicited_bytes = 0
        """What R2Ts have asked for, all together."""
        self.events: list[tuple[int, int, int]] = []
        """LUN and additional sense of each SCSI event that came between (RFC 7143, 11.9)."""

    def close(self) -> None:
        self._socket.close()

    def execute(self, command: Command) -> Completion:
        """Sends a command, answers what it is asked for, and waits for the status."""
        tag = next(self._cmd_sn)
        self._send_command(command, tag)
        data_in = bytearray()
        while True:
            header, data = self._receive()
            assert int.from_bytes(header[16:20], "big") == tag
            if header[0] == R2T:
                self._send_data_out(command, tag, header)
                continue
            if header[0] == DATA_IN:
                assert int.from_bytes(header[40:44], "big") == len(data_in)
                data_in += data
            if header[0] == RESPONSE or header[1] & HAS_STATUS:
                return self._completion(header, data, bytes(data_in))

    def _send_command(self, command: Command, tag: int) -> None:
        direction = READ if command.reads else WRITE
        if command.direction is not None:
            direction = command.direction
        final = 0 if command.unsolicited_bytes else FINAL
        header = bytearray(BHS_BYTES)
        header[0], header[1] = COMMAND, final | direction | command.attribute
        header[8:16] = command.lun.to_bytes(8, "big")
        header[16:20] = tag.to_bytes(4, "big")
        header[20:24] = command.expected_bytes.to_bytes(4, "big")
        header[24:28] = tag.to_bytes(4, "big")
        header[28:32] = self._exp_stat_sn.to_bytes(4, "big")
        header[32:48] = command.cdb.ljust(16, b"\0")
        self._send(header, command.data_out[: command.immediate_bytes])
        if command.unsolicited_bytes:
            length = command.unsolicited_bytes
            self._send_sequence(command, tag, NO_TAG, command.immediate_bytes, length)

    def _send_data_out(self, command: Command, tag: int, r2t: bytes) -> None:
        start, length = (int.from_bytes(r2t[at : at + 4], "big") for at in (40, 44))
        assert 0 < length <= MAX_BURST_BYTES and start + length <= command.expected_bytes
        self.solicited_bytes += length
        self._send_sequence(command, tag, r2t[20:24], start, length)

    def _send_sequence(
        self, command: Command, tag: int, transfer_tag: bytes, start: int, length: int
    ) -> None:
        for number, offset in enumerate(range(start, start + length, SEGMENT_BYTES)):
            end = min(offset + SEGMENT_BYTES, start + length)
            header = bytearray(BHS_BYTES)
            header[0], header[1] = DATA_OUT, FINAL if end == start + length else 0
            header[8:16] = command.lun.to_bytes(8, "big")
            header[16:20] = tag.to_bytes(4, "big")
            header[20:24] = transfer_tag
            header[28:32] = self._exp_stat_sn.to_bytes(4, "big")
            header[36:40] = number.to_bytes(4, "big")
            header[40:44] = offset.to_bytes(4, "big")
            self._send(header, command.data_out[offset:end])

    def _send(self, header: bytearray, data: bytes) -> None:
        header[5:8] = len(data).to_bytes(3, "big")
        self._socket.sendall(bytes(header) + data + bytes(-len(data) % 4))

    def _receive(self) -> tuple[bytes, bytes]:
        header, data = receive_pdu(self._socket)
        while header[0] == ASYNC_MESSAGE and header[36] == SCSI_EVENT:
            sense = data[2 : 2 + int.from_bytes(data[:2], "big")]
            self.events.append((header[9], sense[12], sense[13]))
            header, data = receive_pdu(self._socket)
        assert header[0] in (RESPONSE, DATA_IN, R2T), header.hex()
        return header, data

    def _completion(self, header: bytes, data: bytes, data_in: bytes) -> Completion:
        self._exp_stat_sn = int.from_bytes(header[24:28], "big") + 1
        is_response = header[0] == RESPONSE
        return Completion(
            response=header[2] if is_response else 0,
            status=header[3],
            residual_bits=header[1] & RESIDUAL_BITS,
            residual_count=int.from_bytes(header[44:48], "big"),
            sense=data[2:] if is_response else b"",
            data_in=data_in,
        )
