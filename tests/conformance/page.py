"""docs/conformance.md: each test of libiscsi's suite, on units of ours and on one of tgt's.

`python -m tests.conformance.page` runs them all and writes the page.
"""

import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.conformance.libiscsi_suite import NOT_APPLICABLE, Report, Unit, run_all

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"
HEAD = """\
# Conformance

Every test of libiscsi's `iscsi-test-cu` (Debian's libiscsi-bin), on a logical unit of each
personality and, in the same run, on Debian's tgt. *skipped*: the test says that it, or a part of
it, does not apply. *n/a*: it must write to pass, and a unit that is write protected refuses.
Written by `make conformance`; `make test` runs our columns again and compares.

"""
Columns = Mapping[str, Mapping[str, Report]]


def table(found: Columns) -> list[str]:
    """The lines of a Markdown table: a test a line, a unit a column; and the sums."""
    kinds = list(found)
    lines = [_row(["test", *kinds]), _row(["---"] * (len(kinds) + 1))]
    names = list(next(iter(found.values())))
    lines += [_row([name, *(found[kind][name].result for kind in kinds)]) for name in names]
    for result in ("passed", "skipped", NOT_APPLICABLE, "failed"):
        counts = [sum(each.result == result for each in found[kind].values()) for kind in kinds]
        lines.append(_row([f"**{result}**", *map(str, counts)]))
    return lines


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def columns(text: str, count: int | None = None) -> list[list[str]]:
    """The cells of a page's table; of the first `count` units, where not of all."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [row[: count + 1] if count else row for row in rows]


def main() -> None:
    """Writes the page. tgt is left out where it is not installed."""
    from tests.conformance.personalities import units

    found: dict[str, Mapping[str, Report]] = {}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with units(directory) as ours:
            found |= {kind: run_all(unit, directory) for kind, unit in ours.items()}
        if shutil.which("tgtd"):
            found["tgt"] = run_tgt(directory)
        else:
            print("tgtd is not installed: its column is left out", file=sys.stderr)
    PAGE.write_text(HEAD + "\n".join(table(found)) + "\n")


def run_tgt(directory: Path) -> dict[str, Report]:
    """The suite against a thin unit of tgt's."""
    from bench.contenders import Tgt

    tgt = Tgt(directory, 64 << 20)
    tgt.start()
    try:
        tgt.make_thin()
        return run_all(Unit(tgt.url, tgt.url), directory)
    finally:
        tgt.stop()


if __name__ == "__main__":
    main()
