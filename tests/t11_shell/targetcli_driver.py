"""Runs a stock targetcli, with our nodes, over an rtslib in memory: `DIRECTORY` has the package.

Reads commands from standard input, one a line. After each: a line with a NUL, and its exit status.
The real thing needs root and configfs; what is faked is only what is below targetcli.
"""

import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

from scsi_snap.api.client import Client, default_socket
from targetcli_ext import stock


class StorageObject:
    """A TCMU device. `made` has all of them."""

    made: ClassVar[list[Any]] = []

    plugin, status = "user", "deactivated"
    alua_tpgs: ClassVar[list[Any]] = []

    def __init__(
        self,
        name: str,
        config: str,
        size: int,
        wwn: str | None,
        hw_max_sectors: str | None,
        control: str,
    ) -> None:
        self.name, self.config, self.size, self.control = name, config, size, control
        self.attributes: dict[str, str] = {}
        self.made.append(self)

    def set_attribute(self, attribute: str, value: str) -> None:
        self.attributes[attribute] = value

    def delete(self, save: bool = False) -> None:
        self.made.remove(self)

    def dump(self) -> dict[str, str]:
        shown = ",".join(f"{name}={value}" for name, value in self.attributes.items())
        return {"config": self.config, "control": self.control, "set": shown}

    def list_parameters(self, writable: bool | None = None) -> list[str]:
        return []

    list_attributes = list_parameters


class Root:
    fabric_modules: ClassVar[list[Any]] = []
    storage_objects = StorageObject.made

    def invalidate_caches(self) -> None:
        pass


class Anything(ModuleType):
    """A module in which every name is a class; the few that matter are not."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return {"RTSRoot": Root, "UserBackedStorageObject": StorageObject}.get(
            name, type(name, (Exception,), {})
        )


def bus_get_sync(*_: object) -> None:
    raise RuntimeError("no system bus")


def fake_libraries() -> None:
    for module in ("rtslib", "rtslib.utils", "rtslib_fb", "rtslib_fb.utils"):
        sys.modules[module] = Anything(module)
    gi: Any = None
    if not os.environ.get("WITHOUT_GI"):
        gi = ModuleType("gi")
        repository: Any = ModuleType("gi.repository")
        bus_type = SimpleNamespace(SYSTEM=1)
        repository.Gio = SimpleNamespace(bus_get_sync=bus_get_sync, BusType=bus_type)
        sys.modules["gi.repository"] = sys.modules["gi.repository.Gio"] = repository
    sys.modules["gi"] = gi


def main(directory: Path, home: Path) -> None:
    os.environ["TARGETCLI_HOME"] = str(home)
    # Debian's program lies in bin/ of the tree that has the package.
    trees = [str(parent / "bin") for parent in directory.parents]
    os.environ["PATH"] = os.pathsep.join([*trees, os.environ["PATH"]])
    # Debian's package needs `six` from beside it.
    sys.path += [str(directory), "/usr/lib/python3/dist-packages"]
    fake_libraries()
    program: Any = stock.load()
    # After it, as `targetcli_ext.__main__` does.
    from targetcli_ext.graft import graft

    graft(program, Client(default_socket(os.environ, os.getuid())))
    program.getuid = lambda: 0
    program.lock_file = str(home / "lock")
    # It is not let go until the program ends, and here `main` runs more than once.
    program.try_op_lock = lambda *_: None
    for line in sys.stdin:
        sys.argv[1:] = line.split()
        try:
            program.main()
        except SystemExit as end:
            print(f"\0{end.code}", flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        main(Path(sys.argv[1]), Path(home))
