"""`health`, `status`, and lists that name what they cannot look into, with their exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from click.testing import CliRunner, Result

from scsi_snap.cli.exit_codes import EXIT_CODES, PROBLEMS_FOUND, UNWELL
from scsi_snap.cli.main import cli
from tests.controllers import Controller, served

Run = Callable[[str], Result]


@contextmanager
def typing(controller: Controller) -> Iterator[Run]:
    with served(controller.service) as client:

        def run(line: str) -> Result:
            words = [*line.split(), "--socket", str(client._socket_path)]
            return CliRunner().invoke(cli, words)

        yield run


@pytest.fixture
def away(controller: Controller) -> Controller:
    """Its only pool cannot be opened."""
    controller.with_volume()
    controller.disks.missing |= {"/m1", "/m2"}
    return controller.restarted()


def test_codes_are_those_of_no_error() -> None:
    assert not {*UNWELL.values()} & {*EXIT_CODES.values(), PROBLEMS_FOUND} - {0}


def test_well(controller: Controller) -> None:
    with typing(controller.with_volume()) as run:
        health, status = run("health"), run("status")
    assert (health.exit_code, health.stdout) == (0, "well\n")
    assert status.exit_code == 0 and status.stdout.endswith("health           well\n")


def test_degraded(controller: Controller) -> None:
    controller.with_volume().service.pools.fail_member("tank", "/m2")
    with typing(controller) as run:
        health, status, as_json = run("health"), run("status"), run("status --json")
    assert {one.exit_code for one in (health, status, as_json)} == {UNWELL["degraded"]}
    assert "warning: tank: the pool is degraded: /m2 is failed" in health.stdout
    assert "pools            1: 1 degraded\n" in status.stdout
    assert json.loads(as_json.stdout)["health"]["state"] == "degraded"


def test_what_is_away_is_named_by_every_list(away: Controller) -> None:
    with typing(away) as run:
        assert run("health").exit_code == run("status").exit_code == UNWELL["failing"]
        for command in ("volume list", "snapshot list"):
            result = run(command)
            assert result.exit_code == EXIT_CODES["pool-unavailable"]
            assert "pool 'tank' is unavailable" in result.stderr and "/m1" in result.stderr
            as_json = run(f"{command} --json")
            assert json.loads(as_json.stdout) == []
            assert json.loads(as_json.stderr)["code"] == "pool-unavailable"
        check = run("check")
    assert check.exit_code == PROBLEMS_FOUND
    assert check.stdout.startswith("tank: the pool is unavailable")
