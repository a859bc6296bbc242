"""How much is measured."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """`size_bytes` is that of a contender's unit, `snapshot_size_bytes` that of each volume of the
    snapshot rounds, which write each of its chunks once a round."""

    quick: bool
    rounds: int
    round_seconds: float
    size_bytes: int
    snapshot_size_bytes: int
    snapshot_rounds: int
    creates: int


QUICK = Scale(
    quick=True,
    rounds=5,
    round_seconds=0.3,
    size_bytes=256 << 20,
    snapshot_size_bytes=256 << 20,
    snapshot_rounds=4,
    creates=8,
)
FULL = Scale(
    quick=False,
    rounds=11,
    round_seconds=0.6,
    size_bytes=512 << 20,
    snapshot_size_bytes=512 << 20,
    snapshot_rounds=9,
    creates=24,
)
