"""libiscsi's `iscsi-test-cu`: its list of tests, and what each says of a logical unit.

Suite by suite, each in a process of its own with a time limit: some tests rely on those that ran
before them in their suite.
"""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SUITE_SECONDS = 120
FAMILY = "ALL"
"""The one of its families of suites that holds every test."""

READ_ONLY_SUITES = ("ReadOnly",)
"""Those that need a unit that is write protected."""

# The outcome follows the dots, or stands on a line of its own after what the test said meanwhile,
# where `[FAILED]` tells of a command that failed as it ought to.
OUTCOME = re.compile(
    r"^  Test: (\S+) \.\.\.((?:|.*?^))(passed|FAILED)", flags=re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Unit:
    """A logical unit by the URLs of two portals; the same twice where there is one portal."""

    url: str
    other_url: str
    writable: bool = True


@dataclass(frozen=True)
class Report:
    """What one test came to, and what it said meanwhile."""

    name: str
    """Suite and test: `Read10.Simple`."""
    passed: bool
    words: str

    @property
    def result(self) -> str:
        """Passed, failed, or skipped: it, or a part of it, did not run."""
        if not self.passed:
            return "failed"
        return "skipped" if "[SKIPPED]" in self.words else "passed"


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
    return {
        report.name: report
        for suite, names in suites().items()
        for report in run_suite(suite, names, unit, directory)
    }


def run_suite(suite: str, names: list[str], unit: Unit, directory: Path) -> Iterator[Report]:
    """The tests of one suite. One that did not come to its end has failed."""
    command = ["iscsi-test-cu", "--verbose", f"--test={FAMILY}.{suite}"]
    # On a unit that is write protected most tests that write take the refusal for a failure.
    if unit.writable or suite in READ_ONLY_SUITES:
        command += ["--dataloss", "--allow-sanitize"]
    command += [unit.url, unit.other_url]
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
        yield Report(name, passed, said)
