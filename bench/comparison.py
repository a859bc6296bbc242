"""Side by side with tgt and nbdkit: the same client, the same backing."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from bench import clients
from bench.clients import Load
from bench.contenders import Contender
from bench.ratios import compare, interleave
from bench.scale import Scale

K256 = 256 << 10
OWN_LOADS = (
    Load("read", "random"),
    Load("write", "random"),
    Load("read", "sequential"),
    Load("write", "sequential"),
    Load("read", "random", depth=1),
    Load("write", "random", depth=1),
    Load("read", "sequential", depth=1),
    Load("write", "sequential", depth=1),
    Load("read", "sequential", block=K256, depth=8),
    Load("write", "sequential", block=K256, depth=8),
    Load("read", "random", sessions=4),
    Load("write", "random", sessions=4),
)
OWN_LOADS_QUICK = (OWN_LOADS[0], OWN_LOADS[1], OWN_LOADS[4], OWN_LOADS[8], OWN_LOADS[9])
QEMU_LOADS = (
    Load("read", "sequential"),
    Load("write", "sequential"),
    Load("read", "sequential", depth=1),
    Load("write", "sequential", depth=1),
    Load("read", "sequential", block=K256, depth=8),
    Load("write", "sequential", block=K256, depth=8),
)
QEMU_LOADS_QUICK = (QEMU_LOADS[0], QEMU_LOADS[1])
PERF_LOADS = (Load("read", "random"),)


def run(kinds: list[type[Contender]], directory: Path, backing: str, scale: Scale) -> Iterator[Any]:
    """Yields a result for each client and load."""
    with ExitStack() as stack:
        contenders = []
        for kind in kinds:
            contender = kind(directory, scale.size_bytes)
            stack.callback(contender.stop)
            contender.start()
            clients.fill(contender)
            contenders.append(contender)
        speaks_iscsi = [one for one in contenders if one.iscsi is not None]
        for load in OWN_LOADS_QUICK if scale.quick else OWN_LOADS:
            own = {
                one.name: partial(clients.own, one, load, seconds=scale.round_seconds)
                for one in speaks_iscsi
            }
            yield result(own, "own initiator", backing, load, scale)
        qemu_img = clients.QemuImg()
        for load in QEMU_LOADS_QUICK if scale.quick else QEMU_LOADS:
            qemu = {
                one.name: partial(qemu_img, one, load, seconds=scale.round_seconds)
                for one in contenders
            }
            yield result(qemu, "qemu-img bench", backing, load, scale)
        for load in PERF_LOADS:
            perf = {
                one.name: partial(clients.iscsi_perf, one, load, seconds=scale.round_seconds)
                for one in speaks_iscsi
            }
            yield result(perf, "iscsi-perf", backing, load, scale)


def result(runners: Any, client: str, backing: str, load: Load, scale: Scale) -> dict[str, Any]:
    """One client and load, on every contender."""
    print(f"  {backing}, {client}: {load}", file=sys.stderr, flush=True)
    # The first round of each warms caches and finds counts; nobody's is counted.
    interleave(runners, 1)
    results = interleave(runners, scale.rounds)
    return {
        "group": f"{backing}, {client}",
        "case": str(load),
        "rows": compare(results, baseline="tgt" if "tgt" in results else next(iter(results))),
    }
