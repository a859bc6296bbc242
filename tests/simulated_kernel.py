"""The kernel's target in memory, with a /sys and a /dev of its own: the twin of `RtslibTarget`.

Devices that it makes appear in the tree, as for the real one. `changes` lists what was changed;
verbs in `refusing` fail.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from scsi_snap.lio.kernel_target import (
    Acl,
    Backstore,
    Chap,
    Group,
    KernelRefused,
    KernelSession,
)
from scsi_snap.lio.tcmu_events import Event, Kind
from scsi_snap.lio.uio import UioTree

Groups = dict[int, Group]


class SimulatedKernel:
    def __init__(self, root: Path) -> None:
        self.sys, self.dev = root / "sys", root / "dev"
        self.core = self.sys / "kernel/config/target/core"
        self.changes: list[tuple[object, ...]] = []
        self.refusing: set[str] = set()
        self.targets: dict[str, Groups] = {}
        self.discovery: Chap | None = None
        self.foreign: set[str] = set()
        """Storage objects that something else exports too."""
        self.logged_in: list[KernelSession] = []
        self.listening: set[str] = set()
        self.tell: Callable[[Event], None] = lambda event: None
        self._uio: dict[str, str] = {}
        self._backstores: dict[str, str] = {}
        self._numbers = 0
        for path in (self.core, self.sys / "class/uio", self.dev):
            path.mkdir(parents=True)
        self.parameters = self.sys / "module/target_core_user/parameters"
        self.parameters.mkdir(parents=True)
        for name in ("block_netlink", "reset_netlink"):
            (self.parameters / name).write_text("0")

    @property
    def tree(self) -> UioTree:
        return UioTree(self.sys, self.dev)

    def add_device(
        self, name: str, config: str, size: int, cmd_time_out: int = 0, reply: int = -1
    ) -> str:
        """As somebody may by targetcli. Its uio name."""
        number, self._numbers = self._numbers, self._numbers + 1
        uio = f"uio{number}"
        storage_object = self.core / f"user_{number}" / name
        for file, text in (
            ("attrib/dev_size", size),
            ("attrib/cmd_time_out", cmd_time_out),
            ("attrib/nl_reply_supported", reply),
            ("attrib/tmr_notification", 0),
            ("action/block_dev", 0),
            ("action/reset_ring", ""),
        ):
            _write(storage_object / file, str(text))
        _write(self.sys / "class/uio" / uio / "name", f"tcm-user/{number}/{name}/{config}\n")
        _write(self.sys / "class/uio" / uio / "maps/map0/size", "0x10800000\n")
        _write(self.dev / uio, "")
        self._uio[name], self._backstores[name] = uio, config
        self._tell("added", name)
        return uio

    def remove_device(self, name: str) -> None:
        uio = self._uio[name]
        _remove(self.core / f"user_{uio.removeprefix('uio')}")
        _remove(self.sys / "class/uio" / uio)
        (self.dev / uio).unlink()
        self._tell("removed", name)
        del self._uio[name], self._backstores[name]

    def attribute(self, name: str, file: str) -> str:
        number = self._uio[name].removeprefix("uio")
        return (self.core / f"user_{number}" / name / file).read_text()

    def device(self, name: str) -> int:
        """The inode of its /dev/uioN."""
        return (self.dev / self._uio[name]).stat().st_ino

    def _tell(self, kind: Kind, name: str) -> None:
        self.tell(Event(kind, self._uio[name], name, 1))

    def backstores(self) -> Mapping[str, str]:
        self._may_refuse("backstores")
        ours = ("scsi-snap/", "scsi_snap/")
        return {name: one for name, one in self._backstores.items() if one.startswith(ours)}

    def create_backstore(self, backstore: Backstore) -> None:
        self._change("create_backstore", backstore.name)
        assert backstore.name not in self._backstores
        self.add_device(backstore.name, backstore.config, backstore.size_bytes)

    def remove_backstore(self, name: str) -> bool:
        if name not in self._backstores:
            return True
        if name in self.foreign:
            return False
        shown = [n for groups in self.targets.values() for g in groups.values() for n in g.luns]
        assert name not in shown, "the kernel would take its LUNs away"
        self._change("remove_backstore", name)
        self.remove_device(name)
        return True

    def groups(self, target: str) -> Mapping[int, Group]:
        self._may_refuse("groups")
        return dict(self.targets.get(target, {}))

    def add_group(self, target: str, tag: int) -> None:
        self._change("add_group", target, tag)
        groups = self.targets.setdefault(target, {})
        assert tag not in groups
        groups[tag] = Group(enabled=False)

    def remove_group(self, target: str, tag: int) -> None:
        self._change("remove_group", target, tag)
        del self.targets[target][tag]
        self._log_out(lambda one: (one.target, one.tag) == (target, tag))

    def remove_target(self, target: str) -> None:
        self._change("remove_target", target)
        assert not self.targets.pop(target, {})

    def set_access(self, target: str, tag: int, group: Group) -> None:
        self._change("set_access", target, tag)
        self._update(target, tag, open=group.open, chap=group.chap)

    def enable(self, target: str, tag: int) -> None:
        self._change("enable", target, tag)
        self._update(target, tag, enabled=True)

    def add_portal(self, target: str, tag: int, address: str) -> None:
        self._change("add_portal", target, tag, address)
        portals = self.targets[target][tag].portals
        assert address not in portals
        self._update(target, tag, portals=portals | {address})

    def remove_portal(self, target: str, tag: int, address: str) -> None:
        self._change("remove_portal", target, tag, address)
        self._update(target, tag, portals=self.targets[target][tag].portals - {address})

    def add_lun(self, target: str, tag: int, lun: int, backstore: str) -> None:
        self._change("add_lun", target, tag, lun, backstore)
        luns = self.targets[target][tag].luns
        if backstore not in self._backstores:
            raise KernelRefused(f"there is no storage object {backstore}")
        assert lun not in luns
        self._update(target, tag, luns={**luns, lun: backstore})

    def remove_lun(self, target: str, tag: int, lun: int) -> None:
        self._change("remove_lun", target, tag, lun)
        group = self.targets[target][tag]
        backstore = group.luns[lun]
        left = {n: name for n, name in group.luns.items() if n != lun}
        if backstore not in left.values():
            for name, acl in group.acls.items():
                for number in [n for n, one in acl.luns.items() if one == backstore]:
                    self.unmap_lun(target, tag, name, number)
        self._update(target, tag, luns=left)

    def set_acl(self, target: str, tag: int, initiator: str, acl: Acl) -> None:
        self._change("set_acl", target, tag, initiator)
        acls = self.targets[target][tag].acls
        luns = acls[initiator].luns if initiator in acls else {}
        self._update(target, tag, acls={**acls, initiator: Acl(acl.chap, luns)})

    def remove_acl(self, target: str, tag: int, initiator: str) -> None:
        self._change("remove_acl", target, tag, initiator)
        acls = dict(self.targets[target][tag].acls)
        del acls[initiator]
        self._update(target, tag, acls=acls)
        where = (target, tag, initiator)
        self._log_out(lambda one: (one.target, one.tag, one.initiator) == where)

    def map_lun(self, target: str, tag: int, initiator: str, number: int, lun: int) -> None:
        self._change("map_lun", target, tag, initiator, number, lun)
        group = self.targets[target][tag]
        luns = group.acls[initiator].luns
        assert number not in luns
        self._set_acl_luns(target, tag, initiator, {**luns, number: group.luns[lun]})

    def unmap_lun(self, target: str, tag: int, initiator: str, number: int) -> None:
        self._change("unmap_lun", target, tag, initiator, number)
        luns = self.targets[target][tag].acls[initiator].luns
        left = {n: name for n, name in luns.items() if n != number}
        self._set_acl_luns(target, tag, initiator, left)

    def unlisted_sessions(self, target: str, tag: int) -> frozenset[str]:
        listed = self.targets[target][tag].acls
        return frozenset(
            one.initiator
            for one in self.logged_in
            if (one.target, one.tag) == (target, tag) and one.initiator not in listed
        )

    def sessions(self, target: str) -> list[KernelSession]:
        self._may_refuse("sessions")
        return [one for one in self.logged_in if one.target == target]

    def set_discovery(self, chap: Chap | None) -> None:
        self._change("set_discovery", chap)
        self.discovery = chap

    def listens(self, address: str) -> bool:
        groups = [group for one in self.targets.values() for group in one.values()]
        return address in self.listening or any(address in group.portals for group in groups)

    def _set_acl_luns(self, target: str, tag: int, initiator: str, luns: dict[int, str]) -> None:
        acls = self.targets[target][tag].acls
        self._update(target, tag, acls={**acls, initiator: replace(acls[initiator], luns=luns)})

    def _update(self, target: str, tag: int, **changes: Any) -> None:
        self.targets[target][tag] = replace(self.targets[target][tag], **changes)

    def _log_out(self, ends: Callable[[KernelSession], bool]) -> None:
        self.logged_in = [one for one in self.logged_in if not ends(one)]

    def _change(self, *what: object) -> None:
        self._may_refuse(str(what[0]))
        self.changes.append(what)

    def _may_refuse(self, verb: str) -> None:
        if verb in self.refusing:
            raise KernelRefused(f"{verb} is refused")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _remove(path: Path) -> None:
    for one in sorted(path.rglob("*"), reverse=True):
        one.rmdir() if one.is_dir() else one.unlink()
    path.rmdir()
