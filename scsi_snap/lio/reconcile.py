"""Makes a target of the kernel what it should be, and touches nothing that is so already.

After a restart of the daemon everything is so already, and no initiator notices. What was taken
away goes first, then who may log in changes, then what is new comes, and a new group takes logins
last: at no point does anybody see more than before or after.

Every LUN of a group is one of the kernel's for the whole group, under its own number; a number that
belongs to single initiators leads to one of those, or to a hidden one: numbers from `HIDDEN_FIRST`
on are never shown as they are. Where a group is open the kernel shows all of its LUNs to everybody,
so an open group has none hidden (`LioExporter.check` refuses that).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from scsi_snap.lio.kernel_target import Acl, Group, KernelTarget

HIDDEN_FIRST = 16384
"""Above all numbers that a LUN can have in flat space addressing."""


def reconcile(kernel: KernelTarget, target: str, wished: Mapping[int, Group]) -> None:
    """Raises `KernelRefused` at the first step that fails; what is left is for the next time."""
    there = kernel.groups(target)
    for tag in sorted(set(there) - set(wished)):
        kernel.remove_group(target, tag)
    if not wished:
        kernel.remove_target(target)
        return
    for tag, group in sorted(wished.items()):
        if tag not in there:
            kernel.add_group(target, tag)
        _Group(kernel, target, tag, there.get(tag, Group(enabled=False)), group).change()


class _Group:
    """One group: `old` is what the kernel has, `new` what is wished."""

    def __init__(self, kernel: KernelTarget, target: str, tag: int, old: Group, new: Group) -> None:
        self._kernel = kernel
        self._where = (target, tag)
        self._old = old
        self._new = new
        self._luns = self._numbered()

    def change(self) -> None:
        self._withdraw()
        kernel, where, old, new = self._kernel, self._where, self._old, self._new
        if not old.enabled or _access(old) != _access(new):
            kernel.set_access(*where, new)
        for lun, backstore in self._luns.items():
            if old.luns.get(lun) != backstore:
                kernel.add_lun(*where, lun, backstore)
        for initiator, acl in sorted(new.acls.items()):
            self._admit(initiator, acl)
        if not new.open:
            self._log_out_unlisted()
        for address in sorted(new.portals - old.portals):
            kernel.add_portal(*where, address)
        if not old.enabled:
            kernel.enable(*where)

    def _numbered(self) -> dict[int, str]:
        """The LUNs of the whole group, hidden ones too. A hidden one that the kernel has stays as
        long as what it shows is mapped to anybody: commands may be on their way through it."""
        luns = dict(self._new.luns)
        mapped = {backstore for acl in self._new.acls.values() for backstore in acl.luns.values()}
        hidden = {lun: name for lun, name in self._old.luns.items() if lun >= HIDDEN_FIRST}
        luns |= {lun: backstore for lun, backstore in hidden.items() if backstore in mapped}
        free = (lun for lun in itertools.count(HIDDEN_FIRST) if lun not in hidden)
        return {**luns, **dict(zip(free, sorted(mapped - set(luns.values())), strict=False))}

    def _withdraw(self) -> None:
        kernel, where, old, new = self._kernel, self._where, self._old, self._new
        for address in sorted(old.portals - new.portals):
            kernel.remove_portal(*where, address)
        for initiator, acl in sorted(old.acls.items()):
            if initiator not in new.acls:
                kernel.remove_acl(*where, initiator)
                continue
            for number, backstore in acl.luns.items():
                if new.acls[initiator].luns.get(number) != backstore:
                    kernel.unmap_lun(*where, initiator, number)
        for lun, backstore in old.luns.items():
            # What is not ours was put there by somebody else, and is theirs.
            if self._luns.get(lun) != backstore and (lun in self._luns or "/" not in backstore):
                kernel.remove_lun(*where, lun)

    def _admit(self, initiator: str, acl: Acl) -> None:
        kernel, where = self._kernel, self._where
        before = self._old.acls.get(initiator)
        if before is None or before.chap != acl.chap or not self._old.enabled:
            kernel.set_acl(*where, initiator, acl)
        gone = {lun for lun, name in self._old.luns.items() if self._luns.get(lun) != name}
        for number, backstore in sorted(acl.luns.items()):
            kept = before is not None and before.luns.get(number) == backstore
            if not kept or gone & {n for n, name in self._old.luns.items() if name == backstore}:
                self._map(initiator, number, backstore, kept=kept)

    def _map(self, initiator: str, number: int, backstore: str, *, kept: bool) -> None:
        """`kept`: it may have gone with a LUN of the group that has gone."""
        if kept:
            self._kernel.unmap_lun(*self._where, initiator, number)
        lun = next(lun for lun, name in self._luns.items() if name == backstore)
        self._kernel.map_lun(*self._where, initiator, number, lun)

    def _log_out_unlisted(self) -> None:
        """Listing an initiator makes its session one of those that end when it is no longer
        listed: the kernel's one way to end a session of a group that was open."""
        for initiator in sorted(self._kernel.unlisted_sessions(*self._where)):
            if initiator not in self._new.acls:
                self._kernel.set_acl(*self._where, initiator, Acl())
                self._kernel.remove_acl(*self._where, initiator)


def _access(group: Group) -> tuple[object, ...]:
    return group.open, group.chap, group.authenticates
