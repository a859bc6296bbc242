"""A session that hammers a logical unit: I/O, reservations, task management, all at once.

It keeps a ledger of what must be answered. A command may stay without an answer only where a task
management function, or a PREEMPT AND ABORT, that reaches it ended after it was sent: with TAS zero
an aborted command says nothing (SAM-5, 5.5).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum

from scsi_snap.iscsi.framing import PduReader
from scsi_snap.iscsi.pdu import LoginResponse
from scsi_snap.iscsi.status import LoginStatus
from tests.t7_iscsi.initiator import CMD_SN, request

BHS_BYTES = 48
NO_TAG = 0xFFFF_FFFF
BLOCK_BYTES = 512
LBAS = 256
OUTSTANDING_MAX = 24
SEGMENT_BYTES = 8192

NOP_OUT, COMMAND, FUNCTION, DATA_OUT = 0x00, 0x01, 0x02, 0x05
NOP_IN, RESPONSE, FUNCTION_DONE, DATA_IN, R2T, EVENT = 0x20, 0x21, 0x22, 0x25, 0x31, 0x32
IMMEDIATE, FINAL, READ, WRITE, HAS_STATUS = 0x40, 0x80, 0x40, 0x20, 0x01

ABORT_TASK, ABORT_TASK_SET, CLEAR_TASK_SET, LUN_RESET, WARM_RESET = 1, 2, 4, 5, 6
GOOD, CHECK_CONDITION, CONFLICT = 0x00, 0x02, 0x18
SIMPLE, ORDERED, HEAD_OF_QUEUE = 1, 2, 3

PR_OUT = 0x5F
REGISTER, RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT_AND_ABORT, REGISTER_AND_IGNORE = range(7)


class Reach(Enum):
    """Whose commands the end of something may leave without an answer."""

    NOBODY = "nobody's"
    OWN = "its own session's"
    ALL = "everybody's"


REACH = {
    ABORT_TASK: Reach.OWN,
    ABORT_TASK_SET: Reach.OWN,
    CLEAR_TASK_SET: Reach.OWN,
    LUN_RESET: Reach.ALL,
    WARM_RESET: Reach.ALL,
}


@dataclass
class Ledger:
    """What every session of one hammering shares: a count of events, as a clock."""

    now: int = 0
    aborted_all: int = 0
    """When the last thing that reaches everybody ended."""

    def tick(self) -> int:
        """The next moment."""
        self.now += 1
        return self.now


@dataclass
class Sent:
    """A PDU that wants an answer."""

    at: int
    reach: Reach
    data_out: bytes = b""
    is_function: bool = False


@dataclass
class Session:
    """One session. `statuses` counts what its commands ended in."""

    ledger: Ledger
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    exp_stat_sn: int
    key: int
    dice: random.Random
    cmd_sn: int = CMD_SN
    exp_cmd_sn: int = CMD_SN
    max_cmd_sn: int = CMD_SN
    window: int = 0
    """How many commands may be in flight, as the login said."""
    tag: int = 0
    sent: dict[int, Sent] = field(default_factory=dict)
    aborted_own: int = 0
    statuses: dict[int, int] = field(default_factory=dict)
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    async def log_in(
        cls,
        ledger: Ledger,
        address: str,
        target: str,
        initiator: str,
        number: int,
        seed: int,
    ) -> Session:
        """A session in full-feature phase."""
        host, port = address.rsplit(":", 1)
        reader, writer = await asyncio.open_connection(host, int(port))
        keys = [
            ("InitiatorName", initiator),
            ("TargetName", target),
            ("SessionType", "Normal"),
            ("InitialR2T", "No"),
            ("ImmediateData", "Yes"),
            ("MaxRecvDataSegmentLength", str(SEGMENT_BYTES)),
        ]
        isid = b"\x80\0" + number.to_bytes(4, "big")
        writer.write(request(1, 3, keys, isid=isid).encode())
        pdus = PduReader(1 << 16)
        while (answer := pdus.next_pdu()) is None:
            received = await reader.read(4096)
            assert received, "the login was cut off"
            pdus.receive(received)
        assert isinstance(answer, LoginResponse)
        assert answer.status == LoginStatus.SUCCESS
        session = cls(ledger, reader, writer, answer.stat_sn + 1, number, random.Random(seed))
        session.max_cmd_sn = answer.max_cmd_sn
        session.window = answer.max_cmd_sn - answer.exp_cmd_sn + 1
        return session

    async def hammer(self, commands: int) -> None:
        """Sends so many commands and functions, and waits for all answers that must come."""
        for _ in range(commands):
            await self.until(lambda: self.room() > 0)
            self.send_anything()
            await self.writer.drain()
        await self.until(lambda: not self.owed())

    async def settle(self) -> None:
        """Waits until nothing holds a place in the command window any more."""
        while self.max_cmd_sn - self.exp_cmd_sn + 1 < self.window:
            self.send_nop()
            await self.until_answered(self.tag)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Takes what the target sends, meanwhile; what is wrong with it is raised here.

        For as long as the session is used: a PDU that was read in part is lost with the reader.
        """
        async with asyncio.TaskGroup() as tasks:
            listener = tasks.create_task(self.listen())
            yield
            listener.cancel()

    async def close(self) -> None:
        """Drops the connection."""
        self.writer.close()
        await self.writer.wait_closed()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits for answers until the condition holds."""
        while not condition():
            self.heard.clear()
            await self.heard.wait()

    async def until_answered(self, tag: int) -> None:
        """Waits for the answer to one PDU."""
        await self.until(lambda: tag not in self.sent)

    def room(self) -> int:
        """How many more commands may be sent now."""
        return min(self.max_cmd_sn - self.cmd_sn + 1, OUTSTANDING_MAX - len(self.owed()))

    def owed(self) -> list[int]:
        """Tags that must still be answered."""
        excused = max(self.ledger.aborted_all, self.aborted_own)
        return [tag for tag, sent in self.sent.items() if sent.is_function or sent.at > excused]

    def send_anything(self) -> None:
        """One of everything, I/O most of all."""
        roll = self.dice.randrange(100)
        if roll < 60:
            self.send_io()
        elif roll < 85:
            self.send_reservation()
        elif roll < 93:
            self.send_command(bytes([self.dice.choice([0x00, 0x12, 0x25])]).ljust(16, b"\0"))
        else:
            self.send_function()

    def send_io(self) -> None:
        blocks = self.dice.choice([1, 8, 32])
        lba = self.dice.randrange(LBAS)
        tail = lba.to_bytes(4, "big") + bytes([0, 0, blocks, 0])
        if self.dice.random() < 0.5:
            cdb = bytes([0x28, 0]) + tail
            self.send_command(cdb.ljust(16, b"\0"), reads=blocks * BLOCK_BYTES)
        else:
            cdb = bytes([0x2A, 0]) + tail
            self.send_command(cdb.ljust(16, b"\0"), self.dice.randbytes(blocks * BLOCK_BYTES))

    def send_reservation(self) -> None:
        if self.dice.random() < 0.3:
            cdb = bytes([self.dice.choice([0x16, 0x17])]).ljust(16, b"\0")
            return self.send_command(cdb)
        action = self.dice.choice(
            [REGISTER_AND_IGNORE, REGISTER, RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT_AND_ABORT]
        )
        kind = self.dice.choice([1, 3, 5, 6, 7, 8])
        cdb = bytes([PR_OUT, action, kind, 0, 0, 0, 0, 0, 24, 0]).ljust(16, b"\0")
        other = self.dice.randrange(1, 5)
        ours = self.key.to_bytes(8, "big")
        service = ours if action <= REGISTER or action == REGISTER_AND_IGNORE else other.to_bytes(8)
        reach = Reach.ALL if action == PREEMPT_AND_ABORT else Reach.NOBODY
        return self.send_command(cdb, ours + service + bytes(8), reach=reach)

    def send_command(
        self, cdb: bytes, data_out: bytes = b"", *, reads: int = 0, reach: Reach = Reach.NOBODY
    ) -> None:
        allocation = {0x12: 36, 0x25: 8}.get(cdb[0], 0)
        if cdb[0] == 0x12:
            cdb = bytes([0x12, 0, 0, 0, 36]).ljust(16, b"\0")
        reads = reads or allocation
        immediate = data_out[: self.dice.choice([0, 512, SEGMENT_BYTES])]
        attribute = self.dice.choice([SIMPLE] * 8 + [ORDERED, HEAD_OF_QUEUE])
        direction = WRITE if data_out else READ if reads else 0
        header = self.header(COMMAND, FINAL | direction | attribute)
        header[20:24] = (len(data_out) or reads).to_bytes(4, "big")
        header[32:48] = cdb
        self.number(header)
        self.send(header, immediate, Sent(self.ledger.tick(), reach, data_out))

    def send_function(self) -> None:
        weights = {ABORT_TASK: 8, ABORT_TASK_SET: 2, CLEAR_TASK_SET: 1, LUN_RESET: 2, WARM_RESET: 1}
        function = self.dice.choices(list(weights), list(weights.values()))[0]
        header = self.header(FUNCTION | IMMEDIATE, FINAL | function)
        header[24:28] = (self.cmd_sn & 0xFFFF_FFFF).to_bytes(4, "big")
        header[20:24] = NO_TAG.to_bytes(4, "big")
        if function == ABORT_TASK:
            commands = [tag for tag, sent in self.sent.items() if not sent.is_function]
            if commands:
                header[20:24] = self.dice.choice(commands).to_bytes(4, "big")
            header[32:36] = (self.cmd_sn & 0xFFFF_FFFF).to_bytes(4, "big")
        self.send(header, b"", Sent(self.ledger.tick(), REACH[function], is_function=True))

    def send_nop(self) -> None:
        header = self.header(NOP_OUT, FINAL)
        header[20:24] = NO_TAG.to_bytes(4, "big")
        self.number(header)
        self.send(header, b"", Sent(self.ledger.tick(), Reach.NOBODY))

    def header(self, opcode: int, flags: int) -> bytearray:
        header = bytearray(BHS_BYTES)
        header[0], header[1] = opcode, flags
        self.tag += 1
        header[16:20] = self.tag.to_bytes(4, "big")
        return header

    def number(self, header: bytearray) -> None:
        header[24:28] = (self.cmd_sn & 0xFFFF_FFFF).to_bytes(4, "big")
        self.cmd_sn += 1

    def send(self, header: bytearray, data: bytes, sent: Sent | None) -> None:
        header[5:8] = len(data).to_bytes(3, "big")
        header[28:32] = (self.exp_stat_sn & 0xFFFF_FFFF).to_bytes(4, "big")
        if sent is not None:
            self.sent[self.tag] = sent
        self.writer.write(bytes(header) + data + bytes(-len(data) % 4))

    async def listen(self) -> None:
        """Takes PDUs until it is cancelled."""
        while True:
            header = await self.reader.readexactly(BHS_BYTES)
            length = int.from_bytes(header[5:8], "big")
            data = await self.reader.readexactly(length + -length % 4)
            self.take(header, data[:length])
            self.heard.set()

    def take(self, header: bytes, data: bytes) -> None:
        opcode, tag = header[0] & 0x3F, int.from_bytes(header[16:20], "big")
        assert opcode in (NOP_IN, RESPONSE, FUNCTION_DONE, DATA_IN, R2T, EVENT), header.hex()
        self.exp_cmd_sn = int.from_bytes(header[28:32], "big")
        self.max_cmd_sn = int.from_bytes(header[32:36], "big")
        if opcode == R2T:
            return self.send_data_out(tag, header)
        ends = opcode != DATA_IN or bool(header[1] & HAS_STATUS)
        if ends or opcode == NOP_IN:
            self.exp_stat_sn = int.from_bytes(header[24:28], "big") + 1
        if opcode == EVENT or tag == NO_TAG or not ends:
            return None
        assert tag in self.sent, f"an answer that nobody waits for: {header.hex()}"
        self.ended(self.sent.pop(tag), opcode, header)
        return None

    def ended(self, sent: Sent, opcode: int, header: bytes) -> None:
        now = self.ledger.tick()
        if opcode in (RESPONSE, DATA_IN):
            status = header[3]
            assert status in (GOOD, CHECK_CONDITION, CONFLICT), header.hex()
            self.statuses[status] = self.statuses.get(status, 0) + 1
        if sent.reach is Reach.ALL:
            self.ledger.aborted_all = now
        elif sent.reach is Reach.OWN:
            self.aborted_own = now

    def send_data_out(self, tag: int, r2t: bytes) -> None:
        """What an R2T asks for; nothing more for a task that this side has forgotten."""
        start, length = (int.from_bytes(r2t[at : at + 4], "big") for at in (40, 44))
        data_out = self.sent[tag].data_out
        for number, offset in enumerate(range(start, start + length, SEGMENT_BYTES)):
            end = min(offset + SEGMENT_BYTES, start + length)
            header = bytearray(BHS_BYTES)
            header[0], header[1] = DATA_OUT, FINAL if end == start + length else 0
            header[16:20] = tag.to_bytes(4, "big")
            header[20:24] = r2t[20:24]
            header[36:40] = number.to_bytes(4, "big")
            header[40:44] = offset.to_bytes(4, "big")
            self.send(header, data_out[offset:end], None)
