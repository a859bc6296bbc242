"""How a verb ended, where it did not fail. A repeated verb ends as `Unchanged`.

Deleting what is not there is an error all the same (`NotFound`): a mistyped name must not look
like success. A caller that repeats a deletion whose answer it lost takes `not-found` as done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

View = TypeVar("View", covariant=True)


@dataclass(frozen=True)
class Created(Generic[View]):
    view: View


@dataclass(frozen=True)
class Changed(Generic[View]):
    view: View


@dataclass(frozen=True)
class Unchanged(Generic[View]):
    view: View


@dataclass(frozen=True)
class Deleted:
    """`goes`: what goes with it, in words. `planned`: it was only asked for, and nothing was done;
    what would have been refused was refused."""

    name: str
    goes: tuple[str, ...] = ()
    planned: bool = False
    left: tuple[str, ...] = ()
    """Files and devices that it used, which are left and free."""
