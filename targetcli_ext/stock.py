"""The stock targetcli, as a module: the one place that knows where its versions differ.

    3.x (PyPI)          the module targetcli.targetcli_shell, over `configshell` and `rtslib`
    2.1.53 (Debian)     the program /usr/bin/targetcli, over `configshell_fb` and `rtslib_fb`

Both have a `main`, and look up `TargetCLI` (their ConfigShell) and `UIRoot` among their globals.
"""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import SourceFileLoader
from types import ModuleType, SimpleNamespace
from typing import Any

from scsi_snap.errors import NotFound

HINT = "`pip install targetcli`, or Debian's package targetcli-fb"


def load() -> ModuleType:
    """Before anything of `scsi_snap.shell`, whose nodes must be of the same configshell."""
    _stand_in_for_gi()
    try:
        importlib.import_module("targetcli.ui_root")
        if importlib.util.find_spec("targetcli.targetcli_shell") is not None:
            return importlib.import_module("targetcli.targetcli_shell")
    except ModuleNotFoundError as error:
        if error.name == "targetcli":
            raise NotFound("targetcli is not installed for this Python", HINT) from error
        raise NotFound(
            f"targetcli needs the Python package {error.name}, which is not installed", HINT
        ) from error
    return _loaded_program()


def backstores() -> Any:
    return importlib.import_module("targetcli.ui_backstore")


def tolerate_no_bus(ui_backstores: Any) -> None:
    """`_user_backstores` of `UIBackstores` lists nothing where no system bus runs, in place of
    ending the program."""
    listed: Callable[[Any], Iterator[Any]] = ui_backstores._user_backstores

    def user_backstores(self: Any) -> Iterator[Any]:
        try:
            yield from listed(self)
        except Exception as error:  # noqa: BLE001  each bus library has errors of its own
            self.shell.log.debug(f"no user: backstores of other handlers: {error}")

    ui_backstores._user_backstores = user_backstores


def _loaded_program() -> ModuleType:
    path = shutil.which("targetcli")
    if path is None:
        raise NotFound("the program targetcli is not on the PATH", HINT)
    loader = SourceFileLoader("targetcli_program", path)
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None, "a loader by path has a spec"
    program = importlib.util.module_from_spec(spec)
    loader.exec_module(program)
    return program


def _stand_in_for_gi() -> None:
    """targetcli imports PyGObject to ask the bus for handlers. Ours needs no bus; without
    PyGObject, other handlers are not listed."""
    try:
        importlib.import_module("gi.repository.Gio")
    except ImportError:
        repository: Any = ModuleType("gi.repository")
        repository.Gio = SimpleNamespace()
        sys.modules["gi"] = ModuleType("gi")
        sys.modules["gi.repository"] = repository
