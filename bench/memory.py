"""What the maps of a very large, sparse volume take in memory."""

import re
import sys
from pathlib import Path
from typing import Any

from bench import clients
from bench.clients import Load
from bench.contenders import IQN, OneMember

TIB = 1 << 40
VOLUME_BYTES = 16 * TIB
# Each write hits another gibibyte: as scattered as writes can be.
STRIDE_BYTES = 1 << 30


class SparsePool(OneMember):
    """A pool over one sparse file member larger than the volume."""

    name = "sparse"


def run(directory: Path, backing: str) -> dict[str, Any]:
    """Resident memory of the daemon at four moments, in MiB."""
    print(f"  {backing}: memory for a volume of 16 TiB", file=sys.stderr, flush=True)
    pool = SparsePool(directory, VOLUME_BYTES)
    try:
        pool.start_daemon()
        moments = {"daemon": resident_mib(pool.pid)}
        member = f"{pool.directory}/member:{VOLUME_BYTES + TIB}"
        pool.daemon("pool", "create", "tank", "--level", "raid0", "--strip", "64KiB", member)
        pool.daemon("volume", "create", "tank/vol0", VOLUME_BYTES)
        pool.daemon("target", "create", IQN)
        pool.daemon("lun", "map", IQN, 0, "tank/vol0")
        pool.iscsi = (pool.daemon.address, IQN, 0)
        moments["with the volume"] = resident_mib(pool.pid)
        pool.daemon("snapshot", "create", "tank/vol0@whole")
        moments["with a full-range snapshot"] = resident_mib(pool.pid)
        stride = ("--stride", str(STRIDE_BYTES), "--once", "--seconds", "60")
        clients.own_report(pool, Load("write", "random"), *stride)
        moments["after 16384 scattered writes"] = resident_mib(pool.pid)
    finally:
        pool.stop()
    maps = moments["after 16384 scattered writes"] - moments["daemon"]
    values = {f"{name}, MiB": {"median": value} for name, value in moments.items()}
    values["maps, MiB"] = {"median": maps}
    return {"group": f"{backing}, memory", "case": "a sparse volume of 16 TiB", "values": values}


def resident_mib(pid: int) -> float:
    """VmRSS of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    assert found, status
    return int(found[1]) / 1024
