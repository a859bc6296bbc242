"""The embedded portal's exporter: real logins over loopback, the command set, a fake fast path."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest

from scsi_snap.errors import InvalidArgument
from scsi_snap.inventory.exporter import Unit
from scsi_snap.inventory.portal_exporter import PortalExporter, parse_listen
from scsi_snap.inventory.records import ChapRecord, TargetRecord
from scsi_snap.iscsi.framing import PduReader
from scsi_snap.iscsi.pdu import LoginResponse
from scsi_snap.iscsi.status import LoginStatus
from scsi_snap.scsi import lun_address
from scsi_snap.scsi.nexus import InitiatorPort
from scsi_snap.scsi.target import Target
from tests.fakes import Disks, FakeDataPath, FakeDevice, FakeNativeTarget
from tests.t7_iscsi.initiator import DISK, INITIATOR, request

NAMES = [("InitiatorName", INITIATOR), ("TargetName", DISK), ("SessionType", "Normal")]
RECORD = TargetRecord(DISK, "id")
VOLUME, SNAPSHOT = UUID(int=1), UUID(int=2)
INQUIRY_SERIAL = bytes([0x12, 1, 0x80, 0, 255, 0])
INQUIRY_DEVICE = bytes([0x12, 1, 0x83, 0, 255, 0])
REPORT_LUNS = bytes([0xA0, 0, 2, 0, 0, 0, 0, 0, 1, 0, 0, 0])


class RecordingDataPath(FakeDataPath):
    """Keeps the command sets that targets are made with."""

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


def execute(command_set: Target, number: int, cdb: bytes) -> bytes:
    """Data-In of a command that needs no medium."""
    command_set.nexus_begins(7, InitiatorPort("iqn.2026-11.org.example:host", bytes(6)))
    status, _, data, _ = command_set.execute(7, lun_address.encode(number), cdb, 0, b"", 4096)
    assert status == 0
    return data


def luns(command_set: Target) -> list[int]:
    data = execute(command_set, 0, REPORT_LUNS)[8:]
    return [data[offset + 1] for offset in range(0, len(data), 8)]


def test_units_are_mapped_in_both_paths_and_taken_down() -> None:
    data_path = RecordingDataPath()
    exporter = PortalExporter(data_path)
    exporter.set_target(RECORD)
    exporter.map(DISK, 0, Unit("tank/vol0", device(), VOLUME))
    exporter.map(DISK, 300, Unit("tank/vol0@monday", device("monday"), SNAPSHOT))
    ((command_set, native),) = data_path.made
    assert set(native.luns) == {0, 0x412C << 48}
    assert len(command_set.luns()) == 2
    exporter.unmap(DISK, 0)
    assert set(native.luns) == {0x412C << 48} == set(command_set.luns())
    exporter.remove_target(DISK)
    assert native.luns == {} and command_set.luns() == []


def test_a_target_with_one_unit_at_two_luns_is_taken_down() -> None:
    data_path = RecordingDataPath()
    exporter = PortalExporter(data_path)
    exporter.set_target(RECORD)
    exporter.map(DISK, 0, Unit("tank/vol0", device(), VOLUME))
    exporter.map(DISK, 1, Unit("tank/vol0", device(), VOLUME))
    exporter.remove_target(DISK)
    ((command_set, native),) = data_path.made
    assert native.luns == {} and command_set.luns() == []


def test_a_snapshot_is_another_unit_and_a_volume_is_the_same_in_every_target() -> None:
    data_path = RecordingDataPath()
    exporter = PortalExporter(data_path)
    for name in (DISK, f"{DISK}2"):
        exporter.set_target(TargetRecord(name, "id"))
        exporter.map(name, 0, Unit("tank/vol0", device(), VOLUME))
        exporter.map(name, 1, Unit("tank/vol0@monday", device("monday"), SNAPSHOT))
    (first, native), (second, other) = data_path.made
    serials = [execute(one, lun, INQUIRY_SERIAL) for one in (first, second) for lun in (0, 1)]
    assert serials[0] == serials[2] != serials[1] == serials[3]
    assert execute(first, 0, INQUIRY_DEVICE) != execute(first, 1, INQUIRY_DEVICE)
    # One volume is one device, so that both targets see the same writes and the same limits.
    assert native.luns[0] is other.luns[0]
    exporter.remove_target(DISK)
    assert luns(second) == [0, 1]


def test_a_new_capacity_is_told_in_every_target_that_shows_the_unit() -> None:
    data_path = RecordingDataPath()
    exporter = PortalExporter(data_path)
    exporter.set_target(RECORD)
    exporter.map(DISK, 0, Unit("tank/vol0", device(), VOLUME))
    exporter.map(DISK, 1, Unit("tank/vol0@monday", device("monday"), SNAPSHOT))
    ((command_set, _),) = data_path.made
    command_set.nexus_begins(7, InitiatorPort("iqn.2026-11.org.example:host", bytes(6)))

    def ask(lun: int) -> tuple[int, bytes]:
        status, sense, *_ = command_set.execute(7, lun_address.encode(lun), bytes(6), 0, b"", 0)
        return status, sense[12:14]

    for lun in (0, 1):
        # Power on, and the list of units, which has grown.
        while ask(lun)[0]:
            pass
    exporter.capacity_changed(VOLUME)
    exporter.capacity_changed(UUID(int=3))
    assert [ask(0), ask(1), ask(0)] == [(2, b"\x2a\x09"), (0, b""), (0, b"")]


def in_loop(data_path: FakeDataPath, run: Callable[[PortalExporter], Awaitable[None]]) -> None:
    async def all_of_it() -> None:
        exporter = PortalExporter(data_path)
        exporter.set_target(RECORD)
        await exporter.start("127.0.0.1:0")
        try:
            async with asyncio.timeout(60):
                await run(exporter)
        finally:
            await exporter.stop_listening()
            await exporter.end_sessions(logout_wait_s=1)

    asyncio.run(all_of_it())


async def log_in(exporter: PortalExporter) -> tuple[int, asyncio.StreamReader]:
    """Status of a login without authentication, and the connection."""
    host, port = exporter.addresses()[0].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request(1, 3, NAMES).encode())
    pdus = PduReader(1 << 24)
    while (pdu := pdus.next_pdu()) is None:
        pdus.receive(await reader.read(4096))
    assert isinstance(pdu, LoginResponse)
    return pdu.status, reader


async def eventually(true: Callable[[], bool]) -> None:
    """Bounded by the test's own timeout."""
    while not true():
        await asyncio.sleep(0.01)


