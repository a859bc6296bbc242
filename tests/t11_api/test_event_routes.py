"""/v1/events on a real socket: listed, and waited for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from scsi_snap.api.client import Client
from scsi_snap.errors import InvalidArgument
from tests.controllers import Controller, served


@pytest.fixture
def client(controller: Controller) -> Iterator[Client]:
    with served(controller.service) as client:
        yield client


def test_they_are_filtered(client: Client, controller: Controller) -> None:
    events = controller.service.events
    events.add("resynced", "tank", "4096 bytes")
    events.add("store-full", "tank/vol0", "it is full")
    found = client.get("events")
    assert found[1] == {
        "number": 2,
        "at_ms": found[1]["at_ms"],
        "severity": "error",
        "kind": "store-full",
        "subject": "tank/vol0",
        "message": "it is full",
        "count": 1,
    }
    assert [one["number"] for one in client.get("events", severity="error")] == [2]
    assert [one["number"] for one in client.get("events", subject="tank/vol0")] == [2]
    assert client.get("events", after=2) == client.get("events", "next", after=2, wait_s=0) == []
    for query in ({"severity": "grave"}, {"after": -1}):
        with pytest.raises(InvalidArgument):
            client.get("events", **query)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument):
        client.get("events", "next", wait_s=1e9)


class Waiting:
    """A call that waits, in a thread of its own."""

    def __init__(self, client: Client, **query: Any) -> None:
        self._answer: Any = None
        self._thread = threading.Thread(target=self._run, args=(client, query))
        self._thread.start()

    def _run(self, client: Client, query: dict[str, Any]) -> None:
        self._answer = client.get("events", "next", **query)

    def answer(self) -> Any:
        self._thread.join(60)
        return self._answer


def waits(controller: Controller) -> None:
    """Returns when a caller waits."""
    looked = threading.Event()
    while not controller.service.events._wakers:
        looked.wait(0.01)


def test_the_next_one_ends_a_wait(client: Client, controller: Controller) -> None:
    events = controller.service.events
    events.add("resynced", "tank", "before")
    waiting = Waiting(client, after=1, severity="error", wait_s=60)
    waits(controller)
    events.add("resynced", "tank", "not grave enough")
    events.add("store-full", "tank/vol0", "it is full")
    assert [one["number"] for one in waiting.answer()] == [3]
    assert not events._wakers


def test_the_end_of_the_daemon_ends_a_wait(client: Client, controller: Controller) -> None:
    waiting = Waiting(client, wait_s=60)
    waits(controller)
    controller.service.events.end_waits()
    assert waiting.answer() == []
