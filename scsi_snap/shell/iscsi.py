"""/iscsi, for those who know targetcli: the same targets in its words.

    /iscsi/IQN/tpgN/luns/lunN               what everybody sees
    /iscsi/IQN/tpgN/acls/IQN/mapped_lunN    what one initiator sees beside it
    /iscsi/IQN/tpgN/portals/ADDRESS:PORT    of the portal group N, which targets share

LUNs and initiators are a target's, not a portal group's: each tpg shows the same.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from secrets import token_hex
from typing import ClassVar

from scsi_snap.shell.auth import AuthNode
from scsi_snap.shell.backstores import backing_of, storage_objects
from scsi_snap.shell.mapping import initiators_of, luns_of, map_lun, unmap_lun
from scsi_snap.shell.node import (
    FLAG,
    Child,
    Node,
    Offer,
    Status,
    children_names,
    words,
)
from scsi_snap.shell.service_nodes import Portal, create_portal, delete_portal
from scsi_snap.shell.targets import (
    Lun,
    add_group,
    allow_any,
    create_target,
    group_tags,
    lun_children,
    remove_group,
    target_facts,
)

PORT = "3260"
"""iSCSI's (RFC 7143, 13.2)."""


class Iscsi(AuthNode):
    auth_group = "discovery_auth"
    offers: ClassVar[Mapping[str, Offer]] = {
        "delete.wwn": children_names,
        "via": words("lio", "portal"),
    }

    def contents(self) -> Iterable[Child]:
        return [(one["name"], IscsiTarget, one) for one in self.state.all("targets")]

    def status(self) -> Status:
        auth = "1-way disc auth, " if self.chap_view()["chap_user"] else ""
        return f"{auth}Targets: {len(self.state.all('targets'))}", None

    def chap_path(self) -> tuple[str, ...]:
        return ("discovery", "chap")

    def chap_view(self) -> Mapping[str, str | None]:
        view: Mapping[str, str | None] = self.state.all("discovery")
        return view

    def ui_command_create(self, wwn: str | None = None, via: str | None = None) -> None:
        """
        Make a target, in portal group 1; without a name, under one that is made up.

            create iqn.2026-11.org.example:disk
        """
        answer = create_target(self, wwn or made_up_name(), None, via)
        self.tell(answer, f"target {answer['view']['name']}")

    def ui_command_delete(self, wwn: str) -> None:
        """
        Delete a target with its LUN map. Nobody may be logged in.
        """
        self.tell(self.client.delete("targets", wwn), f"target {wwn}")


class IscsiTarget(Node):
    offers: ClassVar[Mapping[str, Offer]] = {
        "delete.tag": lambda node, _: group_tags(node.view),
    }

    def contents(self) -> Iterable[Child]:
        return [
            (f"tpg{port['portal_group_tag']}", PortalGroup, {**self.view, "port": port})
            for port in self.view["ports"]
        ]

    def status(self) -> Status:
        return f"TPGs: {len(self.view['ports'])}", None

    def facts(self) -> list[tuple[str, str]]:
        return target_facts(self.view)

    def ui_command_create(self, tag: str) -> None:
        """
        Let initiators log in through the portals of one more group.
        """
        add_group(self, self.name, tag)

    def ui_command_delete(self, tag: str) -> None:
        """
        Take the target out of a portal group; the portals stay.
        """
        remove_group(self, self.name, tag)


class PortalGroup(AuthNode):
    def contents(self) -> Iterable[Child]:
        return [
            ("luns", TpgLuns, self.view),
            ("acls", Acls, self.view),
            ("portals", TpgPortals, self.view),
        ]

    def status(self) -> Status:
        one = self.view
        access = "no-gen-acls" if one["initiators"] else "gen-acls"
        auth = "no-auth"
        if one["chap_user"]:
            auth = "tpg-auth, " + ("mutual auth" if one["chap_mutual_user"] else "1-way auth")
        return f"{access}, {auth}", True

    def facts(self) -> list[tuple[str, str]]:
        return target_facts(self.view)

    def chap_path(self) -> tuple[str, ...]:
        return ("targets", self.parent.name, "chap")


class TpgLuns(Node):
    offers: ClassVar[Mapping[str, Offer]] = {
        "storage_object": storage_objects,
        "delete.lun": lambda node, _: [child.removeprefix("lun") for child in node.built()],
    }

    def contents(self) -> Iterable[Child]:
        return lun_children([one for one in self.view["luns"] if not one["initiators"]], Lun)

    def status(self) -> Status:
        return f"LUNs: {len(self.built())}", None

    def ui_command_create(self, storage_object: str, lun: str | None = None) -> None:
        """
        Show a storage object to whoever may log in; without lun=, under the first free number.

        storage_object: /backstores/user:scsi-snap/NAME, or POOL/VOLUME[@SNAPSHOT]

            create storage_object=/backstores/user:scsi-snap/tank:vol0 lun=0
            create tank/vol0@monday
        """
        target = self.view["name"]
        chosen = lun if lun is not None else _first_free(self, target)
        map_lun(self, target, chosen, backing_of(self, storage_object), None, "false", "false")

    def ui_command_delete(self, lun: str) -> None:
        """
        Take a LUN (N or lunN) away; its volume or snapshot stays.
        """
        unmap_lun(self, self.view["name"], lun)


