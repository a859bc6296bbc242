"""Schemathesis against the API on a socket: what the schema allows is taken or refused in words of
ours, what it does not allow is refused, and every answer is as described.

SCSI_SNAP_API_EXAMPLES is how many cases it makes up for each operation; beyond the few that are
tried each time, the seed is another one in each run, and is printed.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn

from scsi_snap.api.app import make_app
from scsi_snap.control.service import Service
from tests.controllers import Controller

EXAMPLES = 3
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")


@contextmanager
def served_by_tcp(service: Service) -> Iterator[str]:
    """The API's address, for a program that knows no Unix sockets."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(make_app(service), log_level="error", lifespan="on"))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.mark.timeout(900)
def test_requests_that_follow_the_schema_or_break_it(
    controller: Controller, tmp_path: Path
) -> None:
    chosen = os.environ.get("SCSI_SNAP_API_EXAMPLES")
    seed = random.randrange(1 << 32) if chosen else 1
    controller.with_volume()
    # Nobody waits for events that do not come.
    controller.service.events.end_waits()
    with served_by_tcp(controller.service) as url:
        arguments = [
            *("--config-file", CONFIGURATION, "--no-color"),
            *("run", f"{url}/openapi.json", "--seed", seed, "--max-examples", chosen or EXAMPLES),
            *("--phases", "examples,coverage,fuzzing", "--wait-for-schema", 60),
            *("--generation-database", "none", "--warnings", "off", "--no-shrink"),
        ]
        run = subprocess.run(
            [Path(sys.executable).with_name("st"), *map(str, arguments)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    assert run.returncode == 0, run.stdout[-20000:] + run.stderr
