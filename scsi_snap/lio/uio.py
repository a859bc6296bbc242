"""TCMU devices as the kernel shows them: one uio device each, and a storage object in configfs.

A primer. A storage object of the plugin `user` (`/sys/kernel/config/target/core/user_HBA/NAME`) has
no data of its own: the kernel writes its commands into a ring in memory, which whoever opens
`/dev/uioN` maps, carries out and answers. `/sys/class/uio/uioN/name` tells whose it is:
`tcm-user/HBA/NAME/SUBTYPE/CONFIG`, where SUBTYPE names the handler and CONFIG is the handler's
affair. The ring lives as long as the device, not as long as its handler.

All that is here comes from the kernel and from whoever may configure it, thus root; yet a device
may go away at any time between two looks at it, and that is no error.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SUBTYPES = ("scsi-snap", "scsi_snap")
"""Ours; the second for tools that take the name from D-Bus, where no path has a `-`."""

_BUSY = "1"
"""What `reset_ring` is written: every command ends BUSY, so that its initiator sends it again."""


@dataclass(frozen=True)
class TcmuDevice:
    """One of ours. `config` is what follows the subtype. `core`: its storage object in configfs.
    `full_name`: all of it, as events have it."""

    uio: str
    full_name: str
    hba: int
    name: str
    config: str
    region_bytes: int
    node: Path
    core: Path

    @property
    def label(self) -> str:
        """As tools of the kernel's target name it."""
        return f"user/{self.name}"

    def size_bytes(self) -> int | None:
        """None where the device has gone."""
        return self._number("dev_size")

    def set_size(self, size_bytes: int) -> None:
        """What tools show; initiators are told by the handler. Its handler is sent an event."""
        if self.size_bytes() not in (None, size_bytes):
            self._put("attrib/dev_size", str(size_bytes))

    def gives_up_after_s(self) -> int:
        """After which time the kernel ends a command by itself; 0: never, or the device has
        gone."""
        return self._number("cmd_time_out") or 0

    def prepare(self) -> None:
        """Has the kernel wait for its handler as long as it takes, which it takes no order for once
        the device is exported; and tell in the ring which commands their initiators abort."""
        if self.gives_up_after_s():
            self._put("attrib/cmd_time_out", "0")
        self._put("attrib/tmr_notification", "1")

    def expects_answers(self) -> bool:
        """Whether the kernel waits for an answer to each event of the device."""
        return (self._number("nl_reply_supported") or 0) > 0

    def block(self) -> None:
        """Has the kernel answer new commands BUSY by itself."""
        self._put("action/block_dev", "1")

    def unblock(self) -> None:
        self._put("action/block_dev", "0")

    def reset_ring(self) -> None:
        """Ends every command in the ring BUSY, and empties it. Nobody may be serving it."""
        self._put("action/reset_ring", _BUSY)

    def _number(self, attribute: str) -> int | None:
        try:
            return int((self.core / "attrib" / attribute).read_text(), 0)
        except (OSError, ValueError):
            return None

    def _put(self, file: str, text: str) -> bool:
        try:
            (self.core / file).write_text(text)
        except OSError:
            return False
        return True


class UioTree:
    """Where the devices are; `sys` and `dev` are others in tests."""

    def __init__(self, sys: Path = Path("/sys"), dev: Path = Path("/dev")) -> None:
        self._uio = sys / "class/uio"
        self._core = sys / "kernel/config/target/core"
        self.module = sys / "module/target_core_user"
        self._dev = dev

    def devices(self) -> list[TcmuDevice]:
        """Ours, oldest first."""
        try:
            found = [path.name for path in self._uio.iterdir()]
        except OSError:
            return []
        numbered = sorted(found, key=lambda uio: (len(uio), uio))
        return [device for device in map(self.device, numbered) if device is not None]

    def device(self, uio: str) -> TcmuDevice | None:
        """None where there is none of that name (any more), or it is another handler's."""
        try:
            name = (self._uio / uio / "name").read_text().strip()
            size = int((self._uio / uio / "maps/map0/size").read_text(), 0)
        except (OSError, ValueError):
            return None
        parts = name.split("/", 4)
        if len(parts) < 5 or parts[0] != "tcm-user" or parts[3] not in SUBTYPES:
            return None
        _, hba, storage_object, _, config = parts
        core = self._core / f"user_{hba}" / storage_object
        return TcmuDevice(uio, name, int(hba), storage_object, config, size, self._dev / uio, core)

    def named(self, storage_object: str) -> TcmuDevice | None:
        """The one of that storage object."""
        return next((one for one in self.devices() if one.name == storage_object), None)

    def free_netlink(self) -> None:
        """Lets go of whatever in the kernel waits for a handler's answer that will not come."""
        for parameter, value in (
            ("block_netlink", "1"),
            ("reset_netlink", "1"),
            ("block_netlink", "0"),
        ):
            with suppress(OSError):
                (self.module / "parameters" / parameter).write_text(value)
