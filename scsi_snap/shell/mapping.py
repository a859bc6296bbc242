"""Mapping volumes and snapshots to LUNs: of one backing to any target, or the other way round."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from scsi_snap.shell.node import FLAG, Node, Offer, flag, named, number


def map_lun(
    node: Node,
    target: str,
    lun: str,
    backing: str,
    initiator: str | None,
    read_only: str,
    again: str,
) -> None:
    """`lun`: N or lunN. `initiator`: one or several with commas between; None: everybody."""
    lun_number = number("LUN", lun.removeprefix("lun"))
    initiators = initiator.split(",") if initiator else []
    body = {
        "backing": backing,
        "initiators": initiators,
        "read_only": flag(read_only),
        "again": flag(again),
    }
    answer = node.client.put("targets", target, "luns", lun_number, body=body)
    node.tell(answer, f"LUN {lun_number} of {target}: {backing}")


def unmap_lun(node: Node, target: str, lun: str, initiator: str | None = None) -> None:
    lun_number = number("LUN", lun.removeprefix("lun"))
    initiators = initiator.split(",") if initiator else None
    node.client.delete("targets", target, "luns", lun_number, initiator=initiators)
    node.shell.log.info(f"unmapped LUN {lun_number} of {target}")


def luns_of(node: Node, target: str) -> list[dict[str, Any]]:
    return [one for one in node.state.all("luns") if one["target"] == target]


def initiators_of(node: Node, target: str) -> list[str]:
    """Those that the target lists, and those that are logged in to it."""
    listed = [
        each["name"]
        for one in node.state.all("targets")
        if one["name"] == target
        for each in one["initiators"]
    ]
    return listed + [
        one["initiator"] for one in node.state.all("sessions") if one["target"] == target
    ]


def _luns(node: Node, parameters: Mapping[str, str]) -> Iterable[str]:
    return [str(one["lun"]) for one in luns_of(node, parameters.get("target", ""))]


def _initiators(node: Node, parameters: Mapping[str, str]) -> Iterable[str]:
    return initiators_of(node, parameters.get("target", ""))


MAPPING_OFFERS: dict[str, Offer] = {
    "target": named("targets"),
    "unmap.lun": _luns,
    "initiator": _initiators,
    "read_only": FLAG,
    "again": FLAG,
}
