"""/backstores/user:scsi-snap, for those who know targetcli: volumes and snapshots are its storage
objects.

They are listed as the kernel's target calls its own over them, tank/vol0@monday as tank:vol0:monday
and tank/a:b as tank:a[]b, since a path of the shell holds neither '/' nor '@' within a name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from scsi_snap.cli.arguments import snapshot_parts, volume_parts
from scsi_snap.errors import InvalidArgument
from scsi_snap.shell.node import Child, Node, Offer, Status, children_names
from scsi_snap.shell.points import snapshots_to_make
from scsi_snap.shell.volumes import (
    snapshot_facts,
    snapshot_status,
    volume_facts,
    volume_status,
)
from scsi_snap.units import parse_size

BACKSTORE = "user:scsi-snap"


class Backstores(Node):
    def contents(self) -> Iterable[Child]:
        return [(BACKSTORE, Backstore, None)]


class Backstore(Node):
    offers: ClassVar[Mapping[str, Offer]] = {
        "delete.name": children_names,
        "cfgstring": lambda node, _: [
            *(f"{name}/" for name in node.state.names("pools")),
            *(f"{name}@" for name in node.state.names("volumes")),
        ],
    }

    def contents(self) -> Iterable[Child]:
        return [
            (object_name(one["name"]), StorageObject, one)
            for what in ("volumes", "snapshots")
            for one in self.state.all(what)
        ]

    def status(self) -> Status:
        return f"Storage Objects: {len(self.built())}", None

    def ui_command_create(
        self, name: str, size: str | None = None, cfgstring: str | None = None
    ) -> None:
        """
        Make a volume, or of cfgstring=POOL/VOLUME@SNAPSHOT a snapshot, which needs no size.

        Nothing but the volume is made: it is listed by its own name, whatever `name` is, which may
        be POOL/VOLUME[@SNAPSHOT] in place of cfgstring.

            create vol0 10GiB cfgstring=tank/vol0
            create tank/vol0@monday
        """
        backing = cfgstring if cfgstring is not None else name
        if "@" in backing:
            if size is not None:
                raise InvalidArgument("a snapshot has its volume's size", "leave size out")
            answer = self.client.post("snapshots", body=snapshots_to_make([backing]))
            self.tell(answer, f"snapshot {backing}")
        else:
            volume_parts(backing)
            if size is None:
                raise InvalidArgument("a volume needs a size", "write it like size=10GiB")
            body = {"name": backing, "size_bytes": parse_size(size)}
            self.tell(self.client.post("volumes", body=body), f"volume {backing}")

    def ui_command_delete(self, name: str) -> None:
        """
        Delete a volume that has no snapshots, or a snapshot.
        """
        delete_backing(self, backing_of(self, name))


class StorageObject(Node):
    """A volume or snapshot under another name."""

    def status(self) -> Status:
        one = self.view
        return snapshot_status(one) if "@" in one["name"] else volume_status(one)

    def facts(self) -> list[tuple[str, str]]:
        one = self.view
        return snapshot_facts(one) if "@" in one["name"] else volume_facts(one)


def object_name(backing: str) -> str:
    return backing.replace(":", "[]").replace("/", ":").replace("@", ":")


def backing_of(node: Node, text: str) -> str:
    """POOL/VOLUME[@SNAPSHOT] of that, of a path to a storage object, or of a storage object's name
    alone."""
    if not text.startswith("/") and "/" in text:
        return text
    name = text.rpartition("/")[2]
    for backing in node.state.names("volumes", "snapshots"):
        if object_name(backing) == name:
            return backing
    raise InvalidArgument(
        f"no storage object {text!r}",
        "`ls /backstores` shows them; or write POOL/VOLUME[@SNAPSHOT]",
    )


def delete_backing(node: Node, backing: str) -> None:
    if "@" in backing:
        node.tell(node.client.delete("snapshots", *snapshot_parts(backing)), f"snapshot {backing}")
    else:
        node.tell(node.client.delete("volumes", *volume_parts(backing)), f"volume {backing}")


def storage_objects(node: Node, _parameters: Mapping[str, str]) -> Iterable[str]:
    """As paths, and by their own names."""
    for backing in node.state.names("volumes", "snapshots"):
        yield f"/backstores/{BACKSTORE}/{object_name(backing)}"
        yield backing
