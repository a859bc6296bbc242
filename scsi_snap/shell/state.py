"""What the daemon has, as one command line sees it: each list is asked for once, when needed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from scsi_snap.api.client import Client

View = dict[str, Any]


class State:
    """`forget` before each command line: things change from elsewhere as well."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.generation = 0
        """Counts up with `forget`; a node rebuilds its children when it has changed."""
        self._lists: dict[str, Any] = {}
        self._groups: dict[str, dict[str, list[View]]] = {}

    def forget(self) -> None:
        self.generation += 1
        self._lists.clear()
        self._groups.clear()

    def all(self, what: str) -> Any:
        """`what`: the name of a list of the API, such as `pools`; or `daemon`, `discovery`."""
        if what not in self._lists:
            self._lists[what] = self.client.get(what)
        return self._lists[what]

    def volumes_of(self, pool: str) -> list[View]:
        return self._of("volumes", lambda name: name.partition("/")[0], pool)

    def snapshots_of(self, volume: str) -> list[View]:
        return self._of("snapshots", lambda name: name.partition("@")[0], volume)

    def sizes(self) -> dict[str, int]:
        """Bytes of each volume and snapshot, by name."""
        sizes = {one["name"]: one["size_bytes"] for one in self.all("volumes")}
        for one in self.all("snapshots"):
            sizes[one["name"]] = one["blocks"] * one["block_bytes"]
        return sizes

    def names(self, *lists: str) -> list[str]:
        return [one["name"] for what in lists for one in self.all(what)]

    def _of(self, what: str, owner: Callable[[str], str], name: str) -> list[View]:
        if what not in self._groups:
            groups: dict[str, list[View]] = defaultdict(list)
            for one in self.all(what):
                groups[owner(one["name"])].append(one)
            self._groups[what] = groups
        return self._groups[what].get(name, [])
