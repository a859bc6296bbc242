"""/scsi_snap/targets, and what belongs to a target: its LUNs and the initiators that it lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from scsi_snap.cli import render
from scsi_snap.errors import InvalidArgument
from scsi_snap.shell.auth import AuthNode
from scsi_snap.shell.mapping import initiators_of, map_lun, unmap_lun
from scsi_snap.shell.node import (
    FLAG,
    Child,
    Node,
    Offer,
    Status,
    children_names,
    counted,
    flag,
    named,
    number,
    words,
)
from scsi_snap.shell.state import View


class Targets(Node):
    offers: ClassVar[Mapping[str, Offer]] = {
        "delete.name": children_names,
        "close_sessions": FLAG,
        "via": words("lio", "portal"),
    }

    def contents(self) -> Iterable[Child]:
        return [(one["name"], Target, one) for one in self.state.all("targets")]

    def status(self) -> Status:
        return counted(len(self.state.all("targets")), "target"), None

    def ui_command_create(
        self, name: str, groups: str | None = None, via: str | None = None
    ) -> None:
        """
        Make a target. Any initiator may log in until `allow` lists some.

        groups: portal group tags with commas between; 1 by default
        via: lio (the kernel's target) or portal (the embedded one)

            create iqn.2026-11.org.example:disk
        """
        answer = create_target(self, name, groups, via)
        self.tell(answer, f"target {answer['view']['name']}")

    def ui_command_delete(self, name: str, close_sessions: str = "false") -> None:
        """
        Delete a target and its LUN map; volumes and snapshots stay.

        close_sessions: even while initiators are logged in
        """
        answer = self.client.delete("targets", name, close_sessions=flag(close_sessions))
        self.tell(answer, f"target {name}")


class Target(AuthNode):
    offers: ClassVar[Mapping[str, Offer]] = {
        "backing": named("volumes", "snapshots"),
        "unmap.lun": lambda node, _: [str(one["lun"]) for one in node.view["luns"]],
        "initiator": lambda node, _: initiators_of(node, node.name),
        "deny.initiator": lambda node, _: [one["name"] for one in node.view["initiators"]],
        "remove_group.tag": lambda node, _: group_tags(node.view),
        "read_only": FLAG,
        "permanent": FLAG,
        "close_sessions": FLAG,
    }

    def contents(self) -> Iterable[Child]:
        return lun_children(self.view["luns"], Lun)

    def status(self) -> Status:
        one = self.view
        text = f"{counted(len(one['luns']), 'LUN')}, {counted(one['sessions'], 'session')}"
        listed = len(one["initiators"])
        text += f", {counted(listed, 'initiator')} allowed" if listed else ", any initiator"
        if one["chap_user"]:
            text += ", mutual CHAP" if one["chap_mutual_user"] else ", CHAP"
        if one["redirect"]:
            text += f", sent on to {one['redirect']}"
        return text + via_lio(one), True

    def facts(self) -> list[tuple[str, str]]:
        return target_facts(self.view)

    def chap_path(self) -> tuple[str, ...]:
        return ("targets", self.name, "chap")

    def ui_command_map(
        self,
        lun: str,
        backing: str,
        initiator: str | None = None,
        read_only: str = "false",
        again: str = "false",
    ) -> None:
        """
        Show a volume, or read-only a snapshot, to initiators under a number. Sessions go on.

        initiator: to this one alone; several with commas between

            map 0 tank/vol0
            map 1 tank/vol0@monday
        """
        map_lun(self, self.name, lun, backing, initiator, read_only, again)

    def ui_command_unmap(self, lun: str, initiator: str | None = None) -> None:
        """
        Take a LUN away from whoever sees it, or from one initiator whose own it is.
        """
        unmap_lun(self, self.name, lun, initiator)

    def ui_command_delete(self, lun: str) -> None:
        """
        Take a LUN away, as `unmap` does.
        """
        unmap_lun(self, self.name, lun)

    def ui_command_allow(self, initiator: str) -> None:
        """
        List an initiator that may log in; those that are not listed are refused from then on.
        """
        answer = self.client.put("targets", self.name, "initiators", initiator)
        self.tell(answer, f"access of {initiator}")

    def ui_command_deny(self, initiator: str) -> None:
        """
        Take an initiator off the list and close its sessions; its own LUNs go with it.
        """
        answer = self.client.delete("targets", self.name, "initiators", initiator)
        self.tell(answer, f"access of {initiator}")

    def ui_command_allow_any(self) -> None:
        """
        Empty the list: any initiator may log in.
        """
        allow_any(self, self.name)

    def ui_command_redirect(self, address: str | None = None, permanent: str = "false") -> None:
        """
        Send every login on to another ADDRESS:PORT; without one, take logins again.
        """
        if address is None:
            answer = self.client.delete("targets", self.name, "redirect")
        else:
            body = {"address": address, "permanent": flag(permanent)}
            answer = self.client.put("targets", self.name, "redirect", body=body)
        self.tell(answer, f"redirection of {self.name}")

    def ui_command_add_group(self, tag: str) -> None:
        """
        Let initiators log in through the portals of one more group.
        """
        add_group(self, self.name, tag)

    def ui_command_remove_group(self, tag: str, close_sessions: str = "false") -> None:
        """
        Take the target out of a portal group; the portals stay.
        """
        remove_group(self, self.name, tag, close_sessions)


class Lun(Node):
    """One number of a target; several where initiators have their own there."""

    def status(self) -> Status:
        views: list[View] = self.view["views"]
        sizes = self.state.sizes()
        told = [_lun_status(one, sizes) for one in views]
        return "; ".join(told), all(one["state"] == "mapped" for one in views)

    def facts(self) -> list[tuple[str, str]]:
        return [("LUN", self.name.removeprefix("lun")), ("shows", self.status()[0])]


def target_facts(one: View) -> list[tuple[str, str]]:
    pairs = [("name", one["name"])]
    if "via" in one:
        pairs.append(("via", one["via"]))
    for port in one["ports"]:
        portals = ", ".join(port["portals"]) or "no portal"
        pairs.append((f"portal group {port['portal_group_tag']}", portals))
    if one["redirect"]:
        how = "permanently" if one["redirect_permanent"] else "for now"
        pairs.append(("logins go to", f"{one['redirect']}, {how}"))
    pairs += [
        ("CHAP user", one["chap_user"] or "-"),
        ("mutual user", one["chap_mutual_user"] or "-"),
    ]
    for each in one["initiators"]:
        own = f", CHAP as {each['chap_user']}" if each["chap_user"] else ""
        pairs.append(("initiator", each["name"] + own))
    if not one["initiators"]:
        pairs.append(("initiators", "any"))
    return [*pairs, ("sessions", str(one["sessions"]))]


def lun_children(views: Iterable[View], kind: type[Node]) -> list[Child]:
    """lun0, lun1, …: one child a number."""
    numbers: dict[int, list[View]] = {}
    for one in views:
        numbers.setdefault(one["lun"], []).append(one)
    return [(f"lun{lun}", kind, {"views": views}) for lun, views in sorted(numbers.items())]


def create_target(node: Node, name: str, groups: str | None, via: str | None) -> View:
    tags = [number("portal group", tag) for tag in groups.split(",")] if groups else []
    # An older daemon knows no `via`.
    body = {"name": name, "groups": tags} | ({"via": via} if via else {})
    answer: View = node.client.post("targets", body=body)
    return answer


def allow_any(node: Node, target: str) -> None:
    node.tell(node.client.delete("targets", target, "initiators"), f"access to {target}")


def via_lio(view: View) -> str:
    """What is in the kernel's target says so; an older daemon knows no `via`."""
    return ", via lio" if view.get("via") == "lio" else ""


def group_tags(view: View) -> list[str]:
    return [str(port["portal_group_tag"]) for port in view["ports"]]


def add_group(node: Node, target: str, tag: str) -> None:
    answer = node.client.put("targets", target, "groups", _tag(tag))
    node.tell(answer, f"portal groups of {target}")


def remove_group(node: Node, target: str, tag: str, close_sessions: str = "false") -> None:
    closed = flag(close_sessions)
    answer = node.client.delete("targets", target, "groups", _tag(tag), close_sessions=closed)
    node.tell(answer, f"portal groups of {target}")


def _tag(text: str) -> int:
    """N, or tpgN as targetcli has it."""
    try:
        return number("portal group", text.removeprefix("tpg"))
    except InvalidArgument as error:
        raise InvalidArgument(error.message, "write it like 1 or tpg1") from error


def _lun_status(one: View, sizes: Mapping[str, int]) -> str:
    size = f" ({render.size(sizes[one['backing']])})" if one["backing"] in sizes else ""
    access = "ro" if one["read_only"] else "rw"
    text = f"{one['backing']}{size} {access}"
    if one["state"] != "mapped":
        text += f", {one['state']}"
    return text + (f", to {', '.join(one['initiators'])}" if one["initiators"] else "")
