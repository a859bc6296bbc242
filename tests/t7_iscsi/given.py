"""hypothesis' `given`, the same examples on every run and no clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis
from hypothesis.strategies import SearchStrategy


def given(*strategies: SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    quick = hypothesis.settings(deadline=None, derandomize=True, max_examples=150)

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        return quick(hypothesis.given(*strategies)(test))

    return decorate
