"""Which LUNs show a volume or a snapshot: asked before anything is deleted."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from scsi_snap.control.views import LunReference
from scsi_snap.errors import Busy
from scsi_snap.inventory.exporters import Exporters
from scsi_snap.inventory.records import LunRecord, State, TargetRecord

Mapped = list[tuple[TargetRecord, LunRecord]]

_NAMED_MAX = 8


def by_volume(state: State) -> dict[str, Mapped]:
    """The LUNs of each volume and of its snapshots, by the volume's UUID: for a list of volumes."""
    found: dict[str, Mapped] = {}
    for target in state.targets.values():
        for lun in target.luns:
            found.setdefault(lun.volume_id, []).append((target, lun))
    return found


def of_volume(state: State, volume_id: str) -> Mapped:
    """LUNs of the volume itself and of its snapshots."""
    targets = state.targets.values()
    return [(target, lun) for target in targets for lun in target.luns_of(volume_id)]


def references(mapped: Mapped, snapshot_id: str) -> tuple[LunReference, ...]:
    """Those of `mapped` that show this snapshot, or (empty) the volume itself: each number of a
    target once, to however many initiators it is shown."""
    return tuple(_distinct(one for one in mapped if one[1].snapshot_id == snapshot_id))


def refuse_shown(exporter: Exporters, name: str, uuid: str) -> None:
    """Raises `Busy` naming what shows that volume or snapshot beside the LUNs on record."""
    shown_by = exporter.in_use(UUID(uuid))
    if shown_by is not None:
        raise Busy(
            f"{name} is in use: {shown_by} shows it",
            "delete that where it was made, as by targetcli, first",
        )


def refuse_in_use(found: Mapped) -> None:
    """Raises `Busy` naming the LUNs, if there are any, and how to unmap them."""
    if not found:
        return
    by_backing: dict[str, Mapped] = {}
    by_target: dict[str, set[int]] = {}
    for target, lun in found:
        by_backing.setdefault(str(lun.backing), []).append((target, lun))
        by_target.setdefault(target.name, set()).add(lun.lun)
    shown = [
        f"{backing} is in use: it is {_listed(_distinct(mapped))}"
        for backing, mapped in by_backing.items()
    ]
    unmaps = [
        f"`scsi-snap lun unmap {target} {' '.join(map(str, sorted(luns)))}`"
        for target, luns in by_target.items()
    ]
    raise Busy("; ".join(_some(shown, "more in use")), f"{' and '.join(unmaps)} first")


def _distinct(mapped: Iterable[tuple[TargetRecord, LunRecord]]) -> list[LunReference]:
    return list(dict.fromkeys(LunReference(target.name, lun.lun) for target, lun in mapped))


def _listed(luns: list[LunReference]) -> str:
    return ", ".join(_some([f"LUN {one.lun} of {one.target}" for one in luns], "more"))


def _some(texts: list[str], more: str) -> list[str]:
    """The first of them: an error is to be read."""
    left = len(texts) - _NAMED_MAX
    return texts if left <= 0 else [*texts[:_NAMED_MAX], f"{left} {more}"]
