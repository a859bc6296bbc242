"""Points in time: taking snapshots, and what changed since one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scsi_snap.cli import render
from scsi_snap.cli.arguments import snapshot_parts
from scsi_snap.shell.node import Node, counted
from scsi_snap.units import parse_block_range


def snapshots_to_make(names: Sequence[str], blocks: str | None = None) -> dict[str, Any]:
    """The API's body; `blocks` is LBA+COUNT."""
    block_range = None
    if blocks is not None:
        first_lba, count = parse_block_range(blocks)
        block_range = {"first_lba": first_lba, "blocks": count}
    return {"snapshots": [{"name": name, "range": block_range} for name in names]}


def print_diff(node: Node, since: str, until: str | None) -> None:
    """What changed from one snapshot to another, or to now."""
    _print_extents(node, since, "diff", "changed", until=until)


def print_allocated(node: Node, name: str) -> None:
    """What is allocated of a snapshot."""
    _print_extents(node, name, "extents", "allocated")


def _print_extents(node: Node, name: str, of: str, what: str, **query: Any) -> None:
    """Page by page: there may be more extents than fit into memory."""
    node.say(f"{'LBA':>14} {'BLOCKS':>12} {'BYTES':>16}")
    extents = total = first_lba = 0
    while first_lba is not None:
        page = node.client.get("snapshots", *snapshot_parts(name), of, first_lba=first_lba, **query)
        for one in page["extents"]:
            node.say(f"{one['first_lba']:>14} {one['blocks']:>12} {one['bytes']:>16}")
            extents += 1
            total += one["bytes"]
        first_lba = page["next_lba"]
    node.say(f"{counted(extents, 'extent')}, {render.size(total)} {what}")
