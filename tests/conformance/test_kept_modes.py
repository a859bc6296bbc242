"""Mode parameters of a running daemon: what a kill -9 leaves of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.conftest import make_disk, make_pool
from tests.conformance.test_reservations import Node
from tests.daemon import Daemon
from tests.t6_scsi.modes import CACHING, NO_WCE
from tests.t6_scsi.wire import Command

pytestmark = pytest.mark.conformance

SENSE_CACHING = Command(0, bytes([0x1A, 0x08, 0x08, 0, 0xFF, 0]), True, 255)


def test_a_write_cache_that_is_switched_off_stays_off(daemon: Daemon, tmp_path: Path) -> None:
    make_pool(daemon, tmp_path)
    disk = make_disk(daemon)
    select = bytes(4) + NO_WCE
    command = Command(
        0, bytes([0x15, 0x10, 0, 0, len(select), 0]), False, len(select), select, len(select)
    )
    assert Node(daemon, "a").ready().wire.execute(command).status == 0
    daemon.kill()
    daemon.start()
    assert Node(daemon, "a").ready().wire.execute(SENSE_CACHING).data_in[4:] == NO_WCE
    daemon("lun", "unmap", disk.target, 0)
    daemon("lun", "map", disk.target, 0, disk.volume)
    assert Node(daemon, "a").ready().wire.execute(SENSE_CACHING).data_in[4:] == CACHING
