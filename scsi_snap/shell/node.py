"""What all nodes share: children that follow the daemon, errors in words, completion by a table.

A node's children are made from `contents` when they are looked at, at most once between two
`State.forget`; a child that stays keeps its node, so that the shell may stand on it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

from scsi_snap.api.client import Client
from scsi_snap.cli import render
from scsi_snap.errors import InvalidArgument, ScsiSnapError
from scsi_snap.os_errors import of_os_error
from scsi_snap.shell.hints import in_shell
from scsi_snap.shell.library import ConfigNode, ExecutionError
from scsi_snap.shell.state import State, View

Offer = Callable[[Any, Mapping[str, str]], Iterable[str]]
"""Node and parameters typed so far → words that may follow."""

Child = tuple[str, type["Node"], Any]
"""Name, kind of node, and its view."""

Status = tuple[str, bool | None]
"""The words in brackets that `ls` shows, and whether they are good, bad or neither."""

HELP = """
    A path and a command, or a command alone for where you are:

        /scsi_snap/pools/tank create vol0 10GiB
        cd /scsi_snap/pools/tank/vol0
        snapshot monday

    A path has a slash in it: `monday/ diff` runs `diff` on the child `monday`. Parameters go by
    their place or by name (size=10GiB). TAB completes all of them. `help COMMAND` tells what a
    command does, `ls` shows the tree from here on, `cd` goes elsewhere, `exit` leaves.
"""


@contextmanager
def errors_shown() -> Iterator[None]:
    """What the API refused, as a failed command of the shell."""
    try:
        yield
    except ScsiSnapError as error:
        raise ExecutionError(in_words(error)) from error
    except OSError as error:
        raise ExecutionError(in_words(of_os_error(error))) from error


def in_words(error: ScsiSnapError) -> str:
    hint = in_shell(error.hint)
    return f"{error.message}\n  {hint}" if hint else error.message


class Node(ConfigNode):
    """`view` is what the API tells of the thing, None where the node is none."""

    offers: ClassVar[Mapping[str, Offer]] = {}
    """By `COMMAND.PARAMETER`, or by the parameter alone."""

    help_intro = HELP

    def __init__(
        self,
        name: str,
        parent: Any,
        view: Any = None,
        state: State | None = None,
        shell: Any = None,
    ) -> None:
        self.state: State = state if state is not None else parent.state
        self._view = view
        self._nodes: dict[str, Node] = {}
        self._built = -1
        super().__init__(name, parent, shell)

    def contents(self) -> Iterable[Child]:
        """The children that there are now."""
        return ()

    def status(self) -> Status:
        return "", None

    def facts(self) -> list[tuple[str, str]]:
        """What `info` prints."""
        return [("status", self.status()[0] or "-")]

    @property
    def client(self) -> Client:
        return self.state.client

    @property
    def view(self) -> View:
        """As it is now; the last one known where the thing has gone."""
        if isinstance(self.parent, Node):
            self.parent.built()
        view: View = self._view
        return view

    def ui_command_info(self) -> None:
        """Show all that is known of this."""
        self.say(render.fields(self.facts()))

    def ui_command_refresh(self) -> None:
        """Ask the daemon anew. Each command does so anyway."""
        self.refresh()

    def ui_command_cd(self, path: str | None = None) -> Any:
        if path is None and not sys.stdout.isatty():
            raise ExecutionError("without a terminal to choose on, cd needs a path")
        return super().ui_command_cd(path)

    ui_command_cd.__doc__ = ConfigNode.ui_command_cd.__doc__

    # What commands are made with

    def say(self, text: str) -> None:
        self.shell.con.display(text)

    def tell(self, answer: View, what: str) -> None:
        """One line on how a verb ended: `created volume tank/vol0`."""
        outcome = answer["outcome"]
        self.shell.log.info(f"{outcome}: {what}" if outcome == "unchanged" else f"{outcome} {what}")

    # What configshell asks of a node

    @property
    def children(self) -> list[Node]:
        with errors_shown():
            return list(self.built().values())

    def get_child(self, name: str) -> Node:
        # Always as a path that cannot be found: on another error, targetcli would look up the last
        # path of its history again and again.
        try:
            child = self.built().get(name)
        except ScsiSnapError as error:
            raise ValueError(in_words(error)) from error
        if child is None:
            raise ValueError(f"no such path: {self.path.rstrip('/')}/{name}")
        return child

    def summary(self) -> Status:
        with errors_shown():
            gone = isinstance(self.parent, Node) and self.parent.built().get(self.name) is not self
            return ("no longer there", False) if gone else self.status()

    def refresh(self) -> None:
        self.state.forget()

    def execute_command(
        self, command: str, pparams: list[str] | None = None, kparams: dict[str, str] | None = None
    ) -> Any:
        with errors_shown():
            try:
                return super().execute_command(command, pparams or [], kparams or {})
            finally:
                # A further command of the same line sees what this one did.
                self.state.forget()

    def get_command_description(self, command: str) -> str:
        return inspect.cleandoc(self.get_command_method(command).__doc__ or "") + "\n"

    def get_completion_method(self, command: str) -> Any:
        return super().get_completion_method(command) or partial(self._complete, command)

    def _complete(
        self, command: str, parameters: Mapping[str, str], text: str, parameter: str
    ) -> list[str]:
        offer = self.offers.get(f"{command}.{parameter}") or self.offers.get(parameter)
        if offer is None:
            return []
        with errors_shown():
            words = sorted({word for word in offer(self, parameters) if word.startswith(text)})
        # What ends in = or / goes on.
        return [words[0] + " "] if len(words) == 1 and words[0][-1:] not in "=/@" else words

    def built(self) -> dict[str, Node]:
        """The children by name, as they are now."""
        if self._built != self.state.generation:
            generation = self.state.generation
            nodes: dict[str, Node] = {}
            for name, kind, view in self.contents():
                node = self._nodes.get(name)
                if type(node) is kind:
                    node._view = view
                else:
                    node = kind(name, self, view)
                    # configshell's own set of siblings, looked through for each new one.
                    self._children.clear()
                nodes[name] = node
            self._nodes, self._built = nodes, generation
        return self._nodes


def words(*offered: str) -> Offer:
    """The same words always."""
    return lambda _node, _parameters: offered


def named(*lists: str) -> Offer:
    """The names of all that such lists of the API hold."""
    return lambda node, _parameters: node.state.names(*lists)


def children_names(node: Node, _parameters: Mapping[str, str]) -> Iterable[str]:
    return node.built()


FLAG = words("true", "false")

_FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def flag(text: str | bool) -> bool:
    if isinstance(text, bool):
        return text
    value = _FLAGS.get(text.lower())
    if value is None:
        raise InvalidArgument(f"{text!r} is neither true nor false")
    return value


def number(what: str, text: str | int) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise InvalidArgument(f"the {what} {text!r} is not a number") from error


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
