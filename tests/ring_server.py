"""A handler in a process of its own, for a test that kills it: one volume behind one ring.

    python -m tests.ring_server DIRECTORY REGION REGION_BYTES DOORBELL

REGION and DOORBELL are inherited descriptors. It takes the ring as it stands, says "ready", then
does what its input says line by line, and says when it is done: "snapshot NAME"; "stop", which ends
it in order.
"""

from __future__ import annotations

import sys
from pathlib import Path
from uuid import UUID

from scsi_snap import _native
from scsi_snap.inventory.mode_files import ModeFile, boot
from scsi_snap.inventory.state_directory import StateDirectory
from scsi_snap.scsi import opcodes
from scsi_snap.scsi.identity import Identity, Personality
from scsi_snap.scsi.logical_unit import LogicalUnit
from scsi_snap.scsi.nexus import InitiatorPort, TargetPort
from scsi_snap.scsi.target import Target
from tests.native import MIB

POOL, VOLUME = "tank", "vol0"
MEMBERS, MEMBER_BYTES = 2, 32 * MIB
VOLUME_BYTES, BLOCK_BYTES, CHUNK_BYTES = 4 * MIB, 512, 16384
NEXUS = 1


def members(directory: Path) -> list[str]:
    return [str(directory / f"m{number}") for number in range(MEMBERS)]


def make_pool(runtime: _native.Runtime, directory: Path) -> None:
    """Mirrors of one another, and the volume in it."""
    sizes: list[tuple[str, int | None]] = [(path, MEMBER_BYTES) for path in members(directory)]
    pool = _native.Pool.create(runtime, POOL, "raid1", 65536, sizes)
    pool.create_volume(VOLUME, VOLUME_BYTES, BLOCK_BYTES, CHUNK_BYTES, "fail-write", None, {})
    pool.close()


def serve(directory: Path, region: int, region_bytes: int, doorbell: int) -> None:
    runtime = _native.Runtime(2)
    pool = _native.Pool.open(runtime, members(directory))
    device = pool.device(VOLUME, None)
    command_set = Target(TargetPort("iqn.2026-11.org.example:disk"), tells_resets=True)
    native = _native.Target(runtime, command_set)
    command_set.set_gate(native)
    native.map(0, device, 1, read_only=False)
    identity = Identity(UUID(int=1))
    modes = ModeFile(StateDirectory(directory / "state"), boot(), identity.uuid)
    command_set.add_unit(0, LogicalUnit(device, Personality(identity), modes=modes))
    command_set.nexus_begins(NEXUS, InitiatorPort("kernel target", bytes(6)), quietly=True)
    records, once = str(directory / "records"), opcodes.once_codes()
    ring = _native.Ring.attach(native, NEXUS, 0, region, region_bytes, doorbell, records, once)
    print("ready", flush=True)
    for line in sys.stdin:
        verb, *names = line.split()
        if verb == "snapshot":
            _native.Pool.create_snapshots([(pool, VOLUME, names[0], None)])
        if verb == "stop":
            ring.stop()
            pool.close()
            runtime.stop()
        assert ring.end_reason() is None or verb == "stop", ring.end_reason()
        print("done", flush=True)
        if verb == "stop":
            return


if __name__ == "__main__":
    serve(Path(sys.argv[1]), *map(int, sys.argv[2:5]))
