"""`make test-lowest`: the package with the lowest versions that setup.cfg declares.

First without extras, where what needs one must say which; then with all of them, and the tests of
the faces. pip resolves nothing above what is declared: each requirement is pinned to its bound.
"""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

TREE = Path(__file__).parents[1]
EXTRAS = ("shell", "lio", "test")
TESTS = (
    "tests/t0_units",
    "tests/t11_api/test_api.py",
    "tests/t11_cli/test_cli.py",
    "tests/t11_shell/test_tree.py",
)


def main(directory: Path) -> None:
    setup = configparser.ConfigParser()
    setup.read(TREE / "setup.cfg")
    python = directory / "bin/python"
    venv.create(directory, clear=True, with_pip=True, symlinks=True)
    install(python, pinned(setup["options"]["install_requires"]))
    without_extras(python)
    install(
        python, [pin for extra in EXTRAS for pin in pinned(setup["options.extras_require"][extra])]
    )
    run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS)


def pinned(requirements: str) -> list[str]:
    """`click >= 8.4` of each line as `click==8.4`."""
    found = []
    for line in requirements.split("\n"):
        if line.strip():
            name, version = re.fullmatch(r"([A-Za-z0-9._-]+) *>= *([0-9.]+)", line.strip()).groups()
            found.append(f"{name}=={version}")
    return found


def install(python: Path, pins: list[str]) -> None:
    print(f"lowest: {' '.join(pins)}", flush=True)
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pins)


def without_extras(python: Path) -> None:
    """Every verb shows its help, and the shell says what it lacks."""
    run(python, "-c", HELP)
    shell = subprocess.run(
        [python, "-m", "scsi_snap", "shell", "ls"],
        cwd=TREE,
        capture_output=True,
        text=True,
        check=False,
    )
    said = shell.stderr
    if "Traceback" in said or "scsi-snap[shell]" not in said:
        sys.exit(f"`scsi-snap shell ls` without the extra shell does not say so:\n{said}")


HELP = """
import sys
import click
from click.testing import CliRunner
from scsi_snap.cli.main import cli

def visit(command, words):
    shown = CliRunner().invoke(cli, [*words, "--help"], prog_name="scsi-snap")
    if shown.exit_code:
        sys.exit(f"{words}: {shown.output} {shown.exception!r}")
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            visit(command.get_command(context, name), [*words, name])

visit(cli, [])
"""


def run(*command: object) -> None:
    environment = {**os.environ, "PYTHONPATH": str(TREE)}
    environment.pop("SCSI_SNAP_TARGETCLI", None)
    done = subprocess.run([str(word) for word in command], cwd=TREE, env=environment, check=False)
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
