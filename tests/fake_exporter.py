"""The exporter and the clock of tests that need no initiator."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from uuid import UUID

from scsi_snap.errors import Busy, Exists, IoFailed, ScsiSnapError, Unsupported
from scsi_snap.inventory.exporter import FindUnit, PortalView, SessionView, Unit
from scsi_snap.inventory.records import ChapRecord, PortalRecord, TargetRecord
from scsi_snap.scsi.caretaker import Space
from scsi_snap.scsi.identity import Personality

LISTENING = "127.0.0.1:3260"


class FakeExporter:
    """An `Exporter` whose initiators log in by `log_in`. `units` are everybody's, `own` those of
    one initiator. No portal can be made at an address in `taken`. `numbers` are of
    sessions, shared by two of them."""

    def __init__(self, listening: str = LISTENING, numbers: Iterator[int] | None = None) -> None:
        self.targets: dict[str, TargetRecord] = {}
        self.units: dict[tuple[str, int], Unit] = {}
        self.own: dict[tuple[str, int, str], Unit] = {}
        self.read_only: set[tuple[str, int]] = set()
        self.taken: set[str] = set()
        self.discovery_chap: ChapRecord | None = None
        self._listening = listening
        self._portals = {listening: PortalView(listening, 1, on_record=False)}
        self.spaces: dict[UUID, Space] = {}
        self.shown_beside: dict[UUID, str] = {}
        """What shows a unit though no LUN does."""
        self.refuses_own_luns = False
        self.failing: ScsiSnapError | None = None
        """What the next change of a target or LUN fails with."""
        self.told: list[tuple[str, int]] = []
        """Target and LUN of each unit whose initiators were told of another capacity."""
        self.deleted: list[UUID] = []
        self._sessions: dict[int, SessionView] = {}
        self._numbers = itertools.count(1) if numbers is None else numbers

    def _may_fail(self) -> None:
        failing, self.failing = self.failing, None
        if failing is not None:
            raise failing

    def take_over(self, find: FindUnit) -> None:
        """Nothing has waited."""

    def close(self) -> None:
        for name in list(self.targets):
            self.remove_target(name)

    def check(self, record: TargetRecord) -> None:
        """As the kernel's: an own LUN, where any initiator may log in, cannot be shown apart."""
        own = any(lun.initiators for lun in record.luns)
        if self.refuses_own_luns and own and not record.initiators:
            raise Unsupported("the kernel's target shows every LUN to everybody", "list them")

    def in_use(self, uuid: UUID) -> str | None:
        return self.shown_beside.get(uuid)

    def set_target(self, record: TargetRecord) -> None:
        self._may_fail()
        self.targets[record.name] = replace(record, luns=())
        self._sessions = {
            number: one
            for number, one in self._sessions.items()
            if one.target != record.name
            or (record.admits(one.initiator) and one.portal_group_tag in record.tags)
        }

    def remove_target(self, name: str) -> None:
        self._may_fail()
        self.targets.pop(name, None)
        self.units = {key: unit for key, unit in self.units.items() if key[0] != name}
        self.own = {key: unit for key, unit in self.own.items() if key[0] != name}
        self._sessions = {k: v for k, v in self._sessions.items() if v.target != name}

    def set_discovery_chap(self, chap: ChapRecord | None) -> None:
        self._may_fail()
        self.discovery_chap = chap

    def capacity_changed(self, uuid: UUID) -> None:
        self.told += [key for key, unit in self.units.items() if unit.uuid == uuid]

    def personality_changed(self, uuid: UUID, personality: Personality) -> None:
        self.units = {
            key: replace(unit, personality=personality) if unit.uuid == uuid else unit
            for key, unit in self.units.items()
        }

    def backing_deleted(self, uuid: UUID) -> None:
        assert all(unit.uuid != uuid for unit in self.units.values())
        self.deleted.append(uuid)

    def watch_space(self, spaces: Mapping[UUID, Space]) -> None:
        self.spaces = dict(spaces)

    def map(
        self,
        target: str,
        lun: int,
        unit: Unit,
        initiators: tuple[str, ...] = (),
        read_only: bool = False,
    ) -> None:
        self._may_fail()
        assert target in self.targets
        for initiator in initiators:
            self.own[target, lun, initiator] = unit
        if not initiators:
            self.units[target, lun] = unit
        if read_only:
            self.read_only.add((target, lun))

    def unmap(self, target: str, lun: int, initiators: tuple[str, ...] = ()) -> None:
        self._may_fail()
        for key in list(self.own):
            if key[:2] == (target, lun) and (not initiators or key[2] in initiators):
                del self.own[key]
        if not initiators:
            self.units.pop((target, lun), None)

    def log_in(self, target: str, initiator: str, tag: int = 1) -> int:
        assert tag in self.targets[target].tags
        number = next(self._numbers)
        self._sessions[number] = SessionView(
            number, target, initiator, "192.0.2.1:40000", self._listening, tag
        )
        return number

    def sessions(self) -> list[SessionView]:
        return list(self._sessions.values())

    def close_session(self, session_id: int) -> bool:
        return self._sessions.pop(session_id, None) is not None

    def addresses(self) -> list[str]:
        return [one.address for one in self.portals() if not one.reason]

    def portals(self) -> list[PortalView]:
        return [one for _, one in sorted(self._portals.items())]

    def add_portal(self, record: PortalRecord) -> None:
        if record.address in self._portals:
            raise Exists(f"there is a portal at {record.address} already", "portal list")
        if record.address in self.taken:
            raise IoFailed(f"cannot listen on {record.address}: taken", "choose another")
        self._portals[record.address] = PortalView(record.address, record.tag, on_record=True)

    def remove_portal(self, address: str) -> None:
        if not self._portals[address].on_record:
            raise Busy(f"the portal {address} is there by `daemon --listen`", "--no-listen")
        del self._portals[address]

    def housekeep(self) -> list[PortalView]:
        return []


def counting_clock() -> Callable[[], int]:
    """Milliseconds that go up by one a call, from a fixed day on."""
    ticks = itertools.count(1_793_000_000_000)
    return lambda: next(ticks)
