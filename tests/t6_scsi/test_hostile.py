"""Arbitrary commands: a valid completion, always, and no harm to anybody else."""

import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from scsi_snap.scsi.opcodes import OPERATIONS
from tests.t6_scsi.bus import (
    BUSY,
    CHECK_CONDITION,
    CONDITION_MET,
    GOOD,
    RESERVATION_CONFLICT,
    expecting,
    make_bus,
)
from tests.t6_scsi.fakes import MemoryDevice

KNOWN_OPCODES = sorted({each.operation_code for each in OPERATIONS})
SMALL = st.integers(0, 80)


@st.composite
def cdbs(draw: st.DrawFn) -> bytes:
    """Mostly known opcodes with mostly small numbers, so that checks are got past."""
    opcode = draw(st.sampled_from(KNOWN_OPCODES) | st.integers(0, 255))
    byte = st.just(0) | SMALL | st.integers(0, 255)
    cdb = bytes([opcode, *draw(st.lists(byte, min_size=15, max_size=15))])
    return cdb[: draw(st.just(16) | st.integers(0, 16))]


lists = st.binary(max_size=64) | st.sampled_from([512, 1024, 4096]).map(bytes)


def check_completion(status: int, sense: bytes, data_in: bytes, wanted: int) -> None:
    assert wanted >= 0
    if status != CHECK_CONDITION:
        assert status in (GOOD, CONDITION_MET, BUSY, RESERVATION_CONFLICT)
        assert sense == b"" and (status == GOOD or data_in == b"")
        return
    assert data_in == b""
    if sense[0] in (0x70, 0xF0):
        assert len(sense) == 18 and sense[7] == 10
    else:
        assert sense[0] == 0x72 and len(sense) == 8 + sense[7]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.tuples(cdbs(), lists, st.integers(0, 1 << 64)), min_size=1, max_size=8))
def test_arbitrary_commands(commands: list[tuple[bytes, bytes, int]]) -> None:
    bus = make_bus(MemoryDevice(blocks=64))
    for cdb, data_out, lun in commands:
        for each_lun in (0, lun % (1 << 64)):
            check_completion(
                *bus.target.execute(1, each_lun, cdb, 1, data_out, expecting(data_out))
            )
    assert len(bus.device.data) == 64 * 512
    assert bus.refused([0] * 6, nexus=2)[12] == 0x29


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.sampled_from([(0x15, 4), (0x55, 8), (0x42, 8)]),
    st.binary(max_size=80),
    st.integers(-8, 8),
    st.booleans(),
)
def test_arbitrary_parameter_lists(
    command: tuple[int, int], body: bytes, slip: int, plausible: bool
) -> None:
    """MODE SELECT and UNMAP: the length of the CDB need not be that of the data."""
    opcode, header = command
    data = bytes(header) + body if plausible else body
    length = max(0, min(255, len(data) + slip))
    bus = make_bus(MemoryDevice(blocks=64))
    if opcode == 0x15:
        cdb = [opcode, 0x10, 0, 0, length, 0]
    else:
        cdb = [opcode, 0x10 if opcode == 0x55 else 0, 0, 0, 0, 0, 0, 0, length, 0]
    status, sense, data_in, wanted = bus.command(cdb, data)
    check_completion(status, sense, data_in, wanted)
    assert wanted == length


@st.composite
def copy_lists(draw: st.DrawFn) -> bytes:
    """Headers, descriptors and segments that are mostly plausible, with small numbers in them."""
    unit = make_bus(MemoryDevice(blocks=64)).unit
    naa = unit.personality.identity.naa
    cscd = bytes([0xE4, 0, 0, 0, 1, 3, 0, 8]) + naa.ljust(20, b"\0") + bytes([4, 0, 2, 0])
    small = st.integers(0, 70)
    data = bytearray()
    kinds = draw(st.lists(st.sampled_from([0x02, 0x0A]), max_size=4))
    for kind in kinds:
        segment = bytearray(28 if kind == 0x02 else 32)
        segment[0], segment[3] = kind, len(segment) - 4
        for byte in (5, 7, 11, 19, 27, *((29, 31) if kind == 0x0A else ())):
            segment[byte] = draw(st.sampled_from([0, 1])) if byte < 8 else draw(small)
        data += segment
    head = bytearray([draw(small), draw(st.sampled_from([0, 0x10])), 0, 32, *bytes(12)])
    head[8:12] = len(data).to_bytes(4, "big")
    whole = bytearray(head + cscd + data)
    for _ in range(draw(st.integers(0, 2))):
        whole[draw(st.integers(0, len(whole) - 1))] = draw(st.integers(0, 255))
    return bytes(whole)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(copy_lists(), st.sampled_from([0, 0, 0, -1, 1]))
def test_arbitrary_copies(data: bytes, slip: int) -> None:
    bus = make_bus(MemoryDevice(blocks=64))
    length = len(data) + slip
    cdb = [0x83, 0, *[0] * 8, *length.to_bytes(4, "big"), 0, 0]
    check_completion(*bus.command(cdb, data))
    assert len(bus.device.data) == 64 * 512
    for action in range(5):
        check_completion(*bus.command([0x84, action, data[0], *[0] * 9, 4, 0, 0, 0]))
    bus.good([0] * 6)


def test_several_threads() -> None:
    """Nexuses on threads of their own while the target changes: completions, and in the end no
    unit attention that nobody established and none lost."""
    bus = make_bus(MemoryDevice(blocks=64))
    failures: list[BaseException] = []

    def initiator(nexus: int) -> None:
        try:
            for step in range(200):
                lba = (nexus * 8 + step) % 64
                cdb = bytes([0x28, 0, *lba.to_bytes(4, "big"), 0, 0, 1, 0])
                status, sense, data_in, _ = bus.target.execute(
                    nexus, 0, cdb, 1, b"", expecting(b"")
                )
                check_completion(status, sense, data_in, 0)
                assert status == 2 or data_in == bus.device.filled(lba)
        except BaseException as failure:  # noqa: BLE001 - shown by the main thread
            failures.append(failure)

    def operator() -> None:
        try:
            for _ in range(50):
                bus.target.add_unit(1, bus.unit)
                bus.unit.capacity_changed()
                bus.target.remove_unit(1)
                bus.target.task_management(1, 0, 5)
        except BaseException as failure:  # noqa: BLE001 - shown by the main thread
            failures.append(failure)

    for nexus in (2, 3, 4):
        bus.begin(nexus)
    threads = [threading.Thread(target=initiator, args=(nexus,)) for nexus in (2, 3, 4)]
    threads.append(threading.Thread(target=operator))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for nexus in (1, 2, 3, 4):
        bus.clear_attentions(nexus)
        assert not bus.gate.pending(nexus)
