"""Side by side with another checkout of this project, such as that before a change.

`make bench-quick BENCH_OPTIONS="--before TREE"`: both daemons serve the same kind of unit at once
and take turns. Rounds are short and many, as what is looked for is a few per cent.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from bench import clients
from bench.comparison import OWN_LOADS_QUICK, result
from bench.contenders import OneMember
from bench.scale import Scale
from tests.daemon import Daemon

ROUNDS = 60
ROUND_SECONDS = 0.25


class DaemonOf(Daemon):
    """The daemon of a checkout that is built where it is, steered by its own command line."""

    def __init__(self, tree: Path, directory: Path) -> None:
        super().__init__(directory)
        self.tree = tree

    def __call__(self, *verb: object) -> str:
        """A verb that must succeed; what it printed."""
        return subprocess.run(
            [sys.executable, "-m", "scsi_snap", *map(str, verb)],
            cwd=self.tree,
            env={**os.environ, "SCSI_SNAP_SOCKET": str(self.socket)},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout


class Before(OneMember):
    """What the other checkout does."""

    name = "before"
    tree = Path()

    def make_daemon(self) -> Daemon:
        return DaemonOf(self.tree, self.directory)


def run(tree: Path, directory: Path, backing: str, scale: Scale) -> Iterator[dict[str, Any]]:
    """A result for each load of our own initiator; the baseline is the other checkout."""
    Before.tree = tree.resolve(strict=True)
    many = replace(scale, rounds=ROUNDS, round_seconds=ROUND_SECONDS)
    with ExitStack() as stack:
        contenders = [kind(directory, many.size_bytes) for kind in (Before, OneMember)]
        for one in contenders:
            stack.callback(one.stop)
            one.start()
            clients.fill(one)
        for load in OWN_LOADS_QUICK:
            runners = {
                one.name: partial(clients.own, one, load, seconds=many.round_seconds)
                for one in contenders
            }
            yield result(runners, "own initiator", backing, load, many)