class Acls(Node):
    offers: ClassVar[Mapping[str, Offer]] = {
        "create.wwn": lambda node, _: initiators_of(node, node.view["name"]),
        "delete.wwn": children_names,
    }

    def contents(self) -> Iterable[Child]:
        return [(one["name"], Acl, one) for one in self.view["initiators"]]

    def status(self) -> Status:
        return f"ACLs: {len(self.view['initiators'])}", None

    def ui_command_create(self, wwn: str) -> None:
        """
        List an initiator that may log in; those that are not listed are refused from then on.
        """
        answer = self.client.put("targets", self.view["name"], "initiators", wwn)
        self.tell(answer, f"ACL of {wwn}")

    def ui_command_delete(self, wwn: str) -> None:
        """
        Take an initiator off the list and close its sessions; its own LUNs go with it.
        """
        answer = self.client.delete("targets", self.view["name"], "initiators", wwn)
        self.tell(answer, f"ACL of {wwn}")

    def ui_command_allow_any(self) -> None:
        """
        Empty the list: any initiator may log in. (In targetcli: generate_node_acls.)
        """
        allow_any(self, self.view["name"])


class Acl(AuthNode):
    offers: ClassVar[Mapping[str, Offer]] = {
        "tpg_lun_or_backstore": storage_objects,
        "delete.mapped_lun": lambda node, _: [
            child.removeprefix("mapped_lun") for child in node.built()
        ],
        "write_protect": FLAG,
    }

    @property
    def target(self) -> str:
        name: str = self.parent.view["name"]
        return name

    def contents(self) -> Iterable[Child]:
        own = [one for one in luns_of(self, self.target) if self.name in one["initiators"]]
        return [(f"mapped_{name}", kind, view) for name, kind, view in lun_children(own, MappedLun)]

    def status(self) -> Status:
        auth = ", own auth" if self.view["chap_user"] else ""
        return f"Mapped LUNs: {len(self.built())}{auth}", None

    def chap_path(self) -> tuple[str, ...]:
        return ("targets", self.target, "initiators", self.name, "chap")

    def ui_command_create(
        self, mapped_lun: str, tpg_lun_or_backstore: str, write_protect: str = "false"
    ) -> None:
        """
        Show a storage object to this initiator alone, under a number that is not everybody's.

            create 2 /backstores/user:scsi-snap/tank:boot1
            create 3 tank/boot1@monday
        """
        backing = backing_of(self, tpg_lun_or_backstore)
        map_lun(self, self.target, mapped_lun, backing, self.name, write_protect, "true")

    def ui_command_delete(self, mapped_lun: str) -> None:
        """
        Take a LUN of its own away from the initiator.
        """
        unmap_lun(self, self.target, mapped_lun.removeprefix("mapped_"), self.name)


class MappedLun(Lun):
    def facts(self) -> list[tuple[str, str]]:
        return [("LUN", self.name.removeprefix("mapped_lun")), ("shows", self.status()[0])]


class TpgPortals(Node):
    offers: ClassVar[Mapping[str, Offer]] = {
        "delete.ip_address": lambda node, _: [_split(name)[0] for name in node.built()],
        "delete.ip_port": lambda node, typed: [
            port
            for address, port in map(_split, node.built())
            if address == typed.get("ip_address", address)
        ],
    }

    def contents(self) -> Iterable[Child]:
        tag = self._tag()
        return [
            (one["address"], Portal, one)
            for one in self.state.all("portals")
            if one["portal_group_tag"] == tag and one.get("via") == self.view.get("via")
        ]

    def status(self) -> Status:
        return f"Portals: {len(self.built())}", None

    def ui_command_create(self, ip_address: str, ip_port: str = PORT) -> None:
        """
        Listen at an address. Portals are the group's: every target in it is reached there.

            create 192.0.2.1
            create 2001:db8::1 3261
        """
        create_portal(self, _joined(ip_address, ip_port), str(self._tag()), self.view.get("via"))

    def ui_command_delete(self, ip_address: str, ip_port: str = PORT) -> None:
        """
        Listen there no more. Sessions go on.
        """
        delete_portal(self, _joined(ip_address, ip_port))

    def _tag(self) -> int:
        tag: int = self.view["port"]["portal_group_tag"]
        return tag


def made_up_name() -> str:
    """Of the form that targetcli gives its own: this machine's, and new."""
    machine = os.uname()
    parts = [re.sub("[^a-z0-9]", "", text.lower()) for text in (machine.nodename, machine.machine)]
    host = ".".join(part[:48] or "host" for part in parts)
    return f"iqn.2003-01.org.linux-iscsi.{host}:sn.{token_hex(6)}"


def _first_free(node: Node, target: str) -> str:
    taken = {one["lun"] for one in luns_of(node, target)}
    return str(next(lun for lun in range(len(taken) + 1) if lun not in taken))


def _joined(address: str, port: str) -> str:
    bracketed = f"[{address}]" if ":" in address and not address.startswith("[") else address
    return f"{bracketed}:{port}"


def _split(address: str) -> tuple[str, str]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), port
