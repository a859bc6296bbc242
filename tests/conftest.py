"""Fixtures for the floors above the data path."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.controllers import Controller
from tests.fakes import Disks


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    """An empty controller; the test may have ended it by itself."""
    made = Controller.start(tmp_path / "state", Disks())
    yield made
