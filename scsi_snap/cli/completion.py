"""Names for the shell to complete, asked of the daemon. No daemon, no names: never an error."""

from __future__ import annotations

from collections.abc import Callable

import click

from scsi_snap.api.client import Client
from scsi_snap.cli.context import socket_path
from scsi_snap.errors import ScsiSnapError

TIMEOUT_S = 2.0
"""A completion that takes longer than this is of no use."""

Completer = Callable[[click.Context, click.Parameter, str], list[str]]


def _names(fetch: Callable[[Client], list[str]]) -> Completer:
    def complete(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
        try:
            names = fetch(Client(socket_path(ctx), TIMEOUT_S))
        except ScsiSnapError:
            return []
        return sorted(name for name in names if name.startswith(incomplete))

    return complete


def one_of(*words: str) -> Completer:
    """Words that need no daemon."""
    return lambda _ctx, _parameter, incomplete: [
        word for word in words if word.startswith(incomplete)
    ]


def _field(path: str, field: str) -> Callable[[Client], list[str]]:
    return lambda client: [str(one[field]) for one in client.get(path)]


pools = _names(_field("pools", "name"))
volumes = _names(_field("volumes", "name"))
snapshots = _names(_field("snapshots", "name"))
targets = _names(_field("targets", "name"))
portals = _names(_field("portals", "address"))
sessions = _names(_field("sessions", "id"))
pools_and_volumes = _names(
    lambda client: _field("pools", "name")(client) + _field("volumes", "name")(client)
)
backings = _names(
    lambda client: _field("volumes", "name")(client) + _field("snapshots", "name")(client)
)
subjects = _names(
    lambda client: [
        str(one[field])
        for path, field in (
            ("pools", "name"),
            ("volumes", "name"),
            ("snapshots", "name"),
            ("targets", "name"),
            ("portals", "address"),
        )
        for one in client.get(path)
    ]
)
new_volumes = _names(lambda client: [f"{name}/" for name in _field("pools", "name")(client)])
new_snapshots = _names(lambda client: [f"{name}@" for name in _field("volumes", "name")(client)])


def members(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Of the pool that was named before."""
    pool = ctx.params.get("pool")
    if pool is None:
        return []
    find = _names(lambda client: [one["name"] for one in client.get("pools", pool)["members"]])
    return find(ctx, parameter, incomplete)


def initiators(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Those that the target named before lists, or that are logged in to it."""
    target = ctx.params.get("target")
    if target is None:
        return []
    find = _names(
        lambda client: [
            *(one["name"] for one in client.get("targets", target)["initiators"]),
            *(one["initiator"] for one in client.get("sessions", target=target)),
        ]
    )
    return sorted(set(find(ctx, parameter, incomplete)))


def luns(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Of the target that was named before."""
    target = ctx.params.get("target")
    if target is None:
        return []
    find = _names(lambda client: [str(one["lun"]) for one in client.get("luns", target=target)])
    return find(ctx, parameter, incomplete)
