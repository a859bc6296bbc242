"""`KernelTarget` by rtslib-fb, which writes configfs: its only importer.

Each verb looks its objects up anew: others may change them, and rtslib's own are cheap. Storage
objects are given their index here: rtslib would go by what this process has seen of them long ago,
and wants to write to /run for it.

What must hold before a device is enabled is written then, as the kernel takes some of it no later:

- `cmd_time_out` 0: the kernel never ends a command by itself, so what lies in the ring when a
  handler comes back is still wanted. An initiator aborts what it does not want any more, and the
  kernel waits for our answer to it.
- `nl_reply_supported` -1: nothing in the kernel waits for an answer of ours to an event.
- `tmr_notification` 1: a command that its initiator aborts is named in the ring.
- `hw_max_sectors`: 8 MiB, what the command set says in VPD page B0h for one transfer.
- `max_data_area_mb` 256: 32 of the largest commands, or four initiators with 64 commands of 1 MiB
  each. Memory is taken as it is needed, but given back only when all devices together have 2 GiB.
- `data_pages_per_blk` for 256 KiB, so that the buffer of a command of up to that is in one
  piece, and needs no copy. A shorter one takes no more memory for it, but of the 1024 blocks that
  there are each command has its own. Kernels before 5.13 pass over the word.
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import rtslib_fb
from rtslib_fb import tcm

from scsi_snap.lio.kernel_target import Acl, Backstore, Chap, Group, KernelRefused, KernelSession
from scsi_snap.lio.uio import SUBTYPES

_TRANSFER_BYTES_MAX = 8 << 20
_DATA_AREA_MIB = 256
_DATA_BLOCK_PAGES = (256 << 10) // mmap.PAGESIZE
_PLUGIN = "user"


class _UserObject(rtslib_fb.UserBackedStorageObject):  # type: ignore[misc]
    """One that has its attributes before it is enabled."""

    def _enable(self) -> None:
        self.set_attribute("cmd_time_out", 0)
        self.set_attribute("nl_reply_supported", -1)
        # Kernels before 5.9 do not have it: commands that are aborted are carried out there.
        with suppress(rtslib_fb.RTSLibError):
            self.set_attribute("tmr_notification", 1)
        super()._enable()


tcm.bs_params[_UserObject] = tcm.bs_params[rtslib_fb.UserBackedStorageObject]


class RtslibTarget:
    """The kernel that this runs on. One verb at a time: rtslib is not made for threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        with self._speaking():
            self._root = rtslib_fb.RTSRoot()
            self._iscsi = rtslib_fb.FabricModule("iscsi")
            self._iscsi._check_self()

    def backstores(self) -> Mapping[str, str]:
        with self._speaking():
            found = (
                (path.name, _config(path / "info"))
                for path in Path(self._root.path, "core").glob(f"{_PLUGIN}_*/*")
                if (path / "info").is_file()
            )
            return {name: config for name, config in found if _is_ours(config)}

    def create_backstore(self, backstore: Backstore) -> None:
        with self._speaking():
            _UserObject(
                backstore.name,
                config=backstore.config,
                size=backstore.size_bytes,
                wwn=backstore.serial,
                hw_max_sectors=_TRANSFER_BYTES_MAX // backstore.block_bytes,
                control=(
                    f"hw_block_size={backstore.block_bytes},max_data_area_mb={_DATA_AREA_MIB},"
                    f"data_pages_per_blk={_DATA_BLOCK_PAGES}"
                ),
                index=self._free_index(),
            )

    def remove_backstore(self, name: str) -> bool:
        with self._speaking():
            found = self._storage_object(name)
            if found is None:
                return True
            if next(found.attached_luns, None) is not None:
                return False
            found.delete()
            return True

    def groups(self, target: str) -> Mapping[int, Group]:
        with self._speaking():
            found = self._target(target)
            return {} if found is None else {tpg.tag: _group(tpg) for tpg in found.tpgs}

    def add_group(self, target: str, tag: int) -> None:
        with self._speaking():
            rtslib_fb.TPG(rtslib_fb.Target(self._iscsi, target), tag, mode="create")

    def remove_group(self, target: str, tag: int) -> None:
        with self._speaking():
            self._tpg(target, tag).delete()

    def remove_target(self, target: str) -> None:
        with self._speaking():
            found = self._target(target)
            if found is not None:
                found.delete()

    def set_access(self, target: str, tag: int, group: Group) -> None:
        with self._speaking():
            tpg = self._tpg(target, tag)
            # Nobody is let in by a secret that is being changed, or without.
            if group.authenticates:
                tpg.set_attribute("authentication", 1)
            _set_chap(tpg, group.chap)
            for name, value in (
                ("demo_mode_write_protect", 0),
                ("cache_dynamic_acls", 1),
                ("demo_mode_discovery", int(group.open)),
                ("generate_node_acls", int(group.open)),
                ("authentication", int(group.authenticates)),
            ):
                tpg.set_attribute(name, value)

    def enable(self, target: str, tag: int) -> None:
        with self._speaking():
            self._tpg(target, tag).enable = True

    def add_portal(self, target: str, tag: int, address: str) -> None:
        host, port = _split(address)
        with self._speaking():
            rtslib_fb.NetworkPortal(self._tpg(target, tag), host, port, mode="create")

    def remove_portal(self, target: str, tag: int, address: str) -> None:
        host, port = _split(address)
        with self._speaking():
            rtslib_fb.NetworkPortal(self._tpg(target, tag), host, port, mode="lookup").delete()

    def add_lun(self, target: str, tag: int, lun: int, backstore: str) -> None:
        with self._speaking():
            found = self._storage_object(backstore)
            if found is None:
                raise KernelRefused(f"there is no storage object {backstore}")
            rtslib_fb.LUN(self._tpg(target, tag), lun, storage_object=found)

    def remove_lun(self, target: str, tag: int, lun: int) -> None:
        with self._speaking():
            rtslib_fb.LUN(self._tpg(target, tag), lun).delete()

    def set_acl(self, target: str, tag: int, initiator: str, acl: Acl) -> None:
        with self._speaking():
            node = rtslib_fb.NodeACL(self._tpg(target, tag), initiator)
            _set_chap(node, acl.chap)
            # Kernels before 6.0 have one rule for the whole group only.
            with suppress(rtslib_fb.RTSLibError):
                node.set_attribute("authentication", int(acl.chap is not None))

    def remove_acl(self, target: str, tag: int, initiator: str) -> None:
        with self._speaking():
            rtslib_fb.NodeACL(self._tpg(target, tag), initiator, mode="lookup").delete()

    def map_lun(self, target: str, tag: int, initiator: str, number: int, lun: int) -> None:
        with self._speaking():
            node = rtslib_fb.NodeACL(self._tpg(target, tag), initiator, mode="lookup")
            rtslib_fb.MappedLUN(node, number, lun, write_protect=False)

    def unmap_lun(self, target: str, tag: int, initiator: str, number: int) -> None:
        with self._speaking():
            node = rtslib_fb.NodeACL(self._tpg(target, tag), initiator, mode="lookup")
            for mapped in node.mapped_luns:
                if mapped.mapped_lun == number:
                    mapped.delete()

    def unlisted_sessions(self, target: str, tag: int) -> frozenset[str]:
        with self._speaking():
            return frozenset(_unlisted(self._tpg(target, tag)))

    def sessions(self, target: str) -> list[KernelSession]:
        with self._speaking():
            found = self._target(target)
            if found is None:
                return []
            return [one for tpg in found.tpgs for one in _sessions(target, tpg)]

    def set_discovery(self, chap: Chap | None) -> None:
        with self._speaking():
            iscsi, old = self._iscsi, self._discovery()
            if old == chap:
                return
            iscsi.discovery_userid = chap.user if chap else ""
            iscsi.discovery_password = chap.secret if chap else ""
            iscsi.discovery_mutual_userid = chap.mutual_user if chap else ""
            iscsi.discovery_mutual_password = chap.mutual_secret if chap else ""
            iscsi.discovery_enable_auth = chap is not None

    def listens(self, address: str) -> bool:
        with self._speaking():
            return any(Path(self._iscsi.path).glob(f"*/tpgt_*/np/{_escaped(address)}"))

    def _discovery(self) -> Chap | None:
        iscsi = self._iscsi
        if not iscsi.discovery_enable_auth:
            return None
        return Chap(
            iscsi.discovery_userid,
            iscsi.discovery_password,
            iscsi.discovery_mutual_userid,
            iscsi.discovery_mutual_password,
        )

    def _free_index(self) -> int:
        """Of the kernel's adapters of every plugin. Somebody else may be as quick: then making the
        storage object fails, and nothing has changed."""
        found = [path.name.rpartition("_")[2] for path in Path(self._root.path, "core").glob("*_*")]
        used = {int(index) for index in found if index.isdigit()}
        return next(index for index in range(len(used) + 1) if index not in used)

    def _storage_object(self, name: str) -> Any:
        for path in Path(self._root.path, "core").glob(f"{_PLUGIN}_*/*"):
            if path.name == name:
                index = path.parent.name.rpartition("_")[2]
                return rtslib_fb.UserBackedStorageObject(name, index=index)
        return None

    def _target(self, name: str) -> Any:
        if not Path(self._iscsi.path, name).is_dir():
            return None
        return rtslib_fb.Target(self._iscsi, name, mode="lookup")

    def _tpg(self, target: str, tag: int) -> Any:
        found = rtslib_fb.Target(self._iscsi, target, mode="lookup")
        return rtslib_fb.TPG(found, tag, mode="lookup")

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except rtslib_fb.RTSLibError as error:
                raise KernelRefused(str(error)) from error
            except OSError as error:
                where = f" ({error.filename})" if error.filename else ""
                raise KernelRefused(f"{error.strerror or error}{where}") from error


