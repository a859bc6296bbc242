"""The same unit behind each transport: an iSCSI session, and a ring of the kernel's target.

Both have everything their own, with the same names in it, so that whatever a unit says of itself it
says twice alike. A command is put to both; what an initiator learns must be the same.
"""

from __future__ import annotations

import socket
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from scsi_snap import _native
from scsi_snap.iscsi.parameters import SessionParameters
from scsi_snap.scsi import opcodes
from scsi_snap.scsi.identity import Identity, Personality
from scsi_snap.scsi.logical_unit import LogicalUnit
from scsi_snap.scsi.nexus import TargetPort
from scsi_snap.scsi.target import Target
from tests.native import MIB, runtime, scratch
from tests.t6_scsi.bus import CHECK_CONDITION, GOOD, initiator
from tests.t6_scsi.fakes import MemoryEraser
from tests.t6_scsi.held import join_background
from tests.t6_scsi.wire import FIRST_BURST_BYTES, PARAMETERS, SEGMENT_BYTES, Command, NoText, Wire
from tests.tcmu_kernel import TcmuKernel

BLOCKS, BLOCK_BYTES = 300, 512
FIRST_NEXUS = 101
TEST_UNIT_READY = bytes(6)


class Unit:
    """A logical unit over a volume of its own, at LUN 0 of a target of its own."""

    def __init__(self, stack: ExitStack, nexus: int, blocks: int = BLOCKS) -> None:
        directory = Path(stack.enter_context(scratch()))
        members: list[tuple[str, int | None]] = [(str(directory / "m"), 64 * MIB)]
        pool = _native.Pool.create(runtime(), "tank", "raid0", 65536, members)
        stack.callback(pool.close)
        size = blocks * BLOCK_BYTES
        pool.create_volume("vol0", size, BLOCK_BYTES, 16384, "drop-snapshot", None, {})
        self.device = pool.device("vol0", None)
        self.device.write(0, bytes(n * 7 % 251 for n in range(size)))
        self.command_set = Target(TargetPort(PARAMETERS.target_name))
        self.native = _native.Target(runtime(), self.command_set)
        self.command_set.set_gate(self.native)
        self.native.map(0, self.device, nexus, read_only=False)
        self.unit = LogicalUnit(
            self.device, Personality(Identity(UUID(int=1))), eraser=MemoryEraser()
        )
        self.command_set.add_unit(0, self.unit)
        self.command_set.nexus_begins(nexus, initiator(1))
        self.directory, self.nexus = directory, nexus

    def session(self, stack: ExitStack, nexus: int, parameters: SessionParameters) -> Wire:
        """The initiator's end of a session of this nexus, which has begun."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            near = socket.create_connection(server.getsockname())
            far, _ = server.accept()
        session = self.native.adopt(far.detach(), nexus, parameters, NoText(), b"")
        stack.callback(session.wait_closed, 60.0)
        wire = Wire(near)
        stack.callback(wire.close)
        return wire

    def ring(self, stack: ExitStack) -> TcmuKernel:
        """The kernel's side of a ring of the unit's nexus."""
        kernel = stack.enter_context(TcmuKernel())
        ring = _native.Ring.attach(
            self.native,
            self.nexus,
            0,
            kernel.region,
            kernel.region_bytes,
            kernel.doorbell,
            str(self.directory / "records"),
            opcodes.once_codes(),
        )
        stack.callback(ring.stop)
        return kernel

    def contents(self) -> bytes:
        return self.device.read(0, self.device.size_bytes)


@dataclass
class Both:
    """The two, and what puts commands to them."""

    over_iscsi: Unit
    over_ring: Unit
    wire: Wire
    kernel: TcmuKernel

    def execute(self, cdb: bytes, *, data_out: bytes | None = None, room: int = 0) -> int:
        """The command on both; its status, and both have told the same. With None it has no
        Data-Out, and room for Data-In.
        """
        if data_out is None:
            command = Command(0, cdb, True, room)
        else:
            immediate = min(len(data_out), SEGMENT_BYTES, FIRST_BURST_BYTES)
            command = Command(0, cdb, False, len(data_out), data_out, immediate)
        session = self.wire.execute(command)
        assert session.response == 0
        join_background()
        ring = self.kernel.execute(cdb, data_out=data_out or b"", room=room)
        join_background()
        assert (ring.status, ring.sense.hex()) == (session.status, session.sense.hex())
        assert ring.data_in == data_in_of_a_ring(session.status, session.data_in, room)
        return session.status

    def settle(self) -> None:
        """Takes what is pending."""
        while self.execute(TEST_UNIT_READY) == CHECK_CONDITION:
            pass

    def same_contents(self) -> bool:
        return self.over_iscsi.contents() == self.over_ring.contents()


def data_in_of_a_ring(status: int, data: bytes, room: int) -> bytes:
    """What a ring gives where a session gives `data`: the kernel cannot be told that there is none,
    and takes the buffer, which then must hold nothing of a former command.
    """
    return data or bytes(room if status == GOOD else 0)


def both(stack: ExitStack) -> Both:
    session_unit, ring_unit = Unit(stack, FIRST_NEXUS), Unit(stack, FIRST_NEXUS + 1)
    wire = session_unit.session(stack, session_unit.nexus, PARAMETERS)
    kernel = ring_unit.ring(stack)
    made = Both(session_unit, ring_unit, wire, kernel)
    made.settle()
    return made
