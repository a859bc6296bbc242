"""The rest of /scsi_snap: luns, portals, sessions, events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from scsi_snap.cli import render
from scsi_snap.shell.auth import AuthNode
from scsi_snap.shell.mapping import MAPPING_OFFERS, map_lun, unmap_lun
from scsi_snap.shell.node import (
    Child,
    Node,
    Offer,
    Status,
    children_names,
    counted,
    named,
    number,
    words,
)
from scsi_snap.shell.targets import Lun, lun_children, via_lio


class Luns(Node):
    """All LUNs, target by target."""

    offers: ClassVar[Mapping[str, Offer]] = {
        **MAPPING_OFFERS,
        "backing": named("volumes", "snapshots"),
    }

    def contents(self) -> Iterable[Child]:
        return [(one["name"], TargetLuns, one) for one in self.state.all("targets") if one["luns"]]

    def status(self) -> Status:
        return counted(len(self.state.all("luns")), "LUN"), None

    def ui_command_map(
        self,
        target: str,
        lun: str,
        backing: str,
        initiator: str | None = None,
        read_only: str = "false",
        again: str = "false",
    ) -> None:
        """
        Show a volume, or read-only a snapshot, to initiators of a target under a number.

            map iqn.2026-11.org.example:disk 0 tank/vol0
        """
        map_lun(self, target, lun, backing, initiator, read_only, again)

    def ui_command_unmap(self, target: str, lun: str, initiator: str | None = None) -> None:
        """
        Take a LUN away from whoever sees it, or from one initiator whose own it is.
        """
        unmap_lun(self, target, lun, initiator)


class TargetLuns(Node):
    def contents(self) -> Iterable[Child]:
        return lun_children(self.view["luns"], Lun)

    def status(self) -> Status:
        return counted(len(self.view["luns"]), "LUN"), None


class Portals(AuthNode):
    """Addresses at which initiators log in. Discovery's secret is here as well, as group
    `discovery_auth`."""

    auth_group = "discovery_auth"
    offers: ClassVar[Mapping[str, Offer]] = {
        "delete.address": children_names,
        "via": words("lio", "portal"),
    }

    def contents(self) -> Iterable[Child]:
        return [(one["address"], Portal, one) for one in self.state.all("portals")]

    def status(self) -> Status:
        text = counted(len(self.state.all("portals")), "portal")
        return text + (", discovery by CHAP" if self.chap_view()["chap_user"] else ""), None

    def chap_path(self) -> tuple[str, ...]:
        return ("discovery", "chap")

    def chap_view(self) -> Mapping[str, str | None]:
        view: Mapping[str, str | None] = self.state.all("discovery")
        return view

    def ui_command_create(self, address: str, group: str = "1", via: str | None = None) -> None:
        """
        Listen at ADDRESS:PORT, from now on and after every start.

        A target is reached through the portals of the groups that it is in.

            create 192.0.2.1:3260
            create [2001:db8::1]:3260 group=2
        """
        create_portal(self, address, group, via)

    def ui_command_delete(self, address: str) -> None:
        """
        Listen there no more. Sessions go on; their initiators cannot come back that way.
        """
        delete_portal(self, address)


class Portal(Node):
    def status(self) -> Status:
        one = self.view
        by = "" if one["on_record"] else ", by --listen"
        text = f"group {one['portal_group_tag']}{by}, {one['state']}"
        text += via_lio(one)
        return (f"{text}: {one['reason']}", False) if one["reason"] else (text, True)


class Sessions(Node):
    offers: ClassVar[Mapping[str, Offer]] = {"number": children_names}

    def contents(self) -> Iterable[Child]:
        return [(str(one["id"]), Session, one) for one in self.state.all("sessions")]

    def status(self) -> Status:
        return counted(len(self.state.all("sessions")), "session"), None

    def ui_command_close(self, number: str) -> None:
        """
        End a session; its initiator may log in again.
        """
        close_session(self, number)


class Session(Node):
    def status(self) -> Status:
        one = self.view
        return f"{one['initiator']} from {one['address']} to {one['target']}", True

    def facts(self) -> list[tuple[str, str]]:
        one = self.view
        pairs = [
            ("initiator", one["initiator"]),
            ("address", one["address"]),
            ("target", one["target"]),
            ("portal", f"{one['portal']}, group {one['portal_group_tag']}"),
        ]
        for counter, value in sorted(one["counters"].items()):
            told = render.size(value) if counter.endswith("_bytes") else str(value)
            pairs.append((counter.removesuffix("_bytes").replace("_", " "), told))
        return pairs

    def ui_command_close(self) -> None:
        """
        End the session; its initiator may log in again.
        """
        close_session(self, self.name)


class Events(Node):
    """What happened: full stores, dropped snapshots, failed members."""

    def status(self) -> Status:
        events = self.state.all("events")
        if not events:
            return "none", None
        return f"{len(events)}, the last: {render.event_text(events[-1])}", None

    def ui_command_show(self, after: str = "0") -> None:
        """
        List what happened; of events that are numbered above `after`.
        """
        found = self.client.get("events", after=number("event", after))
        self.say("\n".join(map(render.event, found)) or "no events")


def create_portal(node: Node, address: str, group: str, via: str | None = None) -> None:
    body = {"address": address, "group": number("portal group", group)}
    answer = node.client.post("portals", body=body | ({"via": via} if via else {}))
    node.tell(answer, f"portal {answer['view']['address']}")


def delete_portal(node: Node, address: str) -> None:
    node.tell(node.client.delete("portals", address), f"portal {address}")


def close_session(node: Node, session: str) -> None:
    node.client.delete("sessions", number("session", session))
    node.shell.log.info(f"closed session {session}")
