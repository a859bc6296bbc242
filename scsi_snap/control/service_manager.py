"""Tells systemd that the daemon is ready or stopping (sd_notify(3)); elsewhere does nothing."""

from __future__ import annotations

import os
import socket


def notify(message: str) -> None:
    """`READY=1`, `STOPPING=1`. A manager that does not listen is not our failure."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.connect(address)
            sender.sendall(message.encode())
        except OSError:
            return
