"""/backstores/user:scsi-snap in the stock targetcli: TCMU devices over our volumes and snapshots.

A device's dev_config is `scsi-snap/POOL/VOLUME[@SNAPSHOT]`; the daemon serves it as soon as it is
there. The size and block size are those of the volume.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scsi_snap.cli.arguments import snapshot_parts, volume_parts
from scsi_snap.errors import InvalidArgument
from scsi_snap.inventory.lio_names import dev_config
from scsi_snap.shell.node import errors_shown
from scsi_snap.shell.state import State
from scsi_snap.units import format_size, parse_size
from targetcli_ext import stock

HANDLER = "scsi-snap"
CONFIG_DESC = "POOL/VOLUME, or POOL/VOLUME@SNAPSHOT (read-only)"


def add_backstore(ui: Any, state: State) -> None:
    """`ui`: targetcli's module of backstores. Each refresh of its tree lists ours as well."""
    backstore = _backstore_class(ui, state)
    stock.tolerate_no_bus(ui.UIBackstores)
    listed = ui.UIBackstores.refresh

    def refresh(self: Any) -> None:
        listed(self)
        backstore(self)

    ui.UIBackstores.refresh = refresh


def _backstore_class(ui: Any, state: State) -> Any:
    class Backstore(ui.UIUserBackedBackstore):
        ui_command_changemedium = None

        def __init__(self, parent: Any) -> None:
            described = {"org.kernel.TCMUService1": {"ConfigDesc": CONFIG_DESC}}
            super().__init__(parent, HANDLER, None, described)

        def ui_command_create(
            self,
            name: str,
            size: str | None = None,
            cfgstring: str | None = None,
            wwn: str | None = None,
            hw_max_sectors: str | None = None,
            control: str | None = None,
        ) -> Any:
            """
            Create a storage object over a volume or snapshot of scsi_snap.

            size: the volume's; it need not be given

                create vol0 cfgstring=tank/vol0
                create monday cfgstring=tank/vol0@monday
            """
            self.assert_root()
            with errors_shown():
                backing = _backing(cfgstring)
                size_bytes, block_bytes = _geometry(state, backing, size)
            if "hw_block_size" not in (control or ""):
                # Comma separated, as the kernel's control file takes it.
                control = ",".join(filter(None, [f"hw_block_size={block_bytes}", control]))
            made = ui.UserBackedStorageObject(
                name,
                size=size_bytes,
                config=dev_config(backing, read_only=False),
                wwn=self.ui_eval_param(wwn, "string", None),
                hw_max_sectors=hw_max_sectors,
                control=control,
            )
            # A command that the kernel gave up could still be carried out, over newer data.
            made.set_attribute("cmd_time_out", "0")
            node = ui.UIUserBackedStorageObject(made, self)
            self.shell.log.info(f"Created {name} over {backing}, {format_size(size_bytes)}.")
            return self.new_node(node)

        def ui_complete_create(
            self, _parameters: Mapping[str, str], text: str, parameter: str
        ) -> list[str]:
            if parameter != "cfgstring":
                return []
            with errors_shown():
                names = state.names("volumes", "snapshots")
            return sorted(name for name in names if name.startswith(text))

    return Backstore


def _backing(cfgstring: str | None) -> str:
    if cfgstring is None:
        raise InvalidArgument("which volume?", f"write cfgstring={CONFIG_DESC}")
    return cfgstring


def _geometry(state: State, backing: str, size: str | None) -> tuple[int, int]:
    """Bytes, and bytes of a logical block; `size` as it was typed must be the same."""
    if "@" in backing:
        one = state.client.get("snapshots", *snapshot_parts(backing))
        size_bytes = one["blocks"] * one["block_bytes"]
    else:
        one = state.client.get("volumes", *volume_parts(backing))
        size_bytes = one["size_bytes"]
    if size is not None and parse_size(size) != size_bytes:
        has = f"{format_size(size_bytes)} ({size_bytes} bytes)"
        raise InvalidArgument(f"{backing} has {has}, not {size}", "leave size out")
    return size_bytes, one["block_bytes"]
