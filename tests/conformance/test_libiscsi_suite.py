"""libiscsi's conformance suite, test by test, against one disk.

What the command set covers must pass; a test that says that such a command is not implemented has
found a hole, and fails. Other reasons to skip (removable media, say) are the suite's own affair.
"""

import re
import subprocess
from pathlib import Path

import pytest

from tests.conformance.conftest import Disk

TEST_SECONDS = 60

COMMAND_SUITES = (
    "SCSI.Inquiry",
    "SCSI.Mandatory",
    "SCSI.ModeSense6",
    "SCSI.Read6",
    "SCSI.Read10",
    "SCSI.Read12",
    "SCSI.Read16",
    "SCSI.ReadCapacity10",
    "SCSI.ReadCapacity16",
    "SCSI.ReportSupportedOpcodes",
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


def known_tests() -> list[str]:
    """Names of the form FAMILY.SUITE.TEST, as the installed suite lists them."""
    try:
        listing = subprocess.run(
            ["iscsi-test-cu", "-l"], capture_output=True, text=True, check=False, timeout=10
        ).stdout
    except FileNotFoundError:
        return ["iscsi-test-cu.is.missing"]
    names = re.findall(r"^\s*([\w-]+(?:\.[\w-]+){2})\s*$", listing, re.MULTILINE)
    return [name for name in names if name.rpartition(".")[0] in COMMAND_SUITES]


def run_one(name: str, url: str, directory: Path) -> str:
    """Runs one test that must pass; what it said."""
    answer = subprocess.run(
        ["iscsi-test-cu", "--dataloss", "--fail", "--verbose", f"--test={name}", url],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=TEST_SECONDS,
        check=False,
    )
    said = answer.stderr + answer.stdout
    # tests: total, ran, passed, failed, inactive
    summary = re.search(r"^\s*tests((?:\s+\d+){4})", said, re.MULTILINE)
    assert summary, f"no summary; exit {answer.returncode}\n{said}"
    total, ran, passed, failed = map(int, summary[1].split())
    assert (total, ran, passed, failed) == (1, 1, 1, 0), said
    assert answer.returncode == 0, said
    return said


def own_words(said: str) -> str:
    """What the test itself said, without what the suite asks before and after it."""
    words = re.search(r"^  Test: .*?\.\.\.(.*?)(?:passed|FAILED)", said, re.MULTILINE | re.DOTALL)
    assert words, said
    return words[1]


def holes(words: str) -> list[str]:
    """Commands that a test could not find, though the command set ought to have them."""
    missing = re.findall(r"\[SKIPPED\] (.*) is not implemented", words)
    return [name for name in missing if not name.upper().startswith(UNCOVERED)]


def test_the_suite_has_the_tests_we_count_on() -> None:
    suites = {name.rpartition(".")[0] for name in known_tests()}
    assert suites == set(COMMAND_SUITES)


@pytest.mark.conformance
@pytest.mark.parametrize("name", known_tests())
def test_suite(name: str, shared_disk: Disk, tmp_path: Path) -> None:
    words = own_words(run_one(name, shared_disk.url, tmp_path))
    assert holes(words) == []
    reasons = re.findall(r"\[SKIPPED\] (.*)", words)
    if reasons:
        pytest.skip(reasons[0])


@pytest.mark.conformance
def test_read_only_suite_on_a_snapshot(disk: Disk, tmp_path: Path) -> None:
    url = disk.map(1, disk.snapshot("fixed"))
    said = run_one("SCSI.ReadOnly.ReadOnlySBC", url, tmp_path)
    # It tries commands that we do not have yet, too; it must not skip for a writable medium.
    reasons = re.findall(r"\[SKIPPED\] (.*)", own_words(said))
    assert all(reason.endswith("is not implemented.") for reason in reasons)