def _group(tpg: Any) -> Group:
    acls = {node.node_wwn: _acl(node) for node in tpg.node_acls}
    authenticates = tpg.get_attribute("authentication") == "1"
    return Group(
        open=tpg.get_attribute("generate_node_acls") == "1",
        chap=_chap(tpg) if authenticates else None,
        portals=frozenset(f"{one.ip_address}:{one.port}" for one in tpg.network_portals),
        luns=dict(_lun(one.path, one.lun) for one in tpg.luns),
        acls=acls if authenticates else {name: Acl(None, acl.luns) for name, acl in acls.items()},
        enabled=tpg.enable,
    )


def _acl(node: Any) -> Acl:
    # `mapped_lun.tpg_lun` would look through all LUNs for each of them.
    found = {}
    for one in node.mapped_luns:
        for link in Path(one.path).iterdir():
            if link.is_symlink():
                found[one.mapped_lun] = _lun(str(link.resolve()), 0)[1]
    return Acl(_chap(node), found)


def _lun(path: str, number: int) -> tuple[int, str]:
    """What is at a LUN of a group."""
    for link in Path(path).iterdir():
        if link.is_symlink():
            storage_object = link.resolve()
            plugin = storage_object.parent.name.rpartition("_")[0]
            name = storage_object.name
            ours = plugin == _PLUGIN and _is_ours(_config(storage_object / "info"))
            return number, name if ours else f"{plugin}/{name}"
    return number, "/"


