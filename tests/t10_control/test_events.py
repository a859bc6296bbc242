"""Events: numbered for ever, durable, counted where they repeat; a store that cannot be used stops
nothing."""

from __future__ import annotations

import ast
import os
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scsi_snap import limits
from scsi_snap.control.event_keeper import EventKeeper
from scsi_snap.control.event_kinds import KINDS
from scsi_snap.control.event_log import EventLog
from scsi_snap.control.event_store import NAME
from scsi_snap.control.event_watch import EventWatch
from scsi_snap.errors import LimitReached
from scsi_snap.inventory import pool_views
from tests.fakes import Disks, FakeDataPath

NOW_MS = 1_800_000_000_000


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(clock: Clock) -> EventLog:
    return EventLog(lambda: NOW_MS, clock)


@contextmanager
def life(directory: Path) -> Iterator[tuple[EventLog, EventKeeper]]:
    """Of a daemon that ends cleanly."""
    log = EventLog(lambda: NOW_MS)
    keeper = EventKeeper(log, directory, lambda: NOW_MS)
    keeper.start()
    try:
        yield log, keeper
    finally:
        keeper.stop()


def numbers(log: EventLog) -> list[int]:
    return [one.number for one in log.after(0)]


def kinds(log: EventLog) -> list[str]:
    return [one.kind for one in log.after(0)]


def test_they_are_there_in_the_next_life_and_numbers_go_on(tmp_path: Path) -> None:
    with life(tmp_path) as (log, _):
        log.add("member-failed", "tank", "member /m1 was taken out")
        log.add("resynced", "tank", "4096 bytes")
        before = log.after(0)
    with life(tmp_path) as (log, _):
        assert log.after(0) == before
        log.add("store-full", "tank/vol0", "it is full")
        assert numbers(log) == [1, 2, 3]
        assert [one.kind for one in log.after(2)] == ["store-full"]


def test_after_a_crash_no_number_is_given_out_twice(tmp_path: Path) -> None:
    """Whatever was on its way to the disk: the file as it was then is what the next one finds."""
    path = tmp_path / NAME
    with life(tmp_path) as (log, _):
        log.add("resynced", "tank", "first")
    reserved = limits.EVENT_NUMBERS_RESERVED
    log = EventLog(lambda: NOW_MS)
    keeper = EventKeeper(log, tmp_path, lambda: NOW_MS)
    keeper.write()
    crashed = path.read_bytes()
    for number in range(reserved):
        log.add("resynced", f"pool{number}", "not written any more")
    last = log.after(0)[-1].number
    keeper._store.close()
    path.write_bytes(crashed)
    with life(tmp_path) as (log, _):
        log.add("resynced", "tank", "after the crash")
        assert numbers(log)[0] == 1 and log.after(0)[-1].number > last


