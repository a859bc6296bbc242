"""Fixtures for every floor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import budget
from tests.controllers import Controller
from tests.daemon import Daemon
from tests.fakes import Disks

budget.register()


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    """An empty controller; the test may have ended it by itself."""
    made = Controller.start(tmp_path / "state", Disks())
    yield made
    made.stop()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A running controller with nothing in it; stopped with the test, which fails where that does.

    A test may stop, kill and start it at will.
    """
    with Daemon(tmp_path) as running:
        yield running
