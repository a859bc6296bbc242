"""/scsi_snap/pools/POOL/VOLUME and its snapshots."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from scsi_snap.cli import map_picture, render
from scsi_snap.cli.arguments import snapshot_parts, volume_parts
from scsi_snap.shell.checks import tell_problems
from scsi_snap.shell.mapping import MAPPING_OFFERS, map_lun, unmap_lun
from scsi_snap.shell.node import Child, Node, Offer, Status, children_names, counted
from scsi_snap.shell.points import print_allocated, print_diff, snapshots_to_make
from scsi_snap.shell.state import View
from scsi_snap.units import parse_size

TRAITS = {
    "read_only": ("bool", "Whether initiators may not write."),
    "removable": ("bool", "Whether the medium can be ejected and loaded."),
    "vendor": ("string", "Vendor identification, up to 8 characters."),
    "product": ("string", "Product identification, up to 16 characters."),
    "serial": ("string", "Unit serial number."),
    "naa": ("string", "NAA identifier, in hexadecimal."),
    "policy": ("string", "When the store is full: drop-snapshot or fail-write."),
    "store_limit_bytes": ("number", "What preserved chunks may take; 0: as far as the pool goes."),
}
"""What `set volume` changes: configshell's type, and the help."""


class Backing(Node):
    """What a LUN can be mapped to."""

    offers: ClassVar[Mapping[str, Offer]] = MAPPING_OFFERS

    @property
    def backing(self) -> str:
        name: str = self._view["name"]
        return name

    def ui_command_map(
        self,
        target: str,
        lun: str,
        initiator: str | None = None,
        read_only: str = "false",
        again: str = "false",
    ) -> None:
        """
        Show it to initiators under a number, now and after every start. Sessions go on.

        initiator: to this one alone; several with commas between
        read_only: let it be read only, at this LUN; snapshots always are
        again: also where it has another LUN of the target already

            map iqn.2026-11.org.example:disk 0
        """
        map_lun(self, target, lun, self.backing, initiator, read_only, again)

    def ui_command_unmap(self, target: str, lun: str, initiator: str | None = None) -> None:
        """
        Take a LUN away from whoever sees it, or from one initiator whose own it is.
        """
        unmap_lun(self, target, lun, initiator)


class Volume(Backing):
    offers: ClassVar[Mapping[str, Offer]] = {
        **MAPPING_OFFERS,
        "delete.name": children_names,
        "since": children_names,
        "until": children_names,
    }

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for trait, (kind, description) in TRAITS.items():
            self.define_config_group_param("volume", trait, kind, description)

    def contents(self) -> Iterable[Child]:
        return [
            (one["name"].partition("@")[2], Snapshot, one)
            for one in self.state.snapshots_of(self.backing)
        ]

    def status(self) -> Status:
        return volume_status(self.view)

    def facts(self) -> list[tuple[str, str]]:
        return volume_facts(self.view)

    def ui_command_snapshot(self, name: str, blocks: str | None = None) -> None:
        """
        Take a snapshot, of the whole volume or of the blocks LBA+COUNT.

            snapshot monday
            snapshot head blocks=0+2048
        """
        full_name = f"{self.backing}@{name}"
        answer = self.client.post("snapshots", body=snapshots_to_make([full_name], blocks))
        self.tell(answer, f"snapshot {full_name}")

    def ui_command_create(self, name: str, blocks: str | None = None) -> None:
        """
        Take a snapshot, as `snapshot` does.
        """
        self.ui_command_snapshot(name, blocks)

    def ui_command_delete(self, name: str) -> None:
        """
        Delete a snapshot; chunks that no other snapshot needs are freed.
        """
        full_name = f"{self.backing}@{name}"
        answer = self.client.delete("snapshots", *snapshot_parts(full_name))
        self.tell(answer, f"snapshot {full_name}")

    def ui_command_diff(self, since: str, until: str | None = None) -> None:
        """
        List what changed since a snapshot: until a later one, or until now.

            diff monday
            diff monday tuesday
        """
        later = None if until is None else f"{self.backing}@{until}"
        print_diff(self, f"{self.backing}@{since}", later)

    def ui_command_resize(self, size: str) -> None:
        """
        Make the volume larger while it is in use; +SIZE adds. Initiators are told.

            resize 20GiB
            resize +5GiB
        """
        parts = volume_parts(self.backing)
        size_bytes = parse_size(size.removeprefix("+"))
        if size.startswith("+"):
            size_bytes += self.client.get("volumes", *parts)["size_bytes"]
        answer = self.client.post("volumes", *parts, "resize", body={"size_bytes": size_bytes})
        self.tell(answer, f"volume {self.backing}")

    def ui_command_check(self) -> None:
        """
        Check the formats on disk.
        """
        parts = volume_parts(self.backing)
        tell_problems(self, [self.client.post("volumes", *parts, "check")])

    # `set volume …` and `get volume`, by configshell's own commands

    def ui_getgroup_volume(self, trait: str) -> Any:
        return self.client.get("volumes", *volume_parts(self.backing))[trait]

    def ui_setgroup_volume(self, trait: str, value: Any) -> None:
        # configshell reads an empty text as None; here it means: back to the default.
        body = {trait: "" if value is None else value}
        self.client.patch("volumes", *volume_parts(self.backing), body=body)


