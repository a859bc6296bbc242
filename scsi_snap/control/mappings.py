"""Which LUNs show a volume or a snapshot: asked before anything is deleted."""

from __future__ import annotations

from scsi_snap.errors import Busy
from scsi_snap.inventory.records import LunRecord, State, TargetRecord


def of_volume(state: State, volume_id: str) -> list[tuple[TargetRecord, LunRecord]]:
    """LUNs of the volume itself and of its snapshots."""
    return [
        (target, lun)
        for target in state.targets.values()
        for lun in target.luns
        if lun.volume_id == volume_id
    ]


def of_origin(state: State, volume_id: str) -> tuple[str, ...]:
    found = of_volume(state, volume_id)
    return tuple(label(target, lun) for target, lun in found if not lun.snapshot_id)


def of_snapshot(state: State, volume_id: str, snapshot_id: str) -> tuple[str, ...]:
    found = of_volume(state, volume_id)
    return tuple(label(target, lun) for target, lun in found if lun.snapshot_id == snapshot_id)


def label(target: TargetRecord, lun: LunRecord) -> str:
    return f"{target.name} LUN {lun.lun}"


def refuse_in_use(found: list[tuple[TargetRecord, LunRecord]]) -> None:
    """Raises `Busy` naming the first LUN, if there is one."""
    for target, lun in found:
        raise Busy(
            f"{lun.backing} is in use: it is LUN {lun.lun} of {target.name}",
            f"`scsi-snap lun unmap {target.name} {lun.lun}` first",
        )
