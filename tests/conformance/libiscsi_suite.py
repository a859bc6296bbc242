"""libiscsi's `iscsi-test-cu`: its list of tests, and what each says of a logical unit.

Suite by suite, each in a process of its own with a time limit: some tests rely on those that ran
before them in their suite.
"""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SUITE_SECONDS = 180
FAMILY = "ALL"
"""The one of its families of suites that holds every test."""

SANITIZE, SANITIZE_WATCHED, MULTIPATH = "Sanitize", "Sanitize.Reset", "MultipathIO"
NOT_APPLICABLE = "n/a"
CRYPTO_ERASE = "Sanitize.CryptoErase"
HARMLESS_SUITES = ("ReadOnly", "Prin", "Prout", "Reserve6")
"""What these begin with may do what it wants on a unit that is write protected."""
WRITES_UNASKED = (
    "ProutReserve.Access",
    "WriteVerify10.Dpo",
    "WriteVerify12.Dpo",
    "WriteVerify16.Dpo",
)
"""What these begin with takes a refused write for a failure, and cannot be told not to write."""

# The outcome follows the dots, or stands on a line of its own after what the test said meanwhile,
# where `[FAILED]` tells of a command that failed as it ought to.
OUTCOME = re.compile(
    r"^  Test: (\S+) \.\.\.((?:|.*?^))(passed|FAILED)", flags=re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Unit:
    """A logical unit by its URL."""

    url: str
    other_url: str
    """Through another portal; the same where there is none."""
    writable: bool = True
    slow_url: str = ""
    """A unit of the same kind that is sanitized so slowly that it can be watched. Where there is
    none, nothing is sanitized."""


@dataclass(frozen=True)
class Report:
    """What one test came to, and what it said meanwhile."""

    name: str
    """Suite and test: `Read10.Simple`."""
    passed: bool
    words: str
    applies: bool = True

    @property
    def result(self) -> str:
        """Passed, failed, skipped: it, or a part of it, did not run; or not for such a unit."""
        if not self.applies:
            return NOT_APPLICABLE
        if not self.passed:
            return "failed"
        words = self.words
        if not self.name.startswith(CRYPTO_ERASE):
            # They try it among the other ways.
            words = words.replace("[SKIPPED] SANITIZE CRYPTO_ERASE", "")
        return "skipped" if "[SKIPPED]" in words else "passed"


def suites() -> dict[str, list[str]]:
    """The names of all tests, by suite, in the order in which they run."""
    answer = subprocess.run(
        ["iscsi-test-cu", "--list"], capture_output=True, text=True, check=False, timeout=60
    )
    found: dict[str, list[str]] = {}
    for line in (answer.stdout + answer.stderr).split():
        family, _, name = line.partition(".")
        suite, _, test = name.partition(".")
        if family == FAMILY and test:
            found.setdefault(suite, []).append(name)
    assert found, answer.stderr
    return found


def run_all(unit: Unit, directory: Path) -> dict[str, Report]:
    """Every test of every suite, by its name."""
    found = {}
    for suite, names in suites().items():
        # One of this suite's goes to a unit of its own.
        runs = [(name, [name]) for name in names] if suite == SANITIZE else [(suite, names)]
        for what, some in runs:
            found |= {report.name: report for report in run_suite(what, some, unit, directory)}
    return found


def run_suite(what: str, names: list[str], unit: Unit, directory: Path) -> Iterator[Report]:
    """The tests of one suite, or one of them. One that did not come to its end has failed."""
    command = ["iscsi-test-cu", "--verbose", f"--test={FAMILY}.{what}"]
    # On a unit that is write protected most tests that write take the refusal for a failure.
    if unit.writable or what.startswith(HARMLESS_SUITES):
        command.append("--dataloss")
    if unit.slow_url:
        command.append("--allow-sanitize")
    watched = what == SANITIZE_WATCHED and unit.slow_url
    command.append(watched or unit.url)
    # Other suites expect a second session that they have just made.
    if what == MULTIPATH:
        command.append(unit.other_url)
    log = directory / "said"
    with log.open("wb") as said:
        try:
            subprocess.run(
                command,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                timeout=SUITE_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            said.write(f"\nstopped after {SUITE_SECONDS} s\n".encode())
    words = log.read_text(errors="replace")
    ended = {test: (outcome == "passed", said) for test, said, outcome in OUTCOME.findall(words)}
    for name in names:
        passed, said = ended.get(name.partition(".")[2], (False, words))
        yield Report(name, passed, said, unit.writable or not name.startswith(WRITES_UNASKED))