class Snapshot(Backing):
    offers: ClassVar[Mapping[str, Offer]] = {
        **MAPPING_OFFERS,
        "until": lambda node, _: set(node.parent.built()) - {node.name},
    }

    def status(self) -> Status:
        return snapshot_status(self.view)

    def facts(self) -> list[tuple[str, str]]:
        return snapshot_facts(self.view)

    def ui_command_diff(self, until: str | None = None) -> None:
        """
        List what changed since this snapshot: until a later one, or until now.
        """
        later = None if until is None else f"{self.parent.backing}@{until}"
        print_diff(self, self.backing, later)

    def ui_command_extents(self) -> None:
        """
        List what is allocated of this snapshot; all else of it reads as zeros.
        """
        print_allocated(self, self.backing)

    def ui_command_picture(self) -> None:
        """
        Draw the snapshot map: what is preserved, and what is still shared with the origin.
        """
        terminal_columns = shutil.get_terminal_size((100, 24)).columns
        cells = map_picture.cells_to_ask(terminal_columns)
        answer = self.client.get("snapshots", *snapshot_parts(self.backing), "map", cells=cells)
        encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower()
        blocks = encoding.replace("-", "") == "utf8"
        symbols = map_picture.BLOCKS if blocks else map_picture.ASCII
        self.say("\n".join(map_picture.picture(answer, terminal_columns, symbols)))


def volume_status(one: View) -> Status:
    text = render.size(one["size_bytes"])
    if one["snapshots"]:
        text += f", {counted(one['snapshots'], 'snapshot')}"
    if one["snapshots"] or one["store_used_bytes"]:
        text += f", store {_store(one)}"
    if one["read_only"]:
        text += ", read-only"
    return f"{text}{_mapped(one)}", True


def volume_facts(one: View) -> list[tuple[str, str]]:
    return [
        ("name", one["name"]),
        ("id", one["id"]),
        ("created", render.time(one["created_at_ms"])),
        ("size", f"{render.size(one['size_bytes'])} ({one['size_bytes']} bytes)"),
        ("block", render.size(one["block_bytes"])),
        ("chunk", render.size(one["chunk_bytes"])),
        ("store", _store(one)),
        ("policy", one["policy"]),
        ("provisioning", one["provisioning"]),
        ("deallocation", one["deallocation"]),
        ("physical block", render.size(one["physical_block_bytes"])),
        ("access", "read-only" if one["read_only"] else "read-write"),
        ("removable", "yes" if one["removable"] else "no"),
        ("vendor", one["vendor"]),
        ("product", one["product"]),
        ("serial", one["serial"]),
        ("naa", one["naa"]),
        ("snapshots", str(one["snapshots"])),
        ("mapped", render.luns(one["mapped"])),
    ]


def snapshot_status(one: View) -> Status:
    taken = f"{render.time(one['created_at_ms'])}, {_range(one)}"
    if one["invalid_reason"]:
        return f"{taken}, {one['state']}: {one['invalid_reason']}", False
    return f"{taken}, {one['state']}{_mapped(one)}", True


def snapshot_facts(one: View) -> list[tuple[str, str]]:
    reason = f": {one['invalid_reason']}" if one["invalid_reason"] else ""
    return [
        ("name", one["name"]),
        ("id", one["id"]),
        ("created", render.time(one["created_at_ms"])),
        ("state", one["state"] + reason),
        ("range", _range(one)),
        ("group", one["group"] or "-"),
        ("serial", one["serial"]),
        ("naa", one["naa"]),
        ("mapped", render.luns(one["mapped"])),
    ]


def _store(one: View) -> str:
    """How full: of its limit, else of what it has grown to."""
    used, limit = one["store_used_bytes"], one["store_limit_bytes"]
    whole = one["store_capacity_bytes"] if limit is None else limit
    if not whole:
        return "empty"
    most = "" if limit is None else "at most "
    return f"{render.size(used)} of {most}{render.size(whole)} ({render.percent(used, whole)})"


def _mapped(one: View) -> str:
    return f", {counted(len(one['mapped']), 'LUN')}" if one["mapped"] else ""


def _range(one: View) -> str:
    return "whole volume" if one["whole_volume"] else f"blocks {one['first_lba']}+{one['blocks']}"
