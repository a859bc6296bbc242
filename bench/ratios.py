"""Interleaved rounds, and what is fair to say about them.

Machines are shared and noisy, and drift within a minute. So contenders take turns, A B C A B C, and
each round of A is divided by the round of C beside it: the ratio is paired, the median is taken
over the rounds, and the quartiles say how far to trust it.
"""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bench.clients import Round

Runner = Callable[[], Round]


@dataclass(frozen=True)
class Spread:
    """Median and quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        """Of at least one value."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}-{self.high:.2f})"


def interleave(runners: Mapping[str, Runner], rounds: int) -> dict[str, list[Round]]:
    """All runners once, then all again, `rounds` times."""
    results: dict[str, list[Round]] = {name: [] for name in runners}
    for _ in range(rounds):
        for name, runner in runners.items():
            results[name].append(runner())
    return results


def compare(results: Mapping[str, list[Round]], baseline: str) -> list[dict[str, Any]]:
    """One row a contender: its medians, and its paired ratios to the baseline."""
    rows = []
    for name, rounds in results.items():
        row: dict[str, Any] = {
            "contender": name,
            "baseline": baseline,
            "per_second": asdict(Spread.of([one.per_second for one in rounds])),
            "cpu_us_per_command": asdict(
                Spread.of([1e6 * one.cpu_seconds / max(one.commands, 1) for one in rounds])
            ),
            "rounds": [asdict(one) for one in rounds],
        }
        if name != baseline and baseline in results:
            pairs = list(zip(rounds, results[baseline], strict=True))
            speed = [one.per_second / base.per_second for one, base in pairs]
            economy = [one.per_cpu_second / base.per_cpu_second for one, base in pairs]
            row["speed_ratio"] = asdict(Spread.of(speed))
            row["cpu_ratio"] = asdict(Spread.of(economy))
        rows.append(row)
    return rows
