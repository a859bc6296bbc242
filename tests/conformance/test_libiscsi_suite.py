"""libiscsi's conformance tests, suite by suite, against one disk.

What the command set covers must pass; a test that says that such a command is not implemented has
found a hole, and fails. Other reasons to skip (removable media, say) are the suite's own affair.
"""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conformance.conftest import Disk

SUITE_SECONDS = 120

COMMAND_SUITES = (
    "SCSI.Inquiry",
    "SCSI.Mandatory",
    "SCSI.ModeSense6",
    "SCSI.PrinReadKeys",
    "SCSI.PrinReportCapabilities",
    "SCSI.PrinServiceactionRange",
    "SCSI.ProutClear",
    "SCSI.ProutPreempt",
    "SCSI.ProutRegister",
    "SCSI.ProutReserve",
    "SCSI.Read6",
    "SCSI.Read10",
    "SCSI.Read12",
    "SCSI.Read16",
    "SCSI.ReadCapacity10",
    "SCSI.ReadCapacity16",
    "SCSI.ReportSupportedOpcodes",
    "SCSI.Reserve6",
    "SCSI.StartStopUnit",
    "SCSI.TestUnitReady",
    "SCSI.Unmap",
    "SCSI.Verify10",
    "SCSI.Verify12",
    "SCSI.Verify16",
    "SCSI.Write10",
    "SCSI.Write12",
    "SCSI.Write16",
    "SCSI.WriteSame10",
    "SCSI.WriteSame16",
    "iSCSI.iSCSIResiduals",
    "iSCSI.iSCSITMF",
    "iSCSI.iSCSIcmdsn",
    "iSCSI.iSCSIdatasn",
)
# Commands that the suites above touch and the command set does not have.
UNCOVERED = ("WRITEVERIFY", "WRITE VERIFY", "SANITIZE", "READDEFECTDATA")
# The outcome follows the dots, or stands on a line of its own after what the test said meanwhile,
# where `[FAILED]` tells of a command that failed as it ought to.
OUTCOME = re.compile(
    r"^  Test: (\S+) \.\.\.((?:|.*?^))(passed|FAILED)", flags=re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Report:
    """One test of a suite: `passed`, and what it said meanwhile."""

    name: str
    passed: bool
    words: str

    @property
    def skipped(self) -> list[str]:
        """Why it, or a part of it, did not run."""
        return re.findall(r"\[SKIPPED\] (.*)", self.words)

    @property
    def holes(self) -> list[str]:
        """Commands that it could not find, though the command set ought to have them."""
        missing = re.findall(r"\[SKIPPED\] (.*) is not implemented", self.words)
        return [name for name in missing if not name.upper().startswith(UNCOVERED)]


def run_suite(suite: str, url: str, directory: Path) -> list[Report]:
    """Every test of a suite, in one process: some of libiscsi's rely on what ran before them."""
    answer = subprocess.run(
        ["iscsi-test-cu", "--dataloss", "--verbose", f"--test={suite}", url],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=SUITE_SECONDS,
        check=False,
    )
    said = answer.stderr + answer.stdout
    found = OUTCOME.findall(said)
    # tests: total, ran, passed, failed, inactive
    summary = re.search(r"^\s*tests((?:\s+\d+){4})", said, re.MULTILINE)
    assert summary, f"no summary; exit {answer.returncode}\n{said}"
    total, ran = map(int, summary[1].split()[:2])
    assert total == ran == len(found) > 0, said
    return [Report(name, outcome == "passed", words) for name, words, outcome in found]


@pytest.mark.conformance
@pytest.mark.parametrize("suite", COMMAND_SUITES)
def test_suite(suite: str, shared_disk: Disk, tmp_path: Path) -> None:
    reports = run_suite(suite, shared_disk.url, tmp_path)
    assert [report.name for report in reports if not report.passed] == []
    assert [hole for report in reports for hole in report.holes] == []
    for report in reports:
        print(report.name, "passed" if not report.skipped else f"skipped: {report.skipped[0]}")


@pytest.mark.conformance
def test_read_only_suite_on_a_snapshot(shared_disk: Disk, tmp_path: Path) -> None:
    url = shared_disk.map(1, shared_disk.snapshot("fixed"))
    (report,) = run_suite("SCSI.ReadOnly", url, tmp_path)
    assert report.passed, report.words
    # It tries commands that we do not have yet, too; it must not skip for a writable medium.
    assert all(reason.endswith("is not implemented.") for reason in report.skipped)
