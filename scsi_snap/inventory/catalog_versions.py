"""Older forms of the state, brought to the present one. Each step is a function of plain JSON; its
result goes through the same door as a state of today."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

VERSION: Final = 4
"""Of what is written."""


def upgraded(state: Any, version: int) -> Any:
    """`state` of that version, in the present form. Raises `ValueError` where it is malformed."""
    try:
        for step in _STEPS[version - 1 :]:
            state = step(state)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is no state of version {version} ({error!r})") from error
    return state


def _ports_portals_initiators(state: Any) -> Any:
    """1 to 2. A target had one portal group and no identifier of its own for the port; the targets
    get theirs in the order of the file. Initiators were names; LUNs were everybody's."""
    return {
        **state,
        "portals": [],
        "discovery_chap": None,
        "targets": [
            _target_of_version_1(target, number)
            for number, target in enumerate(state["targets"], start=1)
        ],
    }


def _target_of_version_1(target: Any, number: int) -> Any:
    kept = {key: value for key, value in target.items() if key != "portal_group_tag"}
    return {
        **kept,
        "ports": [{"tag": target["portal_group_tag"], "relative_identifier": number}],
        "initiators": [{"name": name, "chap": None} for name in target["initiators"]],
        "luns": [{**lun, "initiators": [], "read_only": False} for lun in target["luns"]],
        "redirect": None,
    }


def _ways(state: Any) -> Any:
    """2 to 3. The embedded portal was the only way to initiators."""
    return {
        **state,
        "portals": [{**portal, "via": "portal"} for portal in state["portals"]],
        "targets": [{**target, "via": "portal"} for target in state["targets"]],
    }


def _event_counts(state: Any) -> Any:
    """3 to 4. How far a pool had come was not kept: any members are taken once more."""
    return {**state, "pools": [{**pool, "event": 0} for pool in state["pools"]]}


_STEPS: Final[tuple[Callable[[Any], Any], ...]] = (_ports_portals_initiators, _ways, _event_counts)
"""The step from version n is at n - 1."""

assert len(_STEPS) == VERSION - 1
