"""Four sessions of two initiators hammer one logical unit: no command stays without an answer.

`SCSI_SNAP_HAMMER` is how many commands each session sends; some fifty thousand take a minute.
"""

import asyncio
import os
from contextlib import AsyncExitStack

import pytest

from tests.conformance.conftest import Disk
from tests.conformance.hammer import CHECK_CONDITION, CONFLICT, GOOD, Ledger, Session

COMMANDS = int(os.environ.get("SCSI_SNAP_HAMMER", "2000"))
INITIATORS = ("iqn.2026-11.org.example:host1", "iqn.2026-11.org.example:host2")
ANSWER_SECONDS = 60 + COMMANDS / 100


async def hammer(disk: Disk) -> list[dict[int, int]]:
    ledger = Ledger()
    sessions = [
        await Session.log_in(
            ledger, disk.daemon.address, disk.target, INITIATORS[number % 2], number + 1, number
        )
        for number in range(4)
    ]
    try:
        async with asyncio.timeout(ANSWER_SECONDS), AsyncExitStack() as listening:
            for session in sessions:
                await listening.enter_async_context(session.listening())
            await asyncio.gather(*(session.hammer(COMMANDS) for session in sessions))
            # An aborted command that still held its place would leave the window narrower.
            for session in sessions:
                await session.settle()
    except TimeoutError:
        owed = [[session.sent[tag] for tag in session.owed()] for session in sessions]
        pytest.fail(f"not answered: {owed}")
    finally:
        for session in sessions:
            await session.close()
    return [session.statuses for session in sessions]


@pytest.mark.conformance
@pytest.mark.timeout(ANSWER_SECONDS * 2)
def test_every_command_is_answered(disk: Disk) -> None:
    statuses = asyncio.run(hammer(disk))
    # It hammered: I/O went through, and met reservations and unit attentions.
    for seen in statuses:
        assert {GOOD, CHECK_CONDITION, CONFLICT} <= seen.keys(), statuses
