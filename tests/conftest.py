"""Fixtures for every floor."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon import Daemon


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A running controller with nothing in it; stopped with the test, which fails where that does.

    A test may stop, kill and start it at will.
    """
    with Daemon(tmp_path) as running:
        yield running
