"""The table that is printed; the JSON has every round behind it."""

from collections.abc import Iterable
from typing import Any

HEADINGS = ("", "commands/s", "CPU us/command", "speed ratio", "CPU ratio")


def table(results: Iterable[dict[str, Any]]) -> str:
    """Medians, and in brackets the quartiles of ratios. Higher ratios are better, both of them."""
    lines: list[str] = []
    group = ""
    for result in results:
        if result["group"] != group:
            group = result["group"]
            lines += ["", f"== {group}"]
        lines += ["", result["case"]]
        lines += _rows(result["rows"]) if "rows" in result else _values(result["values"])
    return "\n".join(lines)


def _rows(rows: list[dict[str, Any]]) -> list[str]:
    cells = [
        HEADINGS,
        *(
            (
                row["contender"],
                f"{row['per_second']['median']:,.0f}",
                f"{row['cpu_us_per_command']['median']:.1f}",
                _ratio(row, "speed_ratio"),
                _ratio(row, "cpu_ratio"),
            )
            for row in rows
        ),
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADINGS))]
    return [
        "  "
        + line[0].ljust(widths[0])
        + "".join(
            "  " + text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True)
        )
        for line in cells
    ]


def _ratio(row: dict[str, Any], which: str) -> str:
    if which not in row:
        return "1"
    spread = row[which]
    return f"{spread['median']:.2f} ({spread['low']:.2f}-{spread['high']:.2f})"


def _values(values: dict[str, dict[str, float]]) -> list[str]:
    width = max(map(len, values))
    lines = []
    for name, numbers in values.items():
        more = ", ".join(f"{key} {value:.2f}" for key, value in numbers.items() if key != "median")
        lines.append(
            f"  {name.ljust(width)}  {numbers['median']:.2f}" + (f" ({more})" if more else "")
        )
    return lines
