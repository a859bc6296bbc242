"""What goes does not come back: --dry-run, a question at a terminal, --yes elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner, Result

from scsi_snap.cli import removal
from scsi_snap.cli.exit_codes import EXIT_CODES
from scsi_snap.cli.main import cli
from scsi_snap.control.service import Service
from scsi_snap.control.snapshots import SnapshotToMake
from tests.controllers import IQN, MONDAY, VOL0, Controller, served

Run = Callable[..., Result]


@pytest.fixture
def service(controller: Controller) -> Service:
    """A volume with a snapshot, and a target that shows nothing."""
    service = controller.with_volume().service
    service.snapshots.create([SnapshotToMake(MONDAY)])
    service.targets.create(IQN)
    return service


@pytest.fixture
def run(service: Service) -> Iterator[Run]:
    with served(service) as client:

        def typed(line: str, stdin: str | None = None) -> Result:
            words = [*line.split(), "--socket", str(client._socket_path)]
            return CliRunner().invoke(cli, words, input=stdin)

        yield typed


COMMANDS = [
    "volume delete --snapshots tank/vol0",
    "snapshot delete tank/vol0@monday",
    f"target delete {IQN}",
]


def there(service: Service) -> tuple[int, int, int, int]:
    return (
        len(service.pools.all()),
        len(service.volumes.all()),
        len(service.snapshots.all()),
        len(service.targets.all()),
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_a_dry_run_does_nothing(run: Run, service: Service, command: str) -> None:
    before = there(service)
    result = run(f"{command} --dry-run")
    assert result.exit_code == 0 and result.stdout.startswith("would delete ")
    (plan,) = json.loads(run(f"{command} --dry-run --json").stdout)
    assert plan["outcome"] == "planned" and there(service) == before


def test_a_dry_run_says_what_goes_with_it_and_what_is_refused(run: Run, service: Service) -> None:
    assert run("volume delete --snapshots tank/vol0 --dry-run").stdout == (
        "would delete volume tank/vol0\n  with snapshot tank/vol0@monday\n"
    )
    refused = run("volume delete tank/vol0 tank/none --dry-run")
    assert refused.exit_code == EXIT_CODES["busy"] and "'none'" in refused.stderr
    assert run("volume delete tank/none --dry-run --if-exists").exit_code == 0
    service.targets.map(IQN, 0, VOL0)
    assert "  with LUN 0 (tank/vol0)\n" in run(f"target delete {IQN} --dry-run").stdout
    assert run("pool destroy tank --dry-run").exit_code == EXIT_CODES["busy"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_question_at_a_terminal(
    run: Run, service: Service, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "at_terminal", lambda: True)
    before = there(service)
    for answer in ("n\n", "\n", ""):
        assert run(command, answer).exit_code != 0 and there(service) == before
    answered = run(command, "y\n")
    assert answered.exit_code == 0 and there(service) != before
    assert "? [y/N]: y" in answered.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_scripts_are_not_asked(run: Run, service: Service, command: str) -> None:
    before = there(service)
    assert run(command).exit_code == 0 and there(service) != before


@pytest.mark.parametrize("command", ["pool destroy tank", "pool fail-member tank /m1"])
def test_what_scripts_must_say_twice(
    run: Run, service: Service, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.volumes.delete(VOL0, with_snapshots=True)
    refused = run(command)
    assert refused.exit_code == EXIT_CODES["invalid-argument"] and "--yes" in refused.stderr
    assert [one.state for one in service.pools.all()] == ["optimal"]
    monkeypatch.setattr(removal, "at_terminal", lambda: True)
    assert run(command, "n\n").exit_code != 0
    assert [one.state for one in service.pools.all()] == ["optimal"]
    assert run(f"{command} --yes").exit_code == 0
    assert [one.state for one in service.pools.all()] != ["optimal"]


def test_a_pool_to_be_destroyed_names_its_labels(run: Run, service: Service) -> None:
    service.volumes.delete(VOL0, with_snapshots=True)
    assert "  with the label of /m1\n" in run("pool destroy tank --dry-run").stdout
    assert len(service.pools.all()) == 1
