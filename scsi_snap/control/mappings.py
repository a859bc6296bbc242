"""Which LUNs show a volume or a snapshot: asked before anything is deleted."""

from __future__ import annotations

from uuid import UUID

from scsi_snap.errors import Busy
from scsi_snap.inventory.exporters import Exporters
from scsi_snap.inventory.records import LunRecord, State, TargetRecord

Mapped = list[tuple[TargetRecord, LunRecord]]


def by_volume(state: State) -> dict[str, Mapped]:
    """The LUNs of each volume and of its snapshots, by the volume's UUID."""
    found: dict[str, Mapped] = {}
    for target in state.targets.values():
        for lun in target.luns:
            found.setdefault(lun.volume_id, []).append((target, lun))
    return found


def of_volume(state: State, volume_id: str) -> Mapped:
    """LUNs of the volume itself and of its snapshots."""
    return by_volume(state).get(volume_id, [])


def labels(mapped: Mapped, snapshot_id: str) -> tuple[str, ...]:
    """Those of `mapped` that show this snapshot, or (empty) the volume itself."""
    return tuple(label(target, lun) for target, lun in mapped if lun.snapshot_id == snapshot_id)


def label(target: TargetRecord, lun: LunRecord) -> str:
    return f"{target.name} LUN {lun.lun}"


def refuse_shown(exporter: Exporters, name: str, uuid: str) -> None:
    """Raises `Busy` naming what shows that volume or snapshot beside the LUNs on record."""
    shown_by = exporter.in_use(UUID(uuid))
    if shown_by is not None:
        raise Busy(
            f"{name} is in use: {shown_by} shows it",
            "delete that where it was made, as by targetcli, first",
        )


def refuse_in_use(found: Mapped) -> None:
    """Raises `Busy` naming the first LUN, if there is one."""
    for target, lun in found:
        raise Busy(
            f"{lun.backing} is in use: it is LUN {lun.lun} of {target.name}",
            f"`scsi-snap lun unmap {target.name} {lun.lun}` first",
        )
