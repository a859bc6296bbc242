"""Whether the kernel's target can be used here, and if not, what is in the way.

The order matters: the directory of LIO's own records must be there before `target_core_mod` is
loaded, which takes no other from then on; and configfs shows the target only with its module.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

KERNEL_MODULES = ("target_core_mod", "target_core_user", "iscsi_target_mod")
PYTHON_PACKAGES = ("rtslib_fb", "pyroute2")


class Host:
    """The machine, as far as this is about it; another in tests."""

    def __init__(
        self,
        sys: Path = Path("/sys"),
        etc: Path = Path("/etc"),
        run: Callable[[list[str]], bool] | None = None,
        is_root: bool | None = None,
        has_package: Callable[[str], bool] | None = None,
    ) -> None:
        self._sys = sys
        self._etc = etc
        self._run = run or _succeeds
        self._is_root = os.geteuid() == 0 if is_root is None else is_root
        self._has_package = has_package or (lambda name: importlib.util.find_spec(name) is not None)

    def obstacle(self) -> str | None:
        """What is missing, in a few words; None: nothing is.

        Loads modules and mounts configfs where that has to be done and may be."""
        return self._modules() or self._packages() or self._configfs()

    def _modules(self) -> str | None:
        missing = [name for name in KERNEL_MODULES if not self._loaded(name)]
        dry = ["modprobe", "--dry-run", "--quiet"]
        if not self._is_root:
            also = f", and the kernel module {missing[0]} is not loaded" if missing else ""
            return f"only root can use it{also}"
        for name in missing:
            if not self._run([*dry, name]):
                return f"the kernel module {name} is missing (`modprobe {name}` must work)"
        try:
            (self._etc / "target/pr").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            return f"the directory /etc/target/pr cannot be made: {error.strerror}"
        for name in missing:
            if not self._run(["modprobe", name]):
                return f"the kernel module {name} cannot be loaded (see `modprobe {name}`)"
        return None

    def _loaded(self, module: str) -> bool:
        """One that is built in without parameters has no directory: `modprobe` knows it."""
        return (self._sys / "module" / module).is_dir()

    def _packages(self) -> str | None:
        for name in PYTHON_PACKAGES:
            if not self._has_package(name):
                return f"the Python package {name} is missing (`pip install 'scsi-snap[lio]'`)"
        return None

    def _configfs(self) -> str | None:
        root = self._sys / "kernel/config"
        if not (root / "target").is_dir():
            self._run(["mount", "-t", "configfs", "none", str(root)])
        if not (root / "target").is_dir() and root.is_dir():
            # The module makes this one itself in newer kernels, and waits for us in older ones.
            try:
                (root / "target").mkdir()
            except OSError as error:
                return f"configfs at {root} cannot be used: {error.strerror}"
        return None if (root / "target").is_dir() else f"there is no configfs at {root}"


def obstacle() -> str | None:
    """Of this machine."""
    return Host().obstacle()


def _succeeds(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False
