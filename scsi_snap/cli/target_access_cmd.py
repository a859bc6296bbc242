"""scsi-snap target chap, allow, deny"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from scsi_snap.cli import completion, secrets
from scsi_snap.cli.context import (
    client,
    json_option,
    print_json,
    print_outcome,
    socket_option,
)


@click.command()
@click.argument("target", metavar="IQN", shell_complete=completion.targets)
@click.option(
    "--initiator",
    shell_complete=completion.initiators,
    help="Of this one alone, which the target lists.",
)
@secrets.chap_options()
@click.option("--off", is_flag=True, help="Ask nothing; of one initiator, what the target asks.")
@json_option
@socket_option
def chap(
    target: str,
    initiator: str | None,
    user: str | None,
    secret: str | None,
    secret_file: Path | None,
    mutual_user: str,
    mutual_secret: str,
    mutual_secret_file: Path | None,
    off: bool,
    as_json: bool,
) -> None:
    """Set what initiators must log in with, or turn it off.

    An initiator with a secret of its own is asked for that one, every other for the target's.

    \b
    scsi-snap target chap iqn.2026-11.org.example:disk --user alice
    scsi-snap target chap iqn.2026-11.org.example:disk --off
    """
    if off == (user is not None):
        raise click.UsageError("either --user USER or --off")
    of_one = ["initiators", initiator] if initiator else []
    if user is None:
        answer = client().delete("targets", target, *of_one, "chap")
    else:
        body = secrets.chap_body(
            user, secret, secret_file, mutual_user, mutual_secret, mutual_secret_file
        )
        answer = client().put("targets", target, *of_one, "chap", body=body)
    print_outcome(answer, f"CHAP of {initiator or target}", as_json)


@click.command()
@click.argument("target", metavar="IQN", shell_complete=completion.targets)
@click.argument(
    "initiators", metavar="INITIATOR...", nargs=-1, shell_complete=completion.initiators
)
@click.option("--any", "any_initiator", is_flag=True, help="Let any initiator log in.")
@secrets.chap_options("chap-")
@json_option
@socket_option
def allow(
    target: str,
    initiators: tuple[str, ...],
    any_initiator: bool,
    user: str | None,
    secret: str | None,
    secret_file: Path | None,
    mutual_user: str,
    mutual_secret: str,
    mutual_secret_file: Path | None,
    as_json: bool,
) -> None:
    """List initiators that may log in; all others are refused from then on.

    With --chap-user they get a secret of their own, in place of the target's.

    \b
    scsi-snap target allow iqn.2026-11.org.example:disk iqn.2026-11.org.example:host1
    scsi-snap target allow iqn.2026-11.org.example:disk iqn.2026-11.org.example:host2 --chap-user h2
    """
    if any_initiator == bool(initiators) or (any_initiator and user is not None):
        raise click.UsageError("either INITIATOR... or --any")
    if user is None and (secret or secret_file or mutual_user or mutual_secret_file):
        raise click.UsageError("a secret goes with --chap-user USER")
    if any_initiator:
        answer = client().delete("targets", target, "initiators")
        print_outcome(answer, f"access to {target}", as_json)
        return
    body = None
    if user is not None:
        chap = secrets.chap_body(
            user, secret, secret_file, mutual_user, mutual_secret, mutual_secret_file
        )
        body = {"chap": chap}
    answers: list[Any] = []
    try:
        for initiator in initiators:
            answers.append(client().put("targets", target, "initiators", initiator, body=body))
            if not as_json:
                print_outcome(answers[-1], f"access of {initiator}")
    finally:
        # Also where one failed: those before it are listed.
        if as_json:
            print_json(answers)


@click.command()
@click.argument("target", metavar="IQN", shell_complete=completion.targets)
@click.argument("initiator", shell_complete=completion.initiators)
@json_option
@socket_option
def deny(target: str, initiator: str, as_json: bool) -> None:
    """Take an initiator off the list and close its sessions.

    Its secret, and the LUNs that are its own, go with it.
    """
    answer = client().delete("targets", target, "initiators", initiator)
    print_outcome(answer, f"access of {initiator}", as_json)
