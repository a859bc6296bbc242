"""`make bench` and `make bench-quick`: measure, print a table, write bench/results/*.json."""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import before, clients, comparison, control, memory, report, snapshots
from bench.contenders import CONTENDERS
from bench.scale import FULL, QUICK, Scale

RESULTS = Path(__file__).resolve().parent / "results"
BACKINGS = ("tmpfs", "disk")
PARTS = ("comparison", "snapshots", "memory", "control")


def main() -> int:
    """Runs the parts asked for; the exit code."""
    options = parse()
    scale = QUICK if options.quick else FULL
    kinds = [kind for kind in CONTENDERS if not options.only or kind.name in options.only]
    if not kinds:
        names = ", ".join(kind.name for kind in CONTENDERS)
        print(f"error: --only knows {names}", file=sys.stderr)
        return 2
    clients.build()
    results: list[dict[str, Any]] = []
    try:
        for backing in options.backing or (BACKINGS[:1] if scale.quick else BACKINGS):
            for part in options.part or (() if options.before else PARTS):
                with directory_on(backing) as directory:
                    results += measure(part, kinds, directory, backing, scale)
            if options.before:
                with directory_on(backing) as directory:
                    results += before.run(options.before, directory, backing, scale)
    finally:
        if results:
            print(report.table(results))
            print(f"\n{write(results, scale)}")
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a few minutes; on tmpfs unless --backing says otherwise",
    )
    parser.add_argument("--only", action="append", metavar="CONTENDER")
    parser.add_argument("--part", action="append", choices=PARTS)
    parser.add_argument(
        "--before", type=Path, metavar="TREE", help="compare with that built checkout instead"
    )
    parser.add_argument("--backing", action="append", choices=BACKINGS)
    return parser.parse_args()


def measure(
    part: str, kinds: list[Any], directory: Path, backing: str, scale: Scale
) -> Iterator[dict[str, Any]]:
    """The results of one part."""
    if part == "comparison":
        yield from comparison.run(kinds, directory, backing, scale)
    elif part == "snapshots":
        yield from snapshots.run(directory, backing, scale)
    elif part == "control":
        yield from control.run(directory, backing)
    elif backing == "tmpfs":
        # A file of 16 TiB is more than ext4 can have.
        yield memory.run(directory, backing)


@contextmanager
def directory_on(backing: str) -> Iterator[Path]:
    """A directory for backing files, removed with all that is in it."""
    RESULTS.mkdir(exist_ok=True)
    parent = Path("/dev/shm") if backing == "tmpfs" else RESULTS
    directory = Path(tempfile.mkdtemp(prefix="scsi-snap-bench-", dir=parent))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def write(results: list[dict[str, Any]], scale: Scale) -> Path:
    """Writes all rounds as JSON; the file's path."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    path = RESULTS / f"{stamp}-{'quick' if scale.quick else 'full'}.json"
    about = {
        "at": stamp,
        "kernel": platform.release(),
        "cores": os.cpu_count(),
        "scale": vars(scale),
    }
    path.write_text(json.dumps({"about": about, "results": results}, indent=1) + "\n")
    return path


if __name__ == "__main__":
    sys.exit(main())
