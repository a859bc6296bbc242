"""`make lab`: runs the scenarios in guests with a real kernel, and ends with a table."""

import argparse
import compileall
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.lab import initramfs, kernel, scenarios
from tests.lab.guest import MACHINES, TREE
from tests.lab.scenarios import Laboratory, Outcome, Scenario

DIRECTORY = TREE / "build/lab"
PROGRAMS = ("setpriv", "modprobe", "depmod", "dpkg-deb", "apt-get")


def main() -> int:
    """Runs what was asked for; 0 where all of it passed."""
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        return run(options)
    except kernel.LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    parser.add_argument("--only", metavar="N[,N]", help="these scenarios, by number")
    parser.add_argument("--quick", action="store_true", help="what takes long, shortened")
    parser.add_argument("--processors", type=int, default=1, metavar="N", help="of the guest")
    parser.add_argument("--keep", action="store_true", help="keep logs and disks of what passed")
    parser.add_argument("--list", action="store_true", help="what each scenario will do")
    parser.add_argument("--shell", action="store_true", help="a shell in a guest, and nothing else")
    return parser.parse_args()


def run(options: argparse.Namespace) -> int:
    """The same, as the options say."""
    chosen = _chosen(options.only)
    if options.list:
        for one in chosen:
            print(f"{one.number:2}  {one.purpose}")
        return 0
    laboratory = _laboratory(options.quick, options.processors)
    if options.shell:
        return _shell(laboratory)
    outcomes = []
    for one in chosen:
        print(f"== {one.name}: {one.purpose}", flush=True)
        outcomes.append(laboratory.run(one))
        _tidy(laboratory.directory / one.name, outcomes[-1], keep=options.keep)
    print("\n" + table(outcomes))
    return 1 if any(outcome.failure for outcome in outcomes) else 0


def _chosen(only: str | None) -> list[Scenario]:
    known = scenarios.found()
    if only is None:
        return known
    wanted = [int(word) for word in only.split(",") if word.isdecimal()]
    unknown = set(only.split(",")) - {str(one.number) for one in known}
    if unknown:
        raise kernel.LabError(f"no such scenario: {', '.join(sorted(unknown))}; --list tells all")
    return [one for one in known if one.number in wanted]


def _laboratory(quick: bool, processors: int) -> Laboratory:
    machine = MACHINES.get(kernel.architecture(), ("qemu-system",))
    for program in (machine[0], *PROGRAMS):
        if shutil.which(program) is None:
            raise kernel.LabError(f"{program} is not installed; `make lab` installs what it needs")
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    # Compiled once here instead of once in each guest.
    compileall.compile_dir(TREE / "scsi_snap", quiet=2)
    fetched = kernel.fetched(DIRECTORY / "kernel")
    archive = DIRECTORY / "initramfs"
    archive.write_bytes(initramfs.built(fetched))
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:7.1f}  {line}", flush=True)

    return Laboratory(fetched, archive, DIRECTORY, quick, processors, say)


def _shell(laboratory: Laboratory) -> int:
    disks = scenarios.fresh_disks(laboratory.directory / "shell")
    guest = laboratory.guest("shell", ["true"], {"LAB_BOOT": "1"}, disks)
    guest.interactive = True
    print(f"a shell; `. {TREE}/vagrant/lab.sh` has the scenarios' functions; `exit` ends it")
    with guest:
        guest.wait()
    return 0


def _tidy(directory: Path, outcome: Outcome, *, keep: bool) -> None:
    if outcome.failure:
        print(f"FAILED: {outcome.failure}; kept: {directory}", flush=True)
    elif not keep:
        shutil.rmtree(directory)


def table(outcomes: Sequence[Outcome]) -> str:
    """One line a scenario, facts below it."""
    width = max(len(outcome.scenario.name) for outcome in outcomes)
    lines = [f"{'scenario':{width}}  result  seconds  facts"]
    for outcome in outcomes:
        result = "FAILED" if outcome.failure else "passed"
        facts = [*([outcome.failure] if outcome.failure else []), *outcome.facts] or [""]
        name = f"{outcome.scenario.name:{width}}"
        lines.append(f"{name}  {result}  {outcome.seconds:7.0f}  {facts[0]}")
        lines += [f"{'':{width + 19}}{fact}" for fact in facts[1:]]
    return "\n".join(lines)


sys.exit(main())
