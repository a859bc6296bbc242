"""The top of the tree: /scsi_snap, and the root of the shell that has no targetcli around it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from scsi_snap import __version__
from scsi_snap.cli import render
from scsi_snap.errors import ScsiSnapError, Unsupported
from scsi_snap.shell.backstores import Backstores
from scsi_snap.shell.checks import tell_problems
from scsi_snap.shell.iscsi import Iscsi
from scsi_snap.shell.library import ExecutionError
from scsi_snap.shell.node import Child, Node, Status, counted
from scsi_snap.shell.pools import Pools
from scsi_snap.shell.service_nodes import Events, Luns, Portals, Sessions
from scsi_snap.shell.state import State
from scsi_snap.shell.targets import Targets

TOP = "scsi_snap"


class Top(Node):
    """/scsi_snap. It looks empty where no daemon answers: the tree around it must not suffer."""

    @property
    def children(self) -> list[Node]:
        try:
            return super().children
        except ExecutionError:
            return []

    def contents(self) -> Iterable[Child]:
        self.state.all("daemon")
        return [
            ("pools", Pools, None),
            ("targets", Targets, None),
            ("luns", Luns, None),
            ("portals", Portals, None),
            ("sessions", Sessions, None),
            ("events", Events, None),
        ]

    def summary(self) -> Status:
        try:
            one, health = self.state.all("daemon"), self.state.all("health")
        except ScsiSnapError as error:
            return error.message, False
        if health["state"] == "well":
            return f"version {one['version']}", True
        findings = counted(len(health["findings"]), "finding")
        return f"{health['state']}, {findings}: `health` lists them", False

    def facts(self) -> list[tuple[str, str]]:
        one = self.client.get("daemon")
        return [
            ("version", one["version"]),
            ("listens on", ", ".join(one["addresses"]) or "-"),
            ("data path", f"{one['driver']}, {counted(one['threads'], 'thread')}"),
            ("state", one["state_directory"]),
            ("pools", f"{one['pools']}, {one['unavailable_pools']} unavailable"),
            ("targets", str(one["targets"])),
            ("sessions", str(one["sessions"])),
        ]

    def ui_command_health(self) -> None:
        """
        Say what is not well, and what to do.
        """
        found = self.client.get("health")
        self.say("\n".join([found["state"], *render.findings(found)]))

    def ui_command_check(self) -> None:
        """
        Check the formats on disk of everything.
        """
        tell_problems(self, self.client.post("check"))


class Root(Node):
    def __init__(self, shell: Any, state: State) -> None:
        super().__init__("/", None, None, state, shell)

    def contents(self) -> Iterable[Child]:
        return [("backstores", Backstores, None), ("iscsi", Iscsi, None), (TOP, Top, None)]

    def facts(self) -> list[tuple[str, str]]:
        return [(name, node.summary()[0] or "-") for name, node in self.built().items()]

    # What those who know targetcli type here

    def ui_command_version(self) -> None:
        """
        Show the versions of the shell and of the daemon.
        """
        self.say(f"scsi_snap shell {__version__}, daemon {self.client.get('daemon')['version']}")

    def ui_command_saveconfig(self) -> None:
        """
        There is nothing to save: what a command has changed is on disk when it answers.
        """
        self.say("nothing to save: what a command has changed is on disk when it answers")

    def ui_command_restoreconfig(self) -> None:
        """
        There is no such file: `/scsi_snap/pools import` takes pools over from their members.
        """
        raise Unsupported(
            "there is no saved configuration to restore",
            "`/scsi_snap/pools import MEMBER...` takes a pool over, with its volumes",
        )

    def ui_command_clearconfig(self) -> None:
        """
        Not here: each target, volume and pool is deleted by its own name.
        """
        raise Unsupported(
            "everything at once is not deleted here",
            "`/iscsi delete IQN`, `/scsi_snap/pools/POOL delete VOLUME` and so on delete one",
        )
