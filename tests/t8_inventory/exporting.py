"""Real logins over loopback to an exporter with a fake fast path; what its views are."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from uuid import UUID

from scsi_snap.inventory.exporter import Unit
from scsi_snap.inventory.portal_exporter import PortalExporter
from scsi_snap.inventory.records import TargetRecord
from scsi_snap.inventory.units import Units
from scsi_snap.iscsi.framing import PduReader
from scsi_snap.iscsi.pdu import LoginResponse
from scsi_snap.iscsi.status import LoginStatus
from scsi_snap.scsi import lun_address
from scsi_snap.scsi.identity import Identity, Personality
from scsi_snap.scsi.target import Target
from tests.fakes import Disks, FakeDataPath, FakeDevice, FakeNativeSession, FakeNativeTarget
from tests.t6_scsi.bus import expecting
from tests.t7_iscsi.initiator import DISK, INITIATOR, ISID, request

VOLUME, OTHER, SNAPSHOT = UUID(int=1), UUID(int=2), UUID(int=3)
RECORD = TargetRecord(DISK, "id")
TEST_UNIT_READY = bytes(6)
INQUIRY_SERIAL = bytes([0x12, 1, 0x80, 0, 255, 0])
INQUIRY_DEVICE = bytes([0x12, 1, 0x83, 1, 255, 0])
MODE_SENSE = bytes([0x1A, 8, 0x3F, 0, 255, 0])
WRITE = bytes([0x2A, 0, 0, 0, 0, 0, 0, 0, 1, 0])
REPORT_LUNS = bytes([0xA0, 0, 2, 0, 0, 0, 0, 0, 1, 0, 0, 0])
GOOD, CHECK_CONDITION = 0, 2


class RecordingDataPath(FakeDataPath):
    """Keeps the targets that are made, each with its command set."""

    def __init__(self) -> None:
        super().__init__(Disks())
        self.made: list[tuple[Target, FakeNativeTarget]] = []

    def make_target(self, command_set: Target) -> FakeNativeTarget:
        native = FakeNativeTarget()
        self.made.append((command_set, native))
        return native


def device(snapshot: str | None = None) -> FakeDevice:
    pool = FakeDataPath(Disks(files={"/m": 1})).create_pool("tank", "raid0", 65536, [("/m", 1)])
    pool.create_volume("vol0", 1 << 20, 512, 65536, "drop-snapshot", None, {})
    pool.take("vol0", "monday", None, "g")
    return pool.device("vol0", snapshot)


def unit(uuid: UUID = VOLUME) -> Unit:
    personality = Personality(Identity(uuid))
    return Unit("tank/vol0", device("monday" if uuid == SNAPSHOT else None), uuid, personality)


@dataclass
class Path:
    """A session, as the command set and the fast path know it. Unit attentions of the start are
    taken away."""

    number: int
    command_set: Target
    native: FakeNativeTarget
    session: FakeNativeSession
    reader: asyncio.StreamReader
    begun_with: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    """By LUN, what was pending there."""

    def execute(self, lun: int, cdb: bytes, data_out: bytes = b"") -> tuple[int, bytes, bytes]:
        """Status, sense data, Data-In."""
        encoded = lun_address.encode(lun)
        done = self.command_set.execute(self.number, encoded, cdb, 0, data_out, expecting(data_out))
        return done[:3]

    def data(self, lun: int, cdb: bytes) -> bytes:
        status, sense, data = self.execute(lun, cdb)
        assert status == GOOD, sense.hex()
        return data

    def attention(self, lun: int) -> tuple[int, int] | None:
        """Additional sense of the next unit attention there."""
        status, sense, _ = self.execute(lun, TEST_UNIT_READY)
        return None if status == GOOD else (sense[12], sense[13])

    def attentions(self, lun: int) -> list[tuple[int, int]]:
        found = []
        while (one := self.attention(lun)) is not None:
            found.append(one)
        return found

    def luns(self) -> list[int]:
        data = self.data(0, REPORT_LUNS)[8:]
        return [data[offset + 1] for offset in range(0, len(data), 8)]

    @property
    def events(self) -> list[tuple[int, int, int]]:
        """LUN and additional sense of each Async Message."""
        return [(lun >> 48, sense[12], sense[13]) for lun, sense in self.session.events]


@dataclass
class Exporting:
    """An exporter that listens, and the connections to it."""

    exporter: PortalExporter
    data_path: RecordingDataPath

    @property
    def addresses(self) -> list[str]:
        return self.exporter.addresses()

    async def verb(self, call: Callable[..., object], *arguments: object) -> None:
        """A control verb, in a thread as all of them."""
        await asyncio.to_thread(call, *arguments)

    async def answer(
        self,
        initiator: str = INITIATOR,
        address: str | None = None,
        target: str = DISK,
        isid: bytes = ISID,
    ) -> tuple[LoginResponse, asyncio.StreamReader]:
        """A login in one request, without authentication."""
        host, port = (address or self.addresses[0]).rsplit(":", 1)
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        names = [("InitiatorName", initiator), ("TargetName", target), ("SessionType", "Normal")]
        writer.write(request(1, 3, names, isid=isid).encode())
        pdus = PduReader(1 << 24)
        while (pdu := pdus.next_pdu()) is None:
            data = await reader.read(4096)
            assert data, "hung up"
            pdus.receive(data)
        assert isinstance(pdu, LoginResponse)
        return pdu, reader

    async def status(self, *where: str) -> int:
        return (await self.answer(*where))[0].status

    async def path(
        self, initiator: str = INITIATOR, address: str | None = None, isid: bytes = ISID
    ) -> Path:
        """A session that has just logged in."""
        before = {one.id for one in self.exporter.sessions()}
        answer, reader = await self.answer(initiator, address, isid=isid)
        assert answer.status == LoginStatus.SUCCESS
        await eventually(lambda: {one.id for one in self.exporter.sessions()} - before)
        (number,) = {one.id for one in self.exporter.sessions()} - before
        session = self.exporter._sessions[number].native
        assert isinstance(session, FakeNativeSession)
        for command_set, native in self.data_path.made:
            if session in native.sessions:
                made = Path(number, command_set, native, session, reader)
                for number in map(lun_address.decode, command_set.luns()):
                    assert number is not None
                    made.begun_with[number] = made.attentions(number)
                return made
        raise AssertionError("no view has the session")


def free_address() -> str:
    """Of loopback. Nobody else takes it between this and its use: ports are given out in turn."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


async def eventually(true: Callable[[], object]) -> None:
    """Bounded by the test's own timeout."""
    while not true():
        await asyncio.sleep(0.01)


def exporting(
    run: Callable[[Exporting], Awaitable[None]],
    *,
    record: TargetRecord = RECORD,
    listen: tuple[str, ...] = ("127.0.0.1:0",),
) -> None:
    async def all_of_it() -> None:
        data_path = RecordingDataPath()
        exporter = PortalExporter(data_path, Units())
        exporter.set_target(record)
        await exporter.start(listen)
        try:
            async with asyncio.timeout(60):
                await run(Exporting(exporter, data_path))
        finally:
            await exporter.stop_listening()
            await exporter.end_sessions(logout_wait_s=1)

    asyncio.run(all_of_it())
