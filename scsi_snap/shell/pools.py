"""/scsi_snap/pools: pools, and the volumes in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

from scsi_snap.cli import render
from scsi_snap.cli.arguments import absolute, member
from scsi_snap.errors import InvalidArgument
from scsi_snap.shell.checks import tell_problems
from scsi_snap.shell.node import (
    FLAG,
    Child,
    Node,
    Offer,
    Status,
    children_names,
    counted,
    flag,
    words,
)
from scsi_snap.shell.points import snapshots_to_make
from scsi_snap.shell.volumes import Volume
from scsi_snap.units import parse_size

POOL_OPTIONS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "level": ("level", str),
    "strip": ("strip_bytes", parse_size),
    "force": ("force", flag),
}

VOLUME_OPTIONS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "block": ("block_bytes", parse_size),
    "chunk": ("chunk_bytes", parse_size),
    "policy": ("policy", str),
    "store_limit": ("store_limit_bytes", parse_size),
    "provisioning": ("provisioning", str),
    "deallocation": ("deallocation", str),
    "physical_block": ("physical_block", str),
    "read_only": ("read_only", flag),
    "removable": ("removable", flag),
    "vendor": ("vendor", str),
    "product": ("product", str),
    "serial": ("serial", str),
    "naa": ("naa", str),
}
"""What is typed → the field of the API's body, and how it is read. What is not typed is left to
the API."""


class Pools(Node):
    offers: ClassVar[Mapping[str, Offer]] = {
        "create.*": words("level=", "strip="),
        "create.level": words("raid0", "raid1", "raid10", "raid5"),
        "import.*": words("name="),
        "name": children_names,
        "create.name": words(),
        "snapshot.*": lambda node, _: [f"{name}@" for name in node.state.names("volumes")],
    }

    def contents(self) -> Iterable[Child]:
        return [(one["name"], Pool, one) for one in self.state.all("pools")]

    def status(self) -> Status:
        pools = self.state.all("pools")
        bad = [one for one in pools if one["state"] != "optimal"]
        text = counted(len(pools), "pool")
        return (f"{text}, {len(bad)} not optimal", False) if bad else (text, None)

    def ui_command_create(self, name: str, *members: str, **options: str) -> None:
        """
        Make a pool over members: PATH of a file or block device, or PATH:SIZE to make a file.

        level: raid0, raid1, raid10 or raid5 (the default)
        strip: one member's share of a stripe, 64KiB by default
        force: true wipes members that hold something

            create tank /dev/sdb /dev/sdc /dev/sdd
            create tank /srv/m0:10GiB /srv/m1:10GiB level=raid1
        """
        made = [member(text) for text in members]
        body = {
            "name": name,
            "members": [{"path": path, "size_bytes": size} for path, size in made],
            **chosen(options, POOL_OPTIONS),
        }
        self.tell(self.client.post("pools", body=body), f"pool {name}")

    def ui_command_import(self, *members: str, **options: str) -> None:
        """
        Take over a pool that members hold; with name= alone, try one on record again.

        force: true takes it although newer members are known, and forgets those

            import /dev/sdb /dev/sdc /dev/sdd
            import name=tank
        """
        chosen_name = chosen(options, {"name": ("name", str), "force": ("force", flag)})
        body = {"members": [absolute(path) for path in members], **chosen_name}
        answer = self.client.post("pools", "import", body=body)
        self.tell(answer, f"pool {answer['view']['name']}")

    def ui_command_export(self, name: str) -> None:
        """
        Close a pool and forget it; its members keep everything, for `import` elsewhere.
        """
        self.client.post("pools", name, "export")
        self.shell.log.info(f"exported pool {name}")

    def ui_command_delete(self, name: str) -> None:
        """
        Destroy a pool that holds no volume: its members are free for `create`.
        """
        self.tell(self.client.delete("pools", name), f"pool {name}")

    def ui_command_snapshot(self, *names: str) -> None:
        """
        Take snapshots of several volumes at one consistent point.

            snapshot tank/data@monday tank/log@monday
        """
        body = snapshots_to_make(names)
        self.tell(self.client.post("snapshots", body=body), f"snapshot {' '.join(names)}")


class Pool(Node):
    offers: ClassVar[Mapping[str, Offer]] = {
        "delete.name": children_names,
        "policy": words("drop-snapshot", "fail-write"),
        "provisioning": words("thin", "full"),
        "deallocation": words("any", "unmap", "write-same"),
        "physical_block": words("512", "4096"),
        "block": words("512", "4096"),
        "read_only": FLAG,
        "removable": FLAG,
        "snapshots": FLAG,
        "member": lambda node, _: [one["name"] for one in node.view["members"]],
    }

    def contents(self) -> Iterable[Child]:
        return [
            (one["name"].partition("/")[2], Volume, one) for one in self.state.volumes_of(self.name)
        ]

    def status(self) -> Status:
        one = self.view
        if one["state"] == "unavailable":
            return f"unavailable: {one['reason']}", False
        sizes = f"{render.size(one['size_bytes'])}, {render.size(one['free_bytes'])} free"
        return f"{one['level']}, {sizes}, {one['state']}", one["state"] == "optimal"

    def facts(self) -> list[tuple[str, str]]:
        one = self.client.get("pools", self.name)
        pairs = [("name", one["name"]), ("id", one["id"]), ("state", one["state"])]
        if one["reason"]:
            pairs.append(("reason", one["reason"]))
        else:
            pairs += [
                ("level", one["level"]),
                ("strip", render.size(one["strip_bytes"])),
                ("size", render.size(one["size_bytes"])),
                ("free", render.size(one["free_bytes"])),
            ]
        for each in one["members"]:
            role = "-" if each["role"] is None else each["role"]
            told = f"{each['name']}, {each['state']}, {counted(each['errors'], 'error')}"
            pairs.append((f"member {role}", told))
        return pairs

    def ui_command_create(
        self,
        name: str,
        size: str,
        block: str | None = None,
        chunk: str | None = None,
        policy: str | None = None,
        store_limit: str | None = None,
        provisioning: str | None = None,
        deallocation: str | None = None,
        physical_block: str | None = None,
        read_only: str | None = None,
        removable: str | None = None,
        vendor: str | None = None,
        product: str | None = None,
        serial: str | None = None,
        naa: str | None = None,
    ) -> None:
        """
        Make a volume that reads as zeros.

        block: logical block, 512 or 4096 bytes
        chunk: unit of copying, 64KiB by default
        policy: when the store is full: drop-snapshot (the oldest; the default) or fail-write
        store_limit: what preserved chunks may take at most
        provisioning: thin (UNMAP gives blocks back; the default) or full
        deallocation: what gives blocks back: unmap, write-same, or any of them
        physical_block: what the disk says it writes as one, 512 or 4096
        read_only, removable: true or false
        vendor, product, serial, naa: what initiators know the unit by

            create vol0 10GiB
            create vol0 10GiB store_limit=2GiB policy=fail-write
        """
        typed = locals()
        options = {key: typed[key] for key in VOLUME_OPTIONS if typed[key] is not None}
        full_name = f"{self.name}/{name}"
        body = {"name": full_name, "size_bytes": parse_size(size)}
        answer = self.client.post("volumes", body={**body, **chosen(options, VOLUME_OPTIONS)})
        self.tell(answer, f"volume {full_name}")

    def ui_command_delete(self, name: str, snapshots: str = "false") -> None:
        """
        Delete a volume and give its space back; snapshots=true: its snapshots too.
        """
        with_snapshots = flag(snapshots)
        answer = self.client.delete("volumes", self.name, name, with_snapshots=with_snapshots)
        self.tell(answer, f"volume {self.name}/{name}")

    def ui_command_fail_member(self, member: str) -> None:
        """
        Take a member out of the stripe set by hand.
        """
        path = absolute(member)
        answer = self.client.post("pools", self.name, "fail-member", body={"member": path})
        self.tell(answer, f"pool {self.name}: {path} is failed")

    def ui_command_check(self) -> None:
        """
        Check the formats on disk of all volumes.
        """
        tell_problems(self, self.client.post("check", pool=self.name))


def chosen(
    options: Mapping[str, str], table: Mapping[str, tuple[str, Callable[[str], Any]]]
) -> dict[str, Any]:
    """Of the API's body, what was typed."""
    unknown = sorted(options.keys() - table.keys())
    if unknown:
        raise InvalidArgument(f"no parameter {unknown[0]!r}", f"there are {', '.join(table)}")
    return {table[key][0]: table[key][1](text) for key, text in options.items()}