def test_a_session_is_listed_counted_and_closed() -> None:
    async def run(exporter: PortalExporter) -> None:
        status, reader = await log_in(exporter)
        assert status == LoginStatus.SUCCESS
        await eventually(lambda: len(exporter.sessions()) == 1)
        (session,) = exporter.sessions()
        assert (session.target, session.initiator) == (DISK, INITIATOR)
        assert session.address.startswith("127.0.0.1:")
        assert session.counters["commands"] == 3
        assert exporter.close_session(session.id)
        assert await reader.read() == b""
        assert exporter.sessions() == [] and not exporter.close_session(session.id)

    in_loop(FakeDataPath(Disks()), run)


def test_removing_a_target_ends_its_sessions() -> None:
    async def run(exporter: PortalExporter) -> None:
        _, reader = await log_in(exporter)
        await eventually(lambda: len(exporter.sessions()) == 1)
        exporter.remove_target(DISK)
        assert await reader.read() == b""
        assert (await log_in(exporter))[0] == LoginStatus.NOT_FOUND

    in_loop(FakeDataPath(Disks()), run)


def test_stopping_asks_initiators_to_log_out() -> None:
    async def run(exporter: PortalExporter) -> None:
        await log_in(exporter)
        await eventually(lambda: len(exporter.sessions()) == 1)
        await exporter.stop_listening()
        await exporter.end_sessions(logout_wait_s=1)
        assert exporter.sessions() == [] and exporter.addresses() == []

    in_loop(FakeDataPath(Disks()), run)


@pytest.mark.parametrize(
    ("record", "status"),
    [
        (RECORD, LoginStatus.SUCCESS),
        (TargetRecord(DISK, "id", initiators=(INITIATOR,)), LoginStatus.SUCCESS),
        (
            TargetRecord(DISK, "id", initiators=(f"{INITIATOR}2",)),
            LoginStatus.AUTHORIZATION_FAILURE,
        ),
        (TargetRecord(DISK, "id", chap=ChapRecord("u", "twelve bytes")), None),
    ],
)
def test_who_may_log_in_is_asked_at_each_login(
    record: TargetRecord, status: LoginStatus | None
) -> None:
    async def run(exporter: PortalExporter) -> None:
        exporter.set_target(record)
        got, _ = await log_in(exporter)
        assert got == status if status is not None else got != LoginStatus.SUCCESS

    in_loop(FakeDataPath(Disks()), run)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:3260", ("127.0.0.1", 3260)),
        ("[::1]:0", ("::1", 0)),
        (":3260", ("0.0.0.0", 3260)),
        ("host.example:1", ("host.example", 1)),
    ],
)
def test_addresses_are_parsed(text: str, address: tuple[str, int]) -> None:
    assert parse_listen(text) == address


@pytest.mark.parametrize("text", ["", "3260", "host", "host:", "host:x", "host:65536", "host:-1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_listen(text)
