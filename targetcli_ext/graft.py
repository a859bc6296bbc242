"""Our nodes into the stock targetcli's tree."""

from __future__ import annotations

from types import ModuleType
from typing import Any, NoReturn

from scsi_snap.api.client import Client
from scsi_snap.shell.state import State
from scsi_snap.shell.tree import TOP, Top
from targetcli_ext import stock
from targetcli_ext.backstore import add_backstore


def graft(program: ModuleType, client: Client) -> None:
    """`program` as `stock.load` gives it: what its `main` starts has our nodes from then on."""
    state = State(client)
    add_backstore(stock.backstores(), state)
    changed: Any = program
    changed.UIRoot = _root_class(changed.UIRoot, state)
    changed.TargetCLI = _shell_class(changed.TargetCLI, state)
    changed.switch_to_daemon = _no_daemon


def _root_class(stock_root: Any, state: State) -> Any:
    class Root(stock_root):
        _top: Top | None = None

        def refresh(self) -> None:
            super().refresh()
            if self._top is None:
                self._top = Top(TOP, self, state=state)
            # The same one as before: the shell may stand on a node below it.
            self._children.add(self._top)

    return Root


def _shell_class(stock_shell: Any, state: State) -> Any:
    class Shell(stock_shell):
        def run_cmdline(self, cmdline: str) -> None:
            state.forget()
            super().run_cmdline(cmdline)

        def _complete(self, text: str, number: int) -> Any:
            if number == 0:
                state.forget()
            return super()._complete(text, number)

    return Shell


def _no_daemon(*_: object) -> NoReturn:
    raise SystemExit(
        "error: targetcli's preference auto_use_daemon is on, and targetclid has no such nodes\n"
        "  `targetcli --disable-daemon` turns it off"
    )
