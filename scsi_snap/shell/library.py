"""configshell-fb, the one library that the shell needs, imported here only.

It exists under two names, `configshell` and `configshell_fb`, which are two modules to Python, with
classes of their own. Nodes that go into somebody else's tree must be of the same one: what is
loaded already wins.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from scsi_snap.errors import NotFound

_NAMES = ("configshell", "configshell_fb")


def _load() -> Any:
    for name in [*(name for name in _NAMES if name in sys.modules), *_NAMES]:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            # Debian's needs the package six, which must be named where it is what is missing.
            missing = error.name or name
            if missing.partition(".")[0] not in _NAMES:
                raise NotFound(
                    f"the shell's library {name} needs the Python package {missing}",
                    "install that one as well",
                ) from error
    raise NotFound(
        "the shell needs the Python package configshell-fb, which is not installed",
        "`pip install 'scsi-snap[shell]'`, or Debian's package python3-configshell-fb",
    )


_library = _load()

ConfigNode: Any = _library.ConfigNode
ConfigShell: Any = _library.ConfigShell
ExecutionError: Any = _library.ExecutionError
"""What a command fails with: the shell prints it and goes on."""

ParseError: Any = importlib.import_module("pyparsing").ParseBaseException
"""Of the parser that the library brings along: a line that cannot be read."""
