"""`set auth userid=… password=…`, as targetcli has it, over the API's CHAP verbs.

The API takes a user with its secret, so what was typed is kept until both are there. Secrets are
never shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from scsi_snap.errors import InvalidArgument, Unsupported
from scsi_snap.shell.node import Node

_FIELDS = {
    "userid": ("user", "Whom initiators log in as; empty: CHAP is off."),
    "password": ("secret", "What they prove it by, 12 bytes or more."),
    "mutual_userid": ("mutual_user", "Whom the target proves to be."),
    "mutual_password": ("mutual_secret", "What it proves it by."),
}


_KERNEL_GROUPS = ("attribute", "parameter")
"""Of targetcli's: what the kernel's target keeps for each portal group."""
_INSTEAD = {
    "authentication": "`set auth userid=USER password=SECRET` asks for CHAP",
    "generate_node_acls": "`acls/ allow_any` lets any initiator log in",
    "demo_mode_write_protect": "`/scsi_snap/luns map IQN LUN VOLUME read_only=true`",
}


def _no_kernel_group(group: str, parameters: Mapping[str, str]) -> Unsupported:
    instead = [_INSTEAD[name] for name in parameters if name in _INSTEAD]
    hint = "; ".join(instead) or (
        "`set auth` and `acls` say who may log in, `set volume` at"
        " /scsi_snap/pools/POOL/VOLUME what a disk says it is; the rest is negotiated"
    )
    return Unsupported(f"there is no {group} to set here", hint)


class AuthNode(Node):
    """`chap_path` is that of the CHAP resource in the API, `chap_view` what has chap_user."""

    auth_group: ClassVar[str] = "auth"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._typed: dict[str, str] = {}
        super().__init__(*arguments, **options)
        for parameter, (_, description) in _FIELDS.items():
            self.define_config_group_param(self.auth_group, parameter, "string", description)

    def chap_path(self) -> tuple[str, ...]:
        raise NotImplementedError

    def chap_view(self) -> Mapping[str, Any]:
        return self.view

    def ui_command_set(self, group: str | None = None, **parameter: str) -> None:
        if group == self.auth_group and parameter:
            self.ui_setgroup_auth(parameter)
        elif group in _KERNEL_GROUPS:
            raise _no_kernel_group(group, parameter)
        else:
            super().ui_command_set(group, **parameter)

    ui_command_set.__doc__ = Node.ui_command_set.__doc__

    def ui_getgroup_auth(self, parameter: str) -> str | None:
        key = "chap_mutual_user" if parameter.startswith("mutual") else "chap_user"
        user: str | None = self.chap_view()[key]
        return "(secret)" if user and parameter.endswith("password") else user

    def ui_setgroup_auth(self, parameters: Mapping[str, str]) -> None:
        unknown = sorted(parameters.keys() - _FIELDS.keys())
        if unknown:
            raise InvalidArgument(f"no parameter {unknown[0]!r}", f"there are {', '.join(_FIELDS)}")
        if parameters.get("userid") == "":
            self._typed.clear()
            self.tell(self.client.delete(*self.chap_path()), f"CHAP of {self.chap_path()[-2]}")
            return
        self._typed.update(parameters)
        missing = [name for name in self._needed() if not self._typed.get(name)]
        if missing:
            self.shell.log.info(f"{' and '.join(missing)} must be set too; no change so far")
            return
        body = {field: self._typed.get(name, "") for name, (field, _) in _FIELDS.items()}
        self.tell(self.client.put(*self.chap_path(), body=body), f"CHAP of {self.chap_path()[-2]}")

    def _needed(self) -> list[str]:
        mutual = any(self._typed.get(name) for name in ("mutual_userid", "mutual_password"))
        return list(_FIELDS) if mutual else ["userid", "password"]

    ui_getgroup_discovery_auth = ui_getgroup_auth
    ui_setgroup_discovery_auth = ui_setgroup_auth