def test_how_many_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens often does not push out what happens once; the file holds no more either."""
    monkeypatch.setattr(limits, "EVENTS_KEPT", 20)
    monkeypatch.setattr(limits, "EVENTS_OF_A_KIND_KEPT", 5)
    with life(tmp_path) as (log, keeper):
        log.add("member-failed", "tank", "once")
        keeper.write()
        for number in range(30):
            log.add("login-refused", f"target{number}", "often")
        assert kinds(log) == ["member-failed"] + 5 * ["login-refused"]
        for kind in ("resynced", "store-full", "lun-missing", "portal-available"):
            for number in range(5):
                log.add(kind, str(number), "others")
        left = log.after(0)
        assert len(left) == 20 and "member-failed" not in kinds(log)
    with life(tmp_path) as (log, _):
        assert log.after(0) == left
    with sqlite3.connect(tmp_path / NAME) as file:
        assert file.execute("SELECT count(*) FROM event").fetchone() == (20,)


def test_what_repeats_is_counted(log: EventLog, clock: Clock) -> None:
    for _ in range(1000):
        log.add("login-refused", "iqn.a", "no CHAP")
    log.add("login-refused", "iqn.b", "no CHAP")
    assert [(one.subject, one.count) for one in log.after(0)] == [("iqn.a", 1), ("iqn.b", 1)]
    assert log.settle() == limits.EVENT_REPEAT_S
    clock.now_s = limits.EVENT_REPEAT_S
    assert log.settle() is None
    assert [(one.subject, one.count) for one in log.after(2)] == [("iqn.a", 999)]
    log.add("login-refused", "iqn.a", "no CHAP")
    assert len(log.after(3)) == 0, "still within a second of the last one"
    clock.now_s *= 2
    assert [one.count for one in log.after(3)] == [1]


def test_what_differs_is_told_up_to_a_bound(log: EventLog, clock: Clock) -> None:
    for number in range(9):
        log.add("member-failed", "tank", f"member /m{number}")
    assert [one.message[-1] for one in log.after(0)] == ["0", "1", "2", "3"]
    clock.now_s = limits.EVENT_REPEAT_S
    assert [(one.message[-1], one.count) for one in log.after(4)] == [("8", 5)]


def test_subjects_from_outside_take_a_bounded_room(log: EventLog) -> None:
    for number in range(10 * limits.EVENT_WINDOWS_MAX):
        log.add("login-refused", f"iqn.{number}", "x" * 5000)
    assert len(log._windows) == limits.EVENT_WINDOWS_MAX + 1
    assert len(log.after(0)) <= limits.EVENT_WINDOWS_MAX + 1
    assert {len(one.message) for one in log.after(0)} == {limits.EVENT_MESSAGE_CHARS_MAX}


def test_by_severity_and_subject(log: EventLog) -> None:
    log.add("resynced", "tank", "info")
    log.add("store-threshold", "tank/vol0", "warning")
    log.add("snapshots-dropped", "tank/vol0@monday", "error")
    log.add("store-full", "tank2/vol0", "error")
    log.add("lio-unavailable", "", "warning")
    log.add("a-kind-of-tomorrow", "tank", "warning")
    by_severity = {least: len(log.after(0, least)) for least in ("info", "warning", "error")}  # type: ignore[arg-type]
    assert by_severity == {"info": 6, "warning": 5, "error": 2}
    assert [one.number for one in log.after(0, subject="tank")] == [1, 2, 3, 6]
    assert [one.number for one in log.after(0, subject="tank/vol0")] == [2, 3]
    assert log.after(0, "error", "tank/vol0@monday")[0].message == "error"
    assert log.after(0, subject="nobody") == []


def test_who_waits_is_woken_and_bounded(log: EventLog) -> None:
    came = threading.Event()
    with log.waking(came.set):
        log.add("resynced", "tank", "now")
        assert came.is_set()
        with pytest.raises(LimitReached):
            follow_all(log)
    came.clear()
    log.add("resynced", "tank", "and again")
    assert not came.is_set()


def follow_all(log: EventLog) -> None:
    def nest(left: int) -> None:
        if left:
            with log.waking(lambda left=left: None):  # type: ignore[misc]
                nest(left - 1)

    nest(limits.EVENT_FOLLOWERS_MAX)


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100:3000] = bytes(range(1, 101)) * 29
    path.write_bytes(content)


def not_sqlite(path: Path) -> None:
    path.write_bytes(b"something else, as long as you like\n" * 500)


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def another_version(path: Path) -> None:
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA user_version = 9")


def other_tables(path: Path) -> None:
    with sqlite3.connect(path) as file:
        file.execute("DROP TABLE numbering")


def a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/null")


@pytest.mark.parametrize(
    "harm",
    [
        damage,
        not_sqlite,
        truncated,
        another_version,
        other_tables,
        a_directory,
        a_fifo,
        a_link,
    ],
)
def test_what_cannot_be_used_is_set_aside(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    with life(tmp_path) as (log, _):
        for number in range(50):
            log.add("resynced", f"tank{number}", "x" * 500)
    harm(tmp_path / NAME)
    with life(tmp_path) as (log, keeper):
        (event,) = log.after(0)
        assert (event.kind, event.severity) == ("events-damaged", "error")
        assert event.number > 50 and str(tmp_path / f"{NAME}.damaged") in event.message
        assert keeper.problem == "" and os.path.lexists(tmp_path / f"{NAME}.damaged")
    with life(tmp_path) as (log, _):
        assert log.after(0) == [event]


def test_what_is_damaged_under_the_daemon_is_written_anew(tmp_path: Path) -> None:
    with life(tmp_path) as (log, keeper):
        for number in range(50):
            log.add("resynced", f"tank{number}", "x" * 500)
        keeper.write()
        not_sqlite(tmp_path / NAME)
        for number in range(50):
            log.add("resynced", f"pool{number}", "after")
        keeper.write()
        keeper.write()
        assert kinds(log).count("resynced") == 100 and "events-damaged" in kinds(log)
        before = log.after(0)
    with life(tmp_path) as (log, _):
        assert log.after(0) == before


def test_a_full_disk_stops_nothing(tmp_path: Path) -> None:
    with life(tmp_path) as (log, keeper):
        log.add("resynced", "tank", "durable")
        keeper.write()
        connection = keeper._store._connection
        assert connection is not None
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        for number in range(100):
            log.add("store-full", f"tank/vol{number}", "x" * 900)
        keeper.write()
        assert "full" in keeper.problem
        assert kinds(log).count("events-unwritable") == 1 and len(log.after(0)) == 102
        connection.execute("PRAGMA max_page_count = 100000")
        keeper.write()
        assert keeper.problem == "" and kinds(log)[-1] == "events-writable"
        before = log.after(0)
    with life(tmp_path) as (log, _):
        assert log.after(0) == before


def test_a_file_that_cannot_be_opened_is_found_again(tmp_path: Path) -> None:
    """Numbers do not begin anew meanwhile, and what was kept is there again."""
    with life(tmp_path) as (log, _):
        log.add("resynced", "tank", "kept")
    away = tmp_path / "state"
    with life(away) as (log, keeper):
        assert keeper.problem and kinds(log) == ["events-unwritable"]
        log.add("resynced", "tank", "in memory")
        assert numbers(log)[0] > 1000
        away.mkdir()
        (tmp_path / NAME).rename(away / NAME)
        keeper.write()
        assert [one.message for one in log.after(0) if one.kind == "resynced"] == [
            "kept",
            "in memory",
        ]
        before = log.after(0)
    with life(away) as (log, _):
        assert log.after(0) == before


def test_the_file_is_for_nobody_else(tmp_path: Path) -> None:
    with life(tmp_path) as (log, _):
        log.add("resynced", "tank", "\udcff is no text")
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600


def test_the_data_path_is_waited_for() -> None:
    """No poll: each look follows something that was raised; a look that fails ends nothing."""
    data_path = FakeDataPath(Disks())
    looked = threading.Semaphore(0)

    def fetch() -> None:
        looked.release()
        raise RuntimeError("a defect")

    watch = EventWatch(data_path, fetch)
    watch.start()
    for _ in range(2):
        assert not looked.acquire(blocking=False)
        data_path.wake_event_waiter()
        assert looked.acquire(timeout=60)
    watch.stop()


def test_every_kind_that_is_raised_is_in_the_table() -> None:
    """Each first argument of `Note(`, `.add(`, `_trouble(`, and each case of what pools raise."""
    raised = {
        match
        for path in Path("scsi_snap").rglob("*.py")
        for match in re.findall(
            r'(?:Note|events\.add|_log\.add|_trouble)\(\s*"([a-z-]+)"', path.read_text("utf-8")
        )
    }
    tree = ast.parse(Path(pool_views.__file__).read_text("utf-8"))
    for case in (one for one in ast.walk(tree) if isinstance(one, ast.match_case)):
        if isinstance(case.pattern, ast.MatchValue) and isinstance(
            case.pattern.value, ast.Constant
        ):
            raised.add(str(case.pattern.value.value))
    assert {"member-failed", "lun-missing", "events-damaged", "lio-refused"} <= raised
    assert raised <= KINDS.keys()