def _chap(of: Any) -> Chap | None:
    user, secret = of.chap_userid, of.chap_password
    if not user or not secret:
        return None
    return Chap(user, secret, of.chap_mutual_userid or "", of.chap_mutual_password or "")


def _set_chap(of: Any, chap: Chap | None) -> None:
    if _chap(of) == chap:
        return
    of.chap_userid = chap.user if chap else ""
    of.chap_password = chap.secret if chap else ""
    of.chap_mutual_userid = chap.mutual_user if chap else ""
    of.chap_mutual_password = chap.mutual_secret if chap else ""


def _unlisted(tpg: Any) -> list[str]:
    try:
        text = Path(tpg.path, "dynamic_sessions").read_text()
    except OSError:
        return []
    return [name for name in text.replace("\0", "\n").split() if name]


def _sessions(target: str, tpg: Any) -> Iterator[KernelSession]:
    for node in tpg.node_acls:
        found = node.session
        if found is None:
            continue
        addresses = [one["address"] for one in found.get("connections", []) if "address" in one]
        yield KernelSession(
            target,
            tpg.tag,
            node.node_wwn,
            found.get("id", 0),
            addresses[0] if addresses else "",
            _counters(Path(node.path, "fabric_statistics/iscsi_sess_stats")),
        )
    for name in _unlisted(tpg):
        yield KernelSession(target, tpg.tag, name)


def _counters(directory: Path) -> dict[str, int]:
    found = {}
    for ours, theirs in (
        ("commands", "cmd_pdus"),
        ("written_bytes", "rxdata_octs"),
        ("read_bytes", "txdata_octs"),
    ):
        with suppress(OSError, ValueError):
            found[ours] = int((directory / theirs).read_text())
    return found


def _config(info: Path) -> str:
    """rtslib's own property ends at a colon."""
    with suppress(OSError):
        for word in info.read_text().split("Config: ")[1:]:
            return word.split(" ")[0].strip()
    return ""


def _is_ours(config: str) -> bool:
    return config.partition("/")[0] in SUBTYPES


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def _escaped(address: str) -> str:
    return address.replace("[", "[[]")
