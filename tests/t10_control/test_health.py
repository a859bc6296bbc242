"""What is not well: by table over views, and as the controller sees itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from scsi_snap.control import views
from scsi_snap.control.health import Seen, health
from scsi_snap.control.service import Service
from scsi_snap.control.snapshots import SnapshotToMake
from tests.controllers import IQN, MIB, MONDAY, Controller
from tests.fakes import FakePool

MEMBER = views.Member("/m1", "id", 0, "in-sync", 0)
POOL = views.Pool("tank", "id", "optimal", "", "raid5", 65536, 1 << 40, 1 << 30, (MEMBER,))
LUN = views.Lun(IQN, 0, "tank/vol0", False, "mapped")
PORTAL = views.Portal("127.0.0.1:3260", 1, "portal", True, "listening", "")
VOLUME = views.Volume(
    name="tank/vol0",
    id="id",
    created_at_ms=0,
    size_bytes=MIB,
    block_bytes=512,
    chunk_bytes=65536,
    policy="drop-snapshot",
    store_used_bytes=MIB,
    store_capacity_bytes=MIB,
    store_limit_bytes=None,
    snapshots=1,
    mapped=(),
    provisioning="thin",
    deallocation="any",
    physical_block_bytes=4096,
    read_only=False,
    removable=False,
    vendor="",
    product="",
    serial="",
    naa="",
)
SNAPSHOT = views.Snapshot(
    "tank/vol0@monday", "id", 0, "live", None, None, 512, 0, 2048, True, (), "", ""
)
TARGET = views.Target(IQN, "portal", "", (), None, None, (), None, False, (LUN,), 0)


def pool(state: str, **changes: Any) -> Seen:
    return Seen(pools=[replace(POOL, state=state, **changes)])


def member(**changes: Any) -> Seen:
    return pool("optimal", members=(replace(MEMBER, **changes),))


def volume(pool_free_bytes: int = 0, **changes: Any) -> Seen:
    pools = [replace(POOL, free_bytes=pool_free_bytes)]
    return Seen(pools=pools, volumes=[replace(VOLUME, **changes)])


def lun(state: str) -> Seen:
    return Seen(targets=[replace(TARGET, luns=(replace(LUN, state=state),))])


DEAF = replace(PORTAL, state="unavailable", reason="Cannot assign requested address")


@pytest.mark.parametrize(
    ("seen", "state", "subject", "says"),
    [
        (Seen(), "well", "", ""),
        (
            Seen([POOL], [replace(VOLUME, snapshots=0)], [SNAPSHOT], [TARGET], [PORTAL]),
            "well",
            "",
            "",
        ),
        (pool("degraded", members=(replace(MEMBER, state="failed"),)), "degraded", "tank", "/m1"),
        (pool("degraded", members=(replace(MEMBER, state="missing"),)), "degraded", "tank", "/m1"),
        (pool("failed"), "failing", "tank", "every read and write"),
        (pool("unavailable", reason="2 are missing"), "failing", "tank", "2 are missing"),
        (pool("a state of tomorrow"), "degraded", "tank", "tomorrow"),
        (member(errors=3), "degraded", "tank", "failed 3 reads or writes"),
        (member(repairs=2), "degraded", "tank", "2 times"),
        (
            Seen(pools=[POOL], displaced={"/m1": "the file was deleted"}),
            "failing",
            "tank",
            "deleted",
        ),
        (volume(), "degraded", "tank/vol0", "100%"),
        (volume(policy="fail-write"), "degraded", "tank/vol0", "writes fail"),
        (volume(pool_free_bytes=MIB), "well", "", ""),
        (volume(pool_free_bytes=1 << 40, store_limit_bytes=MIB), "degraded", "tank/vol0", "100%"),
        (volume(store_used_bytes=MIB // 10 * 8), "well", "", ""),
        (volume(store_used_bytes=0, store_capacity_bytes=0), "degraded", "tank/vol0", "100%"),
        (
            Seen(snapshots=[replace(SNAPSHOT, state="invalid", invalid_reason="full")]),
            "failing",
            "tank/vol0@monday",
            "invalid: full",
        ),
        (lun("missing"), "failing", IQN, "does not exist"),
        (lun("invalid"), "failing", IQN, "its reads fail"),
        (lun("unavailable"), "well", "", ""),
        (Seen(portals=[DEAF]), "failing", DEAF.address, "Cannot assign"),
        (Seen(lio_obstacle="no module"), "well", "", ""),
        (
            Seen(targets=[replace(TARGET, via="lio")], lio_obstacle="no module"),
            "failing",
            "",
            "no module",
        ),
        (
            Seen(portals=[replace(DEAF, via="lio")], lio_obstacle="no module"),
            "failing",
            "",
            "no module",
        ),
        (Seen(events_problem="database or disk is full"), "degraded", "", "disk is full"),
    ],
)
def test_each_ill(seen: Seen, state: str, subject: str, says: str) -> None:
    found = health(seen)
    assert found.state == state
    if state == "well":
        assert found.findings == ()
        return
    (finding,) = found.findings
    assert finding.subject == subject and says in finding.message and finding.hint
    assert finding.severity == ("error" if state == "failing" else "warning")


def test_the_gravest_comes_first() -> None:
    found = health(Seen(pools=[replace(POOL, state="degraded")], portals=[DEAF]))
    assert found.state == "failing"
    assert [one.severity for one in found.findings] == ["error", "warning"]


def messages(service: Service) -> list[str]:
    return [f"{one.subject}: {one.message}" for one in service.health().findings]


def test_the_controller_sees_itself(controller: Controller) -> None:
    service = controller.with_volume().service
    service.snapshots.create([SnapshotToMake(MONDAY)])
    service.targets.create(IQN)
    service.targets.map(IQN, 0, MONDAY)
    assert service.health() == views.Health("well", ())
    assert service.status().pool_states == {"optimal": 1}
    native = controller.assembly.pools.get("tank").native
    assert isinstance(native, FakePool)
    native.drop_snapshot("vol0", "monday", "the store is full")
    assert [one.state for one in service.targets.luns()] == ["invalid"]
    controller.disks.displaced.add("/m1")
    service.pools.fail_member("tank", "/m2")
    found = " ".join(messages(service))
    for says in ("the store is full", "LUN 0 (tank/vol0@monday)", "/m1: it was deleted", "/m2 is"):
        assert says in found
    assert service.status().pool_states == {"degraded": 1}


def test_what_is_away_is_named(controller: Controller) -> None:
    controller.with_volume()
    controller.disks.missing |= {"/m1", "/m2"}
    service = controller.restarted().service
    assert service.health().state == "failing"
    (result,) = service.volumes.check_all()
    assert result.volume == "tank" and "/m1" in result.problems[0]
    assert service.volumes.all() == []
    assert service.status().pool_states == {"unavailable": 1}
