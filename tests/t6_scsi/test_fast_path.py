"""The fast path against the command set: the same commands end alike, whichever way they go.

Two native targets over equal volumes. One declines everything to Python, as a gate that nothing
opens has it; the other declines what it must, which is all but plain READs and WRITEs: between
those the other block commands change the same blocks.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scsi_snap import _native
from scsi_snap.scsi import (
    atomic_commands,
    cache_commands,
    capacity,
    defect_data,
    lun_address,
    provisioning,
    verify_commands,
)
from scsi_snap.scsi.cdb import ONLY_ZERO, Cdb, Field
from scsi_snap.scsi.identity import Identity, Personality
from scsi_snap.scsi.logical_unit import LogicalUnit
from scsi_snap.scsi.nexus import TargetPort
from scsi_snap.scsi.operation import Operation
from scsi_snap.scsi.sense import CheckCondition
from scsi_snap.scsi.target import Target
from tests.budget import budget
from tests.native import MIB, runtime, scratch
from tests.t6_scsi.bus import initiator
from tests.t6_scsi.wire import FIRST_BURST_BYTES, PARAMETERS, SEGMENT_BYTES, Command, NoText, Wire

FAST_NEXUS, SLOW_NEXUS = 1, 2
CHECK_CONDITION = 2
TEST_UNIT_READY = bytes(6)
UNITS = {0: ("small", None), 1: ("large", None), 2: ("small", "then")}
"""LUN to volume and snapshot."""
BLOCK_BYTES = {0: 512, 1: 4096, 2: 512}
BLOCKS = {0: 300, 1: 64, 2: 300}
THEN = (8, 100)
"""What the snapshot covers: first LBA and number of blocks."""
DATA_BYTES_MAX = 200_000
FAULTS = ["address", "count", "reserved", "length", "direction"]
FAR = [(1 << 21) - 1, (1 << 32) - 1, 1 << 32, (1 << 64) - 1]
BYTES = st.sampled_from([0, 0, 1, 4, 0x20, 0x80]) | st.integers(0, 255)
OPERATION_CODES = {(6, True): 0x08, (6, False): 0x0A, (10, True): 0x28, (10, False): 0x2A}
OPERATION_CODES |= {(12, True): 0xA8, (12, False): 0xAA, (16, True): 0x88, (16, False): 0x8A}

# What GET LBA STATUS says is the file system's affair, and may differ between equal volumes.
OTHERS = (
    *verify_commands.OPERATIONS,
    *cache_commands.OPERATIONS,
    *atomic_commands.OPERATIONS,
    *provisioning.OPERATIONS,
    *capacity.OPERATIONS,
    *defect_data.OPERATIONS,
)
COUNTS = {"transfer_length", "number_of_blocks", "prefetch_length"}
FILLS = [0, 7]
"""Few, so that what is compared is often equal."""


class CountingCommandSet:
    """A command set that counts what reaches it."""

    def __init__(self) -> None:
        self.target = Target(TargetPort(PARAMETERS.target_name))
        self.executed = 0

    def execute(
        self,
        nexus: int,
        lun: int,
        cdb: bytes,
        attribute: int,
        data_out: bytes,
        expected: tuple[int, int],
        repeated: bool = False,
    ) -> tuple[int, bytes, bytes, int]:
        self.executed += 1
        return self.target.execute(nexus, lun, cdb, attribute, data_out, expected, repeated)

    def task_management(self, nexus: int, lun: int, function: int) -> int:
        return self.target.task_management(nexus, lun, function)

    def nexus_lost(self, nexus: int) -> None:
        self.target.nexus_lost(nexus)


@dataclass
class Way:
    """One way to the medium: volumes, a target over them, a session with it."""

    command_set: CountingCommandSet
    native: _native.Target
    devices: dict[int, _native.Device]
    units: dict[int, LogicalUnit]
    session: _native.Session
    wire: Wire

    def contents(self) -> list[bytes]:
        return [self.devices[lun].read(0, self.devices[lun].size_bytes) for lun in (0, 1)]


def make_path(pool: _native.Pool, prefix: str, *, fast: bool) -> Way:
    for lun in (0, 1):
        name, size = f"{prefix}-{UNITS[lun][0]}", BLOCKS[lun] * BLOCK_BYTES[lun]
        pool.create_volume(name, size, BLOCK_BYTES[lun], 16384, "drop-snapshot", None, {})
        pool.device(name, None).write(0, bytes(n * 7 % 251 for n in range(size)))
    pool.create_snapshots([(pool, f"{prefix}-small", "then", THEN)])
    command_set = CountingCommandSet()
    native = _native.Target(runtime(), command_set)
    if fast:
        command_set.target.set_gate(native)
    devices, units = {}, {}
    for lun, (volume, snapshot) in UNITS.items():
        devices[lun] = pool.device(f"{prefix}-{volume}", snapshot)
        native.map(lun_address.encode(lun), devices[lun], 2 * lun + fast, read_only=False)
        units[lun] = LogicalUnit(devices[lun], Personality(Identity(UUID(int=lun + 1))))
        command_set.target.add_unit(lun, units[lun])
    nexus = FAST_NEXUS if fast else SLOW_NEXUS
    command_set.target.nexus_begins(nexus, initiator(nexus))
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    session = native.adopt(far.detach(), nexus, PARAMETERS, NoText(), b"")
    return Way(command_set, native, devices, units, session, Wire(near))


@dataclass
class Twins:
    fast: Way
    slow: Way

    def execute(self, command: Command) -> int:
        """The command on both; its status, and both have told the same."""
        fast, slow = self.fast.wire.execute(command), self.slow.wire.execute(command)
        assert fast == slow
        return fast.status

    def declined(self, command: Command) -> bool:
        """Whether the fast path left the command to Python; the other one must."""
        fast, slow = self.fast.command_set.executed, self.slow.command_set.executed
        self.execute(command)
        assert self.slow.command_set.executed == slow + 1
        return self.fast.command_set.executed != fast


@pytest.fixture(scope="module")
def twins() -> Iterator[Twins]:
    with ExitStack() as stack:
        directory = stack.enter_context(scratch())
        members: list[tuple[str, int | None]] = [(str(Path(directory) / "m"), 64 * MIB)]
        members.append((str(Path(directory) / "n"), 64 * MIB))
        pool = _native.Pool.create(runtime(), "tank", "raid0", 65536, members)
        stack.callback(pool.close)
        made = Twins(make_path(pool, "fast", fast=True), make_path(pool, "slow", fast=False))
        for path in (made.fast, made.slow):
            stack.callback(path.session.wait_closed, 60.0)
            stack.callback(path.wire.close)
        for lun in UNITS:
            ready = Command(lun_address.encode(lun), TEST_UNIT_READY, True, 0)
            while made.execute(ready) == CHECK_CONDITION:
                pass
        yield made


def make_cdb(
    size: int, reads: bool, lba: int, blocks: int, flags: int = 0, group: int = 0, control: int = 0
) -> bytes:
    """A READ or WRITE with numbers cut to what its fields hold."""
    code = bytes([OPERATION_CODES[size, reads]])
    if size == 6:
        low = (flags << 16 & 0xE0_0000 | lba & 0x1F_FFFF).to_bytes(3, "big")
        return code + low + bytes([blocks & 0xFF, control])
    lba_bytes = 8 if size == 16 else 4
    count_bytes = 2 if size == 10 else 4
    address = (lba & ((1 << 8 * lba_bytes) - 1)).to_bytes(lba_bytes, "big")
    count = (blocks & ((1 << 8 * count_bytes) - 1)).to_bytes(count_bytes, "big")
    middle = bytes([group]) + count if size == 10 else count + bytes([group])
    return code + bytes([flags]) + address + middle + bytes([control])


@st.composite
def commands(draw: st.DrawFn) -> Command:
    """A plain READ or WRITE, with up to two of the faults below."""
    number = draw(st.sampled_from([0, 0, 1, 1, 2]))
    block_bytes, end = BLOCK_BYTES[number], BLOCKS[number]
    size, reads = draw(st.sampled_from([6, 10, 12, 16])), draw(st.booleans())
    faults = draw(st.just(set()) | st.sets(st.sampled_from(FAULTS), max_size=2))
    lba, blocks = draw(st.integers(8, 40)), draw(st.integers(1, 20))
    flags, group, control = draw(st.sampled_from([0, 0x08, 0x10, 0x18])) if size > 6 else 0, 0, 0
    if "address" in faults:
        lba = draw(st.integers(end - 20, end + 1) | st.integers(0, 8) | st.sampled_from(FAR))
    if "count" in faults:
        blocks = draw(st.sampled_from([0, 41, 64, 256, 300, 0xFFFF, 0xFFFF_FFFF]))
    if "reserved" in faults:
        flags, group, control = draw(BYTES), draw(BYTES), draw(BYTES)
    moved = (256 if size == 6 and blocks & 0xFF == 0 else blocks) * block_bytes
    expected = moved
    if "length" in faults:
        near = [0, block_bytes, moved - block_bytes, moved + block_bytes, moved - 1, moved + 3]
        expected = draw(st.sampled_from(near) | st.integers(0, 2 * SEGMENT_BYTES))
    expected = min(max(expected, 0), DATA_BYTES_MAX)
    cdb = make_cdb(size, reads, lba, blocks, flags, group, control)
    lun = lun_address.encode(number)
    if reads != ("direction" in faults):
        return Command(lun, cdb, True, expected)
    fill = draw(st.integers(1, 255))
    data = bytes(fill ^ n & 0xFF for n in range(256)) * (expected // 256 + 1)
    room = min(expected, SEGMENT_BYTES, FIRST_BURST_BYTES)
    return Command(lun, cdb, False, expected, data[:expected], draw(st.sampled_from([0, room])))


@st.composite
def other_commands(draw: st.DrawFn) -> Command:
    """Any other block command, its fields drawn by its layout, with up to two of the faults."""
    number = draw(st.sampled_from([0, 0, 1, 1, 2]))
    operation = draw(st.sampled_from(OTHERS))
    faults = draw(st.just(set()) | st.sets(st.sampled_from(FAULTS), max_size=2))
    ranges = st.lists(st.tuples(st.integers(0, 70), st.integers(0, 9)), max_size=3)
    body = b"".join(
        lba.to_bytes(8, "big") + blocks.to_bytes(4, "big") + bytes(4)
        for lba, blocks in draw(ranges)
    )
    unmap_list = bytes(2) + len(body).to_bytes(2, "big") + bytes(4) + body
    cdb = (operation.operation_code << 8 | (operation.service_action or 0)) << (
        8 * operation.layout.length - 16
    )
    for field in operation.layout.fields:
        value = draw(values(field, faults, BLOCKS[number], len(unmap_list)))
        cdb |= (value & ((1 << field.width_bits) - 1)) << field.shift(operation.layout.length)
    raw = cdb.to_bytes(operation.layout.length, "big")
    wanted = data_out_of(operation, raw, BLOCK_BYTES[number])
    expected = wanted
    if "length" in faults:
        expected = draw(st.sampled_from([0, 512, wanted - 1, wanted + 1, 2 * wanted, 4096]))
    expected = min(max(expected, 0), DATA_BYTES_MAX)
    lun = lun_address.encode(number)
    if (wanted == 0) != ("direction" in faults):
        return Command(lun, raw, True, expected or 64)
    is_list = operation.name == "UNMAP"
    data = unmap_list if is_list else bytes([draw(st.sampled_from(FILLS))])
    room = min(expected, SEGMENT_BYTES, FIRST_BURST_BYTES)
    data = (data * (expected // len(data) + 1))[:expected]
    return Command(lun, raw, False, expected, data, draw(st.sampled_from([0, room])))


def values(field: Field, faults: set[str], end: int, list_length: int) -> st.SearchStrategy[int]:
    """What a field of another block command holds."""
    if field.name == "lba" and "address" in faults:
        return st.integers(end - 20, end + 1) | st.sampled_from(FAR)
    if field.name in COUNTS and "count" in faults:
        return st.sampled_from([0, 41, 64, 256, 300, 0xFFFF, 0xFFFF_FFFF])
    if field.name == "parameter_list_length":
        return st.just(list_length)
    if "reserved" in faults and field.name != "lba" and field.name not in COUNTS:
        return BYTES
    if field.values == ONLY_ZERO:
        return st.just(0)
    if field.values is not None:
        return st.sampled_from(sorted(field.values))
    small = {
        "lba": st.sampled_from([8, 16, 32]) | st.integers(8, 40),
        "allocation_length": st.sampled_from([0, 4, 12, 32, 255]),
        "atomic_boundary": st.sampled_from([0, 0, 8, 16]),
    }
    counts = st.sampled_from([8, 16]) | st.integers(1, 20)
    return counts if field.name in COUNTS else small.get(field.name, st.sampled_from([0, 0, 1]))


def data_out_of(operation: Operation, cdb: bytes, block_bytes: int) -> int:
    """The bytes that a command asks for; a block's where its CDB is refused."""
    try:
        return operation.data_out(Cdb(operation.layout, cdb), block_bytes)
    except CheckCondition:
        return block_bytes


