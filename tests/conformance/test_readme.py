"""The README's tour, typed as it stands into a shell: only places and the port are others."""

import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
TOUR_SECONDS = 240

pytestmark = pytest.mark.conformance


@pytest.fixture
def place() -> Iterator[Path]:
    """Instead of /tmp; short, since a Unix socket's path has at most 107 bytes."""
    directory = Path(tempfile.mkdtemp(prefix="scsi-snap-"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        number: int = listener.getsockname()[1]
        return number


def tour() -> str:
    text = README.read_text().partition("## A first tour")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 5, "the tour has other parts: see that they are still run"
    return "".join(blocks)


def test_the_tour_works_as_it_is_written(place: Path) -> None:
    port = free_port()
    script = tour()
    for written, run in (
        ("/tmp/", f"{place}/"),
        ("$PWD/.venv/bin", str(Path(sys.executable).parent)),
        ("scsi-snap daemon ", f"scsi-snap daemon --listen 127.0.0.1:{port} "),
        ("iscsi://127.0.0.1/", f"iscsi://127.0.0.1:{port}/"),
    ):
        assert written in script
        script = script.replace(written, run)
    careful = "set -euo pipefail\ntrap 'kill %1 2>/dev/null || true' EXIT\n"
    done = subprocess.run(
        ["bash", "-c", careful + script],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=TOUR_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "created snapshot tank/vol0@monday" in done.stdout
    assert re.search(r"^ *2048 +128\b", done.stdout, re.MULTILINE), done.stdout
    assert list(place.iterdir()) == [], "the tour leaves something behind"
