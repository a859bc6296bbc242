"""The embedded portals' exporter: sessions, targets and who may log in."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scsi_snap.inventory.records import (
    ChapRecord,
    InitiatorRecord,
    PortRecord,
    RedirectRecord,
    TargetRecord,
)
from scsi_snap.iscsi.status import LoginStatus
from scsi_snap.iscsi.text import decode_text
from tests.t7_iscsi.initiator import DISK, INITIATOR
from tests.t8_inventory.exporting import RECORD, Exporting, eventually, exporting, unit

BOTH = replace(RECORD, ports=(PortRecord(1, 1), PortRecord(2, 2)))
CHAP = ChapRecord("u", "twelve bytes")


def test_a_session_is_listed_counted_and_closed() -> None:
    async def run(at: Exporting) -> None:
        path = await at.path()
        (session,) = at.exporter.sessions()
        assert (session.target, session.initiator) == (DISK, INITIATOR)
        assert session.address.startswith("127.0.0.1:")
        assert (session.portal, session.portal_group_tag) == (at.addresses[0], 1)
        assert session.counters["commands"] == 3
        assert at.exporter.close_session(session.id)
        assert await path.reader.read() == b""
        assert at.exporter.sessions() == [] and not at.exporter.close_session(session.id)

    exporting(run)


def test_removing_a_target_ends_its_sessions() -> None:
    async def run(at: Exporting) -> None:
        at.exporter.map(DISK, 0, unit())
        path = await at.path()
        at.exporter.remove_target(DISK)
        assert await path.reader.read() == b""
        assert path.native.luns == {}
        assert await at.status() == LoginStatus.NOT_FOUND

    exporting(run)


def test_stopping_asks_initiators_to_log_out() -> None:
    async def run(at: Exporting) -> None:
        await at.path()
        await at.exporter.stop_listening()
        await at.exporter.end_sessions(logout_wait_s=1)
        assert at.exporter.sessions() == [] and at.addresses == []

    exporting(run)


@pytest.mark.parametrize(
    ("record", "status"),
    [
        (RECORD, LoginStatus.SUCCESS),
        (replace(RECORD, initiators=(InitiatorRecord(INITIATOR),)), LoginStatus.SUCCESS),
        (
            replace(RECORD, initiators=(InitiatorRecord(f"{INITIATOR}2"),)),
            LoginStatus.AUTHORIZATION_FAILURE,
        ),
        (replace(RECORD, chap=CHAP), LoginStatus.AUTHENTICATION_FAILURE),
        (
            replace(RECORD, initiators=(InitiatorRecord(INITIATOR, CHAP),)),
            LoginStatus.AUTHENTICATION_FAILURE,
        ),
        (replace(RECORD, ports=(PortRecord(2, 1),)), LoginStatus.NOT_FOUND),
        (
            replace(RECORD, redirect=RedirectRecord("192.0.2.1", 3260)),
            LoginStatus.TARGET_MOVED_TEMPORARILY,
        ),
    ],
)
def test_who_may_log_in_is_asked_at_each_login(record: TargetRecord, status: LoginStatus) -> None:
    async def run(at: Exporting) -> None:
        at.exporter.set_target(record)
        assert await at.status() == status

    exporting(run)


def test_who_is_no_longer_allowed_is_logged_out_and_nobody_else() -> None:
    async def run(at: Exporting) -> None:
        kept, ended = await at.path(), await at.path(f"{INITIATOR}2")
        at.exporter.set_target(replace(RECORD, initiators=(InitiatorRecord(INITIATOR),)))
        assert await ended.reader.read() == b""
        assert [one.id for one in at.exporter.sessions()] == [kept.number]

    exporting(run)


def test_a_target_that_leaves_a_group_ends_the_sessions_there() -> None:
    async def run(at: Exporting) -> None:
        at.exporter.set_target(BOTH)
        path = await at.path()
        at.exporter.set_target(replace(BOTH, ports=BOTH.ports[1:]))
        assert await path.reader.read() == b""
        assert await at.status() == LoginStatus.NOT_FOUND

    exporting(run)


def test_a_redirection_is_followed_to_where_it_leads() -> None:
    async def run(at: Exporting) -> None:
        here, there = at.addresses
        host, port = there.split(":")
        at.exporter.set_target(replace(RECORD, redirect=RedirectRecord(host, int(port), True)))
        answer, reader = await at.answer(address=here)
        assert answer.status == LoginStatus.TARGET_MOVED_PERMANENTLY
        assert decode_text(answer.data) == [("TargetAddress", there)]
        assert await reader.read() == b""
        assert await at.status(INITIATOR, there) == LoginStatus.SUCCESS

    exporting(run, listen=("127.0.0.1:0", "127.0.0.1:0"))


def test_views_that_nobody_uses_are_dropped() -> None:
    async def run(at: Exporting) -> None:
        at.exporter.map(DISK, 0, unit())
        path, other = await at.path(), await at.path(f"{INITIATOR}2")
        await at.verb(at.exporter.housekeep)
        assert path.native.luns and other.native.luns
        at.exporter.close_session(path.number)
        await eventually(lambda: len(at.exporter.sessions()) == 1)
        await at.verb(at.exporter.housekeep)
        assert path.native.luns == {} and path.command_set.luns() == []
        assert other.native.luns
        assert (await at.path()).luns() == [0]

    exporting(run)
