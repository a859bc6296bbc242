"""The exporter and the clock of tests that need no initiator."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

from scsi_snap.inventory.exporter import SessionView, Unit
from scsi_snap.inventory.records import TargetRecord


class FakeExporter:
    """An `Exporter` whose initiators log in by `log_in`."""

    def __init__(self) -> None:
        self.targets: dict[str, TargetRecord] = {}
        self.units: dict[tuple[str, int], Unit] = {}
        self.told: list[tuple[str, int]] = []
        """Target and LUN of each unit whose initiators were told of another capacity."""
        self._sessions: dict[int, SessionView] = {}
        self._numbers = itertools.count(1)

    def set_target(self, record: TargetRecord) -> None:
        self.targets[record.name] = replace(record, luns=())

    def remove_target(self, name: str) -> None:
        self.targets.pop(name, None)
        self.units = {key: unit for key, unit in self.units.items() if key[0] != name}
        self._sessions = {k: v for k, v in self._sessions.items() if v.target != name}

    def map(self, target: str, lun: int, unit: Unit) -> None:
        assert target in self.targets
        self.units[target, lun] = unit

    def unmap(self, target: str, lun: int) -> None:
        self.units.pop((target, lun), None)

    def capacity_changed(self, uuid: UUID) -> None:
        self.told += [key for key, unit in self.units.items() if unit.uuid == uuid]

    def log_in(self, target: str, initiator: str) -> int:
        assert target in self.targets
        number = next(self._numbers)
        self._sessions[number] = SessionView(number, target, initiator, "192.0.2.1:40000")
        return number

    def sessions(self) -> list[SessionView]:
        return list(self._sessions.values())

    def close_session(self, session_id: int) -> bool:
        return self._sessions.pop(session_id, None) is not None

    def addresses(self) -> list[str]:
        return ["127.0.0.1:3260"]


def counting_clock() -> Callable[[], int]:
    """Milliseconds that go up by one a call, from a fixed day on."""
    ticks = itertools.count(1_793_000_000_000)
    return lambda: next(ticks)
