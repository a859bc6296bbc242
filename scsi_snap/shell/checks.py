"""The format checks' results, printed."""

from __future__ import annotations

from typing import Any

from scsi_snap.errors import Damaged
from scsi_snap.shell.node import Node, counted


def tell_problems(node: Node, results: list[dict[str, Any]]) -> None:
    """The command fails where there are some, so that a script notices."""
    for one in results:
        for problem in one["problems"] or ["clean"]:
            node.say(f"{one['volume']}: {problem}")
    problems = sum(len(one["problems"]) for one in results)
    if problems:
        raise Damaged(f"the check found {counted(problems, 'problem')}")