def test_both_paths_end_every_block_command_alike(twins: Twins) -> None:
    @budget(examples=800, steps=1)
    @given(commands() | other_commands())
    def compare(command: Command) -> None:
        twins.execute(command)
        assert twins.fast.contents() == twins.slow.contents()

    before = twins.fast.command_set.executed, twins.slow.command_set.executed
    compare()
    fast = twins.fast.command_set.executed - before[0]
    slow = twins.slow.command_set.executed - before[1]
    # The search has had enough of both kinds.
    assert 0.1 * slow < fast < 0.9 * slow


@pytest.mark.parametrize("size", [6, 10, 12, 16])
@pytest.mark.parametrize("reads", [True, False])
@pytest.mark.parametrize("lun", [0, 1])
def test_plain_commands_take_the_fast_path(twins: Twins, size: int, reads: bool, lun: int) -> None:
    for flags in [0] if size == 6 else [0, 0x08, 0x10, 0x18]:
        cdb = make_cdb(size, reads, 3, 5, flags)
        length = 5 * BLOCK_BYTES[lun]
        data = b"" if reads else bytes([size, flags]) * (length // 2)
        command = Command(lun_address.encode(lun), cdb, reads, length, data)
        assert not twins.declined(command)
        if not reads:
            assert twins.fast.devices[lun].read(3 * BLOCK_BYTES[lun], length) == data
    assert twins.fast.contents() == twins.slow.contents()


@pytest.mark.parametrize(
    ("number", "cdb", "reads", "expected_bytes"),
    [
        (0, make_cdb(10, True, 0, 0), True, 0),
        (0, make_cdb(10, True, 299, 2), True, 1024),
        (0, make_cdb(10, True, 0, 2), True, 1023),
        (0, make_cdb(10, True, 0, 2, control=4), True, 1024),
        (0, make_cdb(10, True, 0, 2, group=1), True, 1024),
        (0, make_cdb(10, True, 0, 2, flags=0x20), True, 1024),
        (0, make_cdb(10, False, 0, 2), False, 512),
        (2, make_cdb(10, False, 8, 1), False, 512),
        (2, make_cdb(10, True, 0, 1), True, 512),
        (0, TEST_UNIT_READY, True, 0),
    ],
)
def test_what_is_not_plain_is_left_to_the_command_set(
    twins: Twins, number: int, cdb: bytes, reads: bool, expected_bytes: int
) -> None:
    data = b"" if reads else bytes(expected_bytes)
    command = Command(lun_address.encode(number), cdb, reads, expected_bytes, data)
    assert twins.declined(command)
    assert twins.fast.contents() == twins.slow.contents()


def test_a_snapshot_is_read_by_the_fast_path(twins: Twins) -> None:
    command = Command(lun_address.encode(2), make_cdb(16, True, 8, 4), True, 2048)
    assert not twins.declined(command)


@pytest.mark.parametrize("lun", [0, 1])
def test_both_paths_count_alike(twins: Twins, lun: int) -> None:
    """The statistics log page, after all that the tests above have done to the unit and some more:
    commands and blocks are the same in both; time is what each has taken.
    """
    for reads in (True, False):
        length = 5 * BLOCK_BYTES[lun]
        cdb, data = make_cdb(10, reads, 3, 5), b"" if reads else bytes(length)
        assert not twins.declined(Command(lun_address.encode(lun), cdb, reads, length, data))
    fast, slow = (counters(way, lun) for way in (twins.fast, twins.slow))
    assert fast[:4] == slow[:4] and min(fast[:4]) > 0
    assert min(fast[4:6] + slow[4:6]) > 0


def counters(way: Way, lun: int) -> list[int]:
    """General Access Statistics and Performance (SPC-4, 7.3.6.2)."""
    cdb = bytes([0x4D, 0, 0x40 | 0x19, 0, 0, 0, 0, 0, 255, 0])
    answer = way.wire.execute(Command(lun_address.encode(lun), cdb, True, 255))
    assert answer.status == 0
    return [int.from_bytes(answer.data_in[at : at + 8], "big") for at in range(8, 72, 8)]


@pytest.mark.parametrize("read_only", [True, False])
def test_a_personality_that_is_read_only(twins: Twins, read_only: bool) -> None:
    """Its READs stay fast; WRITEs are refused as soon as the verb has returned, and not after
    the one that takes it back.
    """
    lun = lun_address.encode(1)
    for way in (twins.fast, twins.slow):
        unit = way.units[1]
        unit.inquiry_changed(replace(unit.personality, read_only=read_only))
    data = bytes([1 + read_only]) * 4096
    write = Command(lun, make_cdb(10, False, 3, 1), False, 4096, data)
    while twins.execute(Command(lun, TEST_UNIT_READY, True, 0)) == CHECK_CONDITION:
        pass
    assert twins.declined(write) == read_only
    assert not twins.declined(Command(lun, make_cdb(10, True, 3, 1), True, 4096))
    assert (twins.fast.devices[1].read(3 * 4096, 4096) == data) != read_only
    assert twins.fast.contents() == twins.slow.contents()


def test_waiting_for_writes_ends_where_there_are_none(twins: Twins) -> None:
    twins.fast.devices[0].wait_for_writes()


def test_what_compare_and_write_leaves_is_read_by_both(twins: Twins) -> None:
    """Between WRITE and READ, which the fast path may do, comes what only the command set does."""
    lun = lun_address.encode(0)
    old, new = b"o" * 1024, b"n" * 1024
    compare = bytes([0x89, 0, *(12).to_bytes(8, "big"), 0, 0, 0, 2, 0, 0])
    assert not twins.declined(Command(lun, make_cdb(10, False, 12, 2), False, 1024, old))
    assert twins.declined(Command(lun, compare, False, 2048, old + new, 2048))
    assert twins.fast.devices[0].read(12 * 512, 1024) == new
    assert not twins.declined(Command(lun, make_cdb(10, True, 12, 2), True, 1024))
    assert twins.execute(Command(lun, compare, False, 2048, old + new)) == CHECK_CONDITION
    assert twins.fast.contents() == twins.slow.contents()
