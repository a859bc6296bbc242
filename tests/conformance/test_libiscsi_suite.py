"""Every test of libiscsi's suite against logical units of four personalities.

None may fail on any, and each must run to its end, unskipped, on one of them. docs/conformance.md
is the table; `make conformance` writes it anew.
"""

from pathlib import Path

import pytest

from tests.conformance.libiscsi_suite import Report, run_all, suites
from tests.conformance.page import PAGE, columns, table
from tests.conformance.personalities import PERSONALITIES, units

pytestmark = pytest.mark.conformance

CANNOT_RUN = {"Sanitize.CryptoErase": "volumes are not encrypted"}
Results = dict[str, dict[str, Report]]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """By personality and test."""
    directory = tmp_path_factory.mktemp("personalities")
    with units(directory) as found:
        return {personality: run_all(unit, directory) for personality, unit in found.items()}


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("personality", PERSONALITIES)
def test_nothing_fails(personality: str, results: Results) -> None:
    failed = {
        name: report.words
        for name, report in results[personality].items()
        if report.result == "failed"
    }
    assert failed == {}


def test_everything_runs_on_some_unit(results: Results) -> None:
    for names in suites().values():
        for name in names:
            found = {results[personality][name].result for personality in PERSONALITIES}
            assert ("passed" in found) != (name in CANNOT_RUN), f"{name}: {found}"


def test_the_table_is_the_documented_one(
    results: Results, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = table({kind: results[kind] for kind in PERSONALITIES})
    with capsys.disabled():
        print("\n" + "\n".join(found))
    assert columns(PAGE.read_text(), len(PERSONALITIES)) == columns("\n".join(found))
