"""Portals that come and go while the daemon runs, and those that cannot listen yet."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from scsi_snap.errors import Busy, Exists, IoFailed
from scsi_snap.inventory.portal_exporter import PortalExporter
from scsi_snap.inventory.records import PortalRecord
from scsi_snap.inventory.units import Units
from scsi_snap.iscsi.status import LoginStatus
from tests.fakes import Disks, FakeDataPath
from tests.t7_iscsi.initiator import INITIATOR
from tests.t8_inventory.exporting import RECORD, Exporting, exporting, free_address, unit


def test_a_portal_listens_at_once_and_its_sessions_outlive_it() -> None:
    async def run(at: Exporting) -> None:
        address = free_address()
        await at.verb(at.exporter.add_portal, PortalRecord(address, 1))
        assert address in at.addresses and len(at.addresses) == 2
        path = await at.path(address=address)
        await at.verb(at.exporter.remove_portal, address)
        assert address not in at.addresses
        with pytest.raises(ConnectionRefusedError):
            await at.status(INITIATOR, address)
        at.exporter.map(RECORD.name, 0, unit())
        assert path.luns() == [0] and len(at.exporter.sessions()) == 1
        assert not path.session.closed()

    exporting(run)


def test_portals_deleted_during_logins() -> None:
    """The logins end, whatever they had come to; other portals go on."""

    async def run(at: Exporting) -> None:
        async def hammer(address: str) -> None:
            with contextlib.suppress(OSError, AssertionError):
                while True:
                    await at.answer(f"{INITIATOR}.hammer", address)

        here = at.addresses[0]
        for _ in range(10):
            address = free_address()
            await at.verb(at.exporter.add_portal, PortalRecord(address, 1))
            hammering = [asyncio.create_task(hammer(address)) for _ in range(3)]
            await asyncio.sleep(0.005)
            await at.verb(at.exporter.remove_portal, address)
            await asyncio.gather(*hammering)
        assert await at.status(INITIATOR, here) == LoginStatus.SUCCESS
        # What was handed over is listed, each initiator port once a portal group.
        ports = [(one.initiator, one.portal_group_tag) for one in at.exporter.sessions()]
        assert len(ports) == len(set(ports)) <= 2

    exporting(run)


def test_the_same_address_twice() -> None:
    async def run(at: Exporting) -> None:
        (listening,) = at.addresses
        with pytest.raises(Exists, match="--listen"):
            await at.verb(at.exporter.add_portal, PortalRecord(listening, 1))
        with pytest.raises(Busy, match="--listen"):
            await at.verb(at.exporter.remove_portal, listening)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            with pytest.raises(IoFailed, match=address) as caught:
                await at.verb(at.exporter.add_portal, PortalRecord(address, 1))
            assert "portal create" in caught.value.hint
        assert at.addresses == [listening]

    exporting(run)


def test_a_portal_on_record_that_cannot_listen_is_tried_again() -> None:
    async def run() -> None:
        exporter = PortalExporter(FakeDataPath(Disks()), Units())
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            await exporter.start(["127.0.0.1:0"], [PortalRecord(address, 4)])
            silent = next(one for one in exporter.portals() if one.address == address)
            assert silent.on_record and address in silent.reason
            assert len(exporter.addresses()) == 1
            assert await asyncio.to_thread(exporter.housekeep) == []
        (listening,) = await asyncio.to_thread(exporter.housekeep)
        assert (listening.address, listening.portal_group_tag) == (address, 4)
        assert address in exporter.addresses()
        await exporter.stop_listening()

    asyncio.run(run())


def test_one_of_listen_that_cannot_listen_stops_the_start() -> None:
    async def run() -> None:
        exporter = PortalExporter(FakeDataPath(Disks()), Units())
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            with pytest.raises(IoFailed, match=address) as caught:
                await exporter.start(["127.0.0.1:0", address])
            assert "--listen" in caught.value.hint
        await exporter.stop_listening()
        assert exporter.addresses() == []

    asyncio.run(run())


def test_an_address_on_record_is_not_listened_on_twice() -> None:
    async def run() -> None:
        exporter = PortalExporter(FakeDataPath(Disks()), Units())
        address = free_address()
        await exporter.start([address], [PortalRecord(address, 2)])
        assert [(one.address, one.on_record) for one in exporter.portals()] == [(address, True)]
        await exporter.stop_listening()

    asyncio.run(run())
