"""Scenarios and how one is run: a fresh guest each, and the guest again after a cut or a restart.

A scenario is a script in `vagrant/scenarios`, `NN-name.sh`. Its first line after `#!` is "# This
scenario will ...". It passes by ending with 0. Lines that it prints for the runner:

    ::step TEXT         what it does now
    ::fact NAME VALUE   goes into the table
    ::power-cut         the machine is ended at once and booted again, LAB_BOOT counted up
    ::restart           the same, for a restart that the script has prepared

Among the first lines `# Time limit: SECONDS` is for all of its boots, on a slow host, and
`# Clock: counts instructions` for one that measures: what it finds does not depend on the host
then. It has LAB_COUNTED in its environment where that is so: with one processor.
"""

import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab.guest import TREE, Disk, Guest
from tests.lab.kernel import Kernel, LabError

SCRIPTS = TREE / "vagrant/scenarios"
BOOT_SECONDS = 240
DEFAULT_SECONDS = 600
MEMBER_DISKS = 4
MEMBER_BYTES = 1 << 30
STATE_BYTES = 256 << 20
BOOTS_MAX = 10


@dataclass(frozen=True)
class Scenario:
    """One script."""

    number: int
    path: Path
    purpose: str
    limit_s: int
    counts_instructions: bool

    @property
    def name(self) -> str:
        return self.path.stem


@dataclass
class Outcome:
    """What came of it."""

    scenario: Scenario
    seconds: float = 0.0
    failure: str | None = None
    facts: list[str] = field(default_factory=list)


class _NotBootedError(Exception):
    """The guest ended, or took too long, before the scenario said anything."""


def found() -> list[Scenario]:
    """All of them, by number."""
    return [_read(path) for path in sorted(SCRIPTS.glob("[0-9][0-9]-*.sh"))]


def _read(path: Path) -> Scenario:
    head = path.read_text().splitlines()[:16]
    purpose = re.match(r"# (This scenario will .+)", head[1])
    if purpose is None:
        raise LabError(f"{path}: its second line does not begin with '# This scenario will '")
    limits = [int(said[1]) for line in head if (said := re.match(r"# Time limit: (\d+) s", line))]
    limit_s = limits[0] if limits else DEFAULT_SECONDS
    counts = "# Clock: counts instructions" in head
    return Scenario(int(path.name[:2]), path, purpose[1], limit_s, counts)


@dataclass
class Laboratory:
    """What all scenarios share."""

    kernel: Kernel
    initramfs: Path
    directory: Path
    quick: bool
    processors: int
    say: Callable[[str], None]

    def run(self, scenario: Scenario) -> Outcome:
        """Runs one in a machine of its own, whatever comes of it."""
        outcome = Outcome(scenario)
        began = time.monotonic()
        try:
            status = self._boots(scenario, outcome, began)
            if status != 0:
                outcome.failure = f"ended with {status}"
        except TimeoutError:
            outcome.failure = f"not done after {scenario.limit_s} s"
        except _NotBootedError:
            outcome.failure = "the guest did not boot; see console.log"
        outcome.seconds = time.monotonic() - began
        return outcome

    def _boots(self, scenario: Scenario, outcome: Outcome, began: float) -> int:
        disks = fresh_disks(self.directory / scenario.name)
        for boot in range(1, BOOTS_MAX + 1):
            counted = scenario.counts_instructions and self.processors == 1
            environment = {
                "LAB_BOOT": str(boot),
                "LAB_QUICK": "1" if self.quick else "",
                "LAB_COUNTED": "1" if counted else "",
            }
            command = [str(scenario.path)]
            guest = self.guest(scenario.name, command, environment, disks, counted)
            deadline = began + scenario.limit_s
            try:
                status = self._one_boot(guest, outcome, deadline)
            except _NotBootedError:
                self.say("the guest did not boot; once more")
                status = self._one_boot(guest, outcome, deadline)
            if status is not None:
                return status
        raise LabError(f"{scenario.name} asks for more than {BOOTS_MAX} boots")

    def guest(
        self,
        name: str,
        command: list[str],
        environment: dict[str, str],
        disks: list[Disk],
        counts_instructions: bool = False,
    ) -> Guest:
        """A machine for one scenario, not booted yet."""
        directory = self.directory / name
        return Guest(
            self.kernel,
            self.initramfs,
            directory,
            command,
            environment,
            disks,
            self.processors,
            counts_instructions,
        )

    def _one_boot(self, guest: Guest, outcome: Outcome, deadline: float) -> int | None:
        """The script's exit status, or None where it wants another boot."""
        booted = False
        with guest:
            try:
                for line in guest.lines(min(deadline, time.monotonic() + BOOT_SECONDS)):
                    if line == "::up":
                        booted = True
                        break
                for line in guest.lines(deadline) if booted else ():
                    word, _, rest = line.partition(" ")
                    if word == "::end":
                        return int(rest)
                    if word in ("::power-cut", "::restart"):
                        self.say(word.removeprefix("::"))
                        return None
                    if word == "::fact":
                        outcome.facts.append(rest)
                    self.say(line.removeprefix("::step "))
            except TimeoutError:
                if booted:
                    raise
        if not booted:
            raise _NotBootedError
        outcome.facts.append("the guest ended by itself: see console.log")
        return 1


def fresh_disks(directory: Path) -> list[Disk]:
    """Empty disks, as sparse files: four for members, one for what a machine keeps. In a directory
    that is made, and has nothing else in it."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    sizes = {f"member{number}": MEMBER_BYTES for number in range(MEMBER_DISKS)}
    sizes["state"] = STATE_BYTES
    disks = [Disk(serial, directory / f"{serial}.disk") for serial in sizes]
    for disk in disks:
        with disk.path.open("wb") as file:
            file.truncate(sizes[disk.serial])
    return disks
