"""Our nodes in the stock targetcli, of each version that is found here, over a real API.

Looked at: this Python's, Debian's, and the directories that SCSI_SNAP_TARGETCLI names (each holds
a package `targetcli`; `dpkg -x` and `pip install --no-deps --target` make such).
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scsi_snap.api.client import Client
from scsi_snap.control.snapshots import SnapshotToMake
from tests.controllers import IQN, MONDAY, Controller, served

DRIVER = Path(__file__).with_name("targetcli_driver.py")
DEBIAN = Path("/usr/lib/python3/dist-packages")


def versions() -> list[Path]:
    spec = importlib.util.find_spec("targetcli")
    own = [Path(spec.origin).parents[1]] if spec is not None and spec.origin else []
    named = filter(None, os.environ.get("SCSI_SNAP_TARGETCLI", "").split(os.pathsep))
    found = [one for one in [*own, DEBIAN, *map(Path, named)] if (one / "targetcli").is_dir()]
    return list(dict.fromkeys(found))


class Targetcli:
    """A stock targetcli beside a daemon."""

    def __init__(self, directory: Path, client: Client, **environment: str) -> None:
        self._command = [sys.executable, "-W", "ignore", str(DRIVER), str(directory)]
        self._environment = {
            **os.environ,
            "SCSI_SNAP_SOCKET": str(client._socket_path),
            "PYTHONPATH": os.pathsep.join(path for path in ("", *sys.path) if path),
            **environment,
        }

    def run(self, *lines: str) -> list[tuple[str, str]]:
        """What each command said, and its exit status."""
        ended = subprocess.run(
            self._command,
            input="\n".join(lines),
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        if "No module named" in ended.stdout:
            pytest.skip(ended.stdout.strip().splitlines()[-1])
        assert ended.returncode == 0 and "Traceback" not in ended.stdout, ended.stdout
        said = ended.stdout.split("\0")
        statuses = [text.partition("\n")[0] for text in said[1:]]
        texts = [said[0], *(text.partition("\n")[2] for text in said[1:-1])]
        assert len(statuses) == len(lines), ended.stdout
        return list(zip(texts, statuses, strict=True))

    def __call__(self, *lines: str) -> list[str]:
        """What commands said that all succeed."""
        answers = self.run(*lines)
        assert {status for _, status in answers} == {"0"}, answers
        return [text for text, _ in answers]


@pytest.fixture(params=versions() or [None], ids=lambda path: "none" if path is None else path.name)
def version(request: pytest.FixtureRequest) -> Path:
    if request.param is None:
        pytest.skip("no targetcli is installed")
    assert isinstance(request.param, Path)
    return request.param


@pytest.fixture
def targetcli(version: Path, controller: Controller) -> Iterator[Targetcli]:
    controller.with_volume()
    controller.service.targets.create(IQN)
    with served(controller.service) as client:
        yield Targetcli(version, client)


def test_our_tree_stands_beside_the_stock_one(targetcli: Targetcli) -> None:
    (tree,) = targetcli("ls /")
    for node in ("backstores", "fileio", "user:scsi-snap", "scsi_snap", "pools", "vol0", IQN):
        assert f"o- {node} " in tree, tree


def test_commands_of_our_tree_work_in_it(targetcli: Targetcli) -> None:
    created, *_, listed, info = targetcli(
        "/scsi_snap/pools/tank/vol0 snapshot monday",
        f"/scsi_snap/pools/tank/vol0/monday map {IQN} 0",
        "/scsi_snap/pools/tank ls",
        "/scsi_snap/pools/tank/vol0/monday info",
    )
    assert created == "created snapshot tank/vol0@monday\n"
    assert "o- monday " in listed and "live, 1 LUN" in listed
    assert f"{IQN} LUN 0" in info


def test_a_storage_object_takes_its_size_from_the_volume(targetcli: Targetcli) -> None:
    answers = targetcli(
        "/scsi_snap/pools/tank create b:g 2MiB block=4096",
        "/scsi_snap/pools/tank/vol0 snapshot monday",
        "/backstores/user:scsi-snap create a cfgstring=tank/vol0",
        "/backstores/user:scsi-snap create b 2MiB tank/b:g",
        "/backstores/user:scsi-snap create c cfgstring=tank/vol0@monday",
        "/backstores/user:scsi-snap ls",
        "/backstores/user:scsi-snap/a info",
        "/backstores/user:scsi-snap/b info",
        "/backstores/user:scsi-snap delete a",
        "/backstores ls depth=2",
    )
    listed, a, b, _, left = answers[5:]
    assert "o- a " in listed and "[tank/vol0 (1.0MiB)" in listed
    assert "[tank/b%3Ag (2.0MiB)" in listed and "[tank/vol0@monday (1.0MiB)" in listed
    assert "config: scsi-snap/tank/vol0\n" in a and "hw_block_size=512\n" in a
    assert "cmd_time_out=0" in a and "hw_block_size=4096\n" in b
    assert "o- a " not in left and "o- b " in left


WRONG = {
    "create a": "write cfgstring=POOL/VOLUME",
    "create a cfgstring=tank/none": "no volume in pool 'tank' named 'none'",
    "create a cfgstring=tank": "write POOL/VOLUME",
    "create a 2MiB tank/vol0": "tank/vol0 has 1MiB (1048576 bytes), not 2MiB",
    "create a nonsense tank/vol0": "is not a size",
    "create a cfgstring=tank/vol0@none": "no snapshot of tank/vol0 named",
}


def test_a_wrong_storage_object_is_refused_in_words(targetcli: Targetcli) -> None:
    commands = [f"/backstores/user:scsi-snap {command}" for command in WRONG]
    *refusals, (listed, _) = targetcli.run(*commands, "/backstores/user:scsi-snap ls")
    for (said, status), says in zip(refusals, WRONG.values(), strict=True):
        assert status == "1" and says in said
    assert "Storage Objects: 0" in listed


def test_what_the_api_refuses_is_shown_as_it_said_it(
    targetcli: Targetcli, controller: Controller
) -> None:
    controller.service.snapshots.create([SnapshotToMake(MONDAY, None)])
    (said, status), (after, _) = targetcli.run(
        "/scsi_snap/pools/tank delete vol0", "/scsi_snap/pools ls"
    )
    assert status == "1" and "snapshot" in said
    assert "o- vol0 " in after


def test_stock_help_knows_our_cfgstring(targetcli: Targetcli) -> None:
    (text,) = targetcli("/backstores/user:scsi-snap help create")
    assert "POOL/VOLUME@SNAPSHOT" in text and "cfgstring" in text


def test_without_a_daemon_targetcli_goes_on(version: Path, tmp_path: Path) -> None:
    targetcli = Targetcli(version, Client(tmp_path / "none"))
    (tree, status), (said, refused) = targetcli.run("ls /", "/scsi_snap/pools ls")
    assert status == "0" and "o- fileio " in tree and "no daemon answers" in tree
    assert refused == "1" and "no daemon answers" in said


def test_without_pygobject_ours_is_there(targetcli: Targetcli, version: Path) -> None:
    bare = Targetcli(version, Client(Path(targetcli._environment["SCSI_SNAP_SOCKET"])))
    bare._environment["WITHOUT_GI"] = "1"
    (tree,) = bare("ls /backstores")
    assert "o- user:scsi-snap " in tree


def test_without_targetcli_the_package_is_named(tmp_path: Path) -> None:
    if importlib.util.find_spec("targetcli") is not None:
        pytest.skip("targetcli is installed for this Python")
    ended = subprocess.run(
        [sys.executable, "-m", "targetcli_ext"], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 3
    assert "targetcli is not installed" in ended.stderr and "targetcli-fb" in ended.stderr
