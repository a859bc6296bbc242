"""FORMAT UNIT and SANITIZE have the medium to themselves: what came before has ended by then.

The fast path's part, a WRITE that has passed its gate, is tested where it is (`logical_unit.rs`).
"""

import threading
from contextlib import ExitStack

import pytest

from scsi_snap.scsi.copy_list import THIS_UNIT
from tests.t6_scsi.bus import GOOD, make_bus
from tests.t6_scsi.fakes import MemoryDevice, SlowWriteDevice
from tests.t6_scsi.held import WAIT_S, held, wait_until_idle
from tests.t6_scsi.senses import FORMATTING, SANITIZING
from tests.t6_scsi.test_extended_copy import (
    LUN_1,
    Pair,
    blocks_segment,
    copy_list,
    extended_copy,
    naa_cscd,
)
from tests.t6_scsi.test_sanitize import BLOCK_ERASE, IMMED, READ_10, sanitize

WRITE_10 = [0x2A, 0, 0, 0, 0, 5, 0, 0, 1, 0]
FORMAT_IMMED = bytes([0, 0x82, 0, 0])
BEGINNINGS = [
    (sanitize(BLOCK_ERASE, flags=IMMED), b"", SANITIZING),
    ([0x04, 0x10, 0, 0, 0, 0], FORMAT_IMMED, FORMATTING),
]


def copy_to_lba_5() -> bytes:
    """One block, from the unit that the command is for to the one of a bus."""
    cscds = [naa_cscd(make_bus(MemoryDevice()).unit)]
    return copy_list(cscds, [blocks_segment(THIS_UNIT, 0, 1, 0, 5)])


COPY_LIST = copy_to_lba_5()
COPY = extended_copy(len(COPY_LIST))


@pytest.mark.parametrize(("change", "data_out"), [(WRITE_10, b"w" * 512), (COPY, COPY_LIST)])
@pytest.mark.parametrize(("cdb", "data", "in_progress"), BEGINNINGS)
def test_a_change_that_runs(
    cdb: list[int],
    data: bytes,
    in_progress: tuple[int, int, int],
    change: list[int],
    data_out: bytes,
) -> None:
    """It ends well, and nothing of it is left; neither of a copy from another unit."""
    device = SlowWriteDevice()
    bus = Pair(device=device).bus
    bus.clear_attentions(2, LUN_1)
    ended: list[int] = []

    def run() -> None:
        lun = LUN_1 if change is COPY else 0
        ended.append(bus.command(change, data_out, nexus=2, lun=lun)[0])

    bus.clear_attentions(2)
    writing = threading.Thread(target=run)
    writing.start()
    assert device.begun.wait(WAIT_S)
    device.calls.clear()
    with held(bus, "wait_for_writes") as fast_path, ExitStack() as stack:
        stack.callback(device.release.set)
        bus.good(cdb, data)
        # Others are refused already, so the wait comes to an end.
        assert bus.refused(READ_10)[2] == in_progress[0]
        assert bus.refused(WRITE_10, b"w" * 512)[2] == in_progress[0]
        assert not fast_path.is_reached(0.1)
        device.release.set()
        fast_path.reached()
        assert [call[1:] for call in device.calls] == [(5, 1)]
    writing.join(WAIT_S)
    wait_until_idle(bus)
    assert ended == [GOOD]
    assert not any(device.data)


@pytest.mark.parametrize(("cdb", "data", "in_progress"), BEGINNINGS)
def test_the_fast_path(cdb: list[int], data: bytes, in_progress: tuple[int, int, int]) -> None:
    """Its gate is closed before it is waited for, and nothing is erased before it has ended."""
    bus = make_bus(MemoryDevice())
    with held(bus, "wait_for_writes") as fast_path:
        bus.good(cdb, data)
        fast_path.reached()
        assert bus.gate.pending(1) and bus.gate.pending(2)
        assert bus.device.calls == []
        assert bus.refused(READ_10)[2] == in_progress[0]
    wait_until_idle(bus)
    assert not any(bus.device.data)
    assert not bus.gate.pending(1)
