"""The state catalog: what is acknowledged is there, what is damaged is refused."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from scsi_snap.errors import InvalidArgument, IoFailed, StateDamaged, StateLocked
from scsi_snap.inventory.catalog import FILE, Catalog, decode, encode
from scsi_snap.inventory.catalog_versions import VERSION, upgraded
from scsi_snap.inventory.records import (
    ChapRecord,
    InitiatorRecord,
    LunRecord,
    PoolRecord,
    PortalRecord,
    PortRecord,
    RedirectRecord,
    State,
    TargetRecord,
)
from scsi_snap.inventory.state_directory import StateDirectory

CATALOGS = Path(__file__).parent / "catalogs"
A, B = "iqn.2026-11.org.example:a", "iqn.2026-11.org.example:b"
TANK = PoolRecord("tank", ("/m1", "/m2"), "id-1")
DISK = TargetRecord(
    "iqn.2026-11.org.example:disk",
    "id-2",
    chap=ChapRecord("user", "secret secret", "us", "other secret"),
    ports=(PortRecord(1, 1), PortRecord(7, 3)),
    initiators=(InitiatorRecord(A, ChapRecord("a", "secret of a")), InitiatorRecord(B)),
    luns=(
        LunRecord(0, "tank/vol0", "id-1", "id-3"),
        LunRecord(1, "tank/vol0@m", "id-1", "id-3", "id-4", (A,), read_only=True),
    ),
    redirect=RedirectRecord("192.0.2.1", 3260, permanent=True),
)
BY_LIO = TargetRecord("iqn.2026-11.org.example:kernel", "id-5", (PortRecord(1, 2),), via="lio")
OLD = State().with_pool(TANK)
VERSION_2 = replace(
    OLD.with_target(DISK).with_portal(PortalRecord("192.0.2.2:3260", 7)),
    discovery_chap=ChapRecord("scout", "secret of scouts"),
)
NEW = VERSION_2.with_target(BY_LIO).with_portal(PortalRecord("192.0.2.2:3261", 1, via="lio"))


class CrashingDirectory(StateDirectory):
    """Loses power before the step numbered `steps_left` of a replacement; unflushed bytes of the
    new file are lost, or kept to the length `kept_bytes`."""

    steps_left = 1 << 30
    kept_bytes: int | None = None

    def _step(self) -> None:
        if self.steps_left == 0:
            raise PowerLoss
        self.steps_left -= 1

    def _write_flushed(self, name: str, content: bytes) -> None:
        if self.steps_left == 0 and self.kept_bytes is not None:
            (self.path / name).write_bytes(content[: self.kept_bytes])
        self._step()
        super()._write_flushed(name, content)

    def _remove(self, name: str) -> None:
        self._step()
        super()._remove(name)

    def _link(self, name: str, also: str) -> None:
        self._step()
        super()._link(name, also)

    def _rename(self, old: str, new: str) -> None:
        self._step()
        super()._rename(old, new)

    def _flush_directory(self) -> None:
        self._step()
        super()._flush_directory()


class PowerLoss(BaseException):
    """Not an Exception: nothing may catch it and go on."""


def written(path: Path, *states: State) -> None:
    directory = StateDirectory(path)
    catalog = Catalog(directory)
    for state in states:
        catalog.update(lambda _, state=state: state)  # type: ignore[misc]
    directory.release()


def reopened(path: Path) -> State:
    directory = StateDirectory(path)
    try:
        return Catalog(directory).state
    finally:
        directory.release()


def test_an_empty_directory_is_an_empty_state(tmp_path: Path) -> None:
    assert reopened(tmp_path / "new") == State()
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    written(tmp_path, OLD, NEW)
    assert reopened(tmp_path) == NEW
    assert decode((tmp_path / f"{FILE}.previous").read_bytes()) == (OLD, 1)


def test_files_are_for_the_owner_alone(tmp_path: Path) -> None:
    written(tmp_path, OLD, NEW)
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


@pytest.mark.parametrize("before", [None, OLD])
@pytest.mark.parametrize("steps", range(6))
def test_power_loss_at_every_step_leaves_the_old_or_the_new(
    tmp_path: Path, steps: int, before: State | None
) -> None:
    """Five steps; the rename is the fourth, and from then on the new state is there."""
    if before is not None:
        written(tmp_path, State().with_pool(replace(TANK, id="older")), before)
    directory = CrashingDirectory(tmp_path)
    catalog = Catalog(directory)
    directory.steps_left = steps
    if steps < 5:
        with pytest.raises(PowerLoss):
            catalog.update(lambda _: NEW)
    else:
        catalog.update(lambda _: NEW)
    directory.release()
    assert reopened(tmp_path) == (NEW if steps >= 4 else before or State())


def test_a_torn_new_file_means_nothing(tmp_path: Path) -> None:
    written(tmp_path, OLD)
    content = encode(NEW, 2)
    for kept_bytes in range(0, len(content) + 1, 7):
        directory = CrashingDirectory(tmp_path)
        catalog = Catalog(directory)
        directory.steps_left, directory.kept_bytes = 0, kept_bytes
        with pytest.raises(PowerLoss):
            catalog.update(lambda _: NEW)
        directory.release()
        assert reopened(tmp_path) == OLD
    written(tmp_path, NEW)
    assert reopened(tmp_path) == NEW


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    content = encode(NEW, 1)
    for length in range(len(content) - 1):
        with pytest.raises(ValueError):
            decode(content[:length])


def test_every_flipped_byte_is_refused_or_means_the_same(tmp_path: Path) -> None:
    """White space between tokens is not part of the state; everything else is."""
    content = encode(NEW, 1)
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 0x01
        try:
            assert decode(bytes(damaged)) == (NEW, 1)
        except ValueError:
            continue
        assert content[position : position + 1].isspace()


def test_a_damaged_catalog_is_refused_with_the_way_back(tmp_path: Path) -> None:
    written(tmp_path, OLD, NEW)
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes().replace(b"vol0", b"vol1"))
    with pytest.raises(StateDamaged) as caught:
        reopened(tmp_path)
    assert "checksum" in caught.value.message and str(path) in caught.value.message
    assert f"cp {path}.previous {path}" in caught.value.hint
    (tmp_path / f"{FILE}.previous").rename(path)
    assert reopened(tmp_path) == OLD


def test_a_damaged_catalog_without_an_earlier_one_says_so(tmp_path: Path) -> None:
    written(tmp_path, OLD)
    (tmp_path / FILE).write_bytes(b"{}")
    with pytest.raises(StateDamaged) as caught:
        reopened(tmp_path)
    assert "pool import" in caught.value.hint and "cp " not in caught.value.hint


def test_a_missing_catalog_beside_an_earlier_one_is_refused(tmp_path: Path) -> None:
    written(tmp_path, OLD, NEW)
    (tmp_path / FILE).unlink()
    with pytest.raises(StateDamaged):
        reopened(tmp_path)


def test_a_later_version_is_refused_by_number(tmp_path: Path) -> None:
    body = json.loads(encode(NEW, 1))
    for version in (0, VERSION + 1, True, "1", None):
        body["version"] = version
        with pytest.raises(ValueError, match="version"):
            decode(json.dumps(body).encode())


def test_a_catalog_of_version_1_is_read(tmp_path: Path) -> None:
    """The stored one was written by the scsi_snap that had no other version."""
    content = (CATALOGS / "version1.json").read_bytes()
    state, sequence = decode(content)
    assert sequence == 7 and state.portals == {} and state.discovery_chap is None
    assert state.pools == {"tank": TANK}
    disk, other = (state.targets[f"iqn.2026-11.org.example:{name}"] for name in ("disk", "other"))
    assert disk == replace(
        DISK,
        id="0b8d5a0c-58a3-4a8e-8b11-1f2f2d7d6f10",
        ports=(PortRecord(1, 1),),
        initiators=(InitiatorRecord(A),),
        luns=(DISK.luns[0], replace(DISK.luns[1], initiators=(), read_only=False)),
        redirect=None,
    )
    assert (other.ports, other.initiators, other.luns) == ((PortRecord(1, 2),), (), ())
    (tmp_path / FILE).write_bytes(content)
    written(tmp_path, state.with_portal(PortalRecord("[::1]:3260", 1)))
    assert reopened(tmp_path).targets == state.targets


def test_a_catalog_of_version_2_is_read(tmp_path: Path) -> None:
    """Written by the scsi_snap that had the embedded portal alone: everything is its."""
    content = (CATALOGS / "version2.json").read_bytes()
    assert decode(content) == (VERSION_2, 7)
    (tmp_path / FILE).write_bytes(content)
    written(tmp_path, NEW)
    assert reopened(tmp_path) == NEW


@pytest.mark.parametrize("version", range(1, VERSION))
@pytest.mark.parametrize(
    "state",
    [
        None,
        7,
        {},
        {"targets": 7},
        {"targets": [7]},
        {"targets": [{}]},
        {"pools": [], "targets": [[]]},
        {"portals": [7], "targets": []},
    ],
)
def test_a_malformed_state_of_an_old_version_is_refused(state: object, version: int) -> None:
    with pytest.raises(ValueError):
        State.from_json(upgraded(state, version))


@pytest.mark.parametrize("kind", ["targets", "portals"])
@pytest.mark.parametrize("via", ["fc", "", None, 7])
def test_a_way_that_this_scsi_snap_does_not_know_is_refused(kind: str, via: object) -> None:
    state = json.loads(json.dumps(NEW.to_json()))
    state[kind][0]["via"] = via
    with pytest.raises(ValueError, match=f"{kind}.0..via"):
        State.from_json(state)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"a": 1}'])
def test_what_is_no_catalog_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        decode(content)


def test_a_change_that_raises_changes_nothing(tmp_path: Path) -> None:
    directory = StateDirectory(tmp_path)
    catalog = Catalog(directory)

    def refuse(state: State) -> State:
        raise InvalidArgument("no")

    with pytest.raises(InvalidArgument):
        catalog.update(refuse)
    assert catalog.state == State() and not (tmp_path / FILE).exists()
    directory.release()


def test_a_write_that_fails_changes_nothing(tmp_path: Path) -> None:
    directory = StateDirectory(tmp_path)
    catalog = Catalog(directory)
    (tmp_path / f"{FILE}.new").mkdir()
    with pytest.raises(IoFailed):
        catalog.update(lambda _: OLD)
    assert catalog.state == State()
    (tmp_path / f"{FILE}.new").rmdir()
    assert catalog.update(lambda _: OLD) == OLD
    directory.release()
    assert reopened(tmp_path) == OLD


def test_two_daemons_do_not_share_a_state(tmp_path: Path) -> None:
    directory = StateDirectory(tmp_path)
    with pytest.raises(StateLocked, match=str(os.getpid())):
        StateDirectory(tmp_path)
    directory.release()
    StateDirectory(tmp_path).release()


def test_secrets_are_not_shown_in_reprs() -> None:
    shown = repr(NEW)
    for secret in ("secret secret", "other secret", "secret of a", "secret of scouts"):
        assert secret in encode(NEW, 1).decode() and secret not in shown


def test_a_catalog_of_a_newer_scsi_snap_is_not_called_damaged(tmp_path: Path) -> None:
    written(tmp_path, OLD)
    body = json.loads((tmp_path / FILE).read_bytes()) | {"version": VERSION + 1}
    (tmp_path / FILE).write_text(json.dumps(body))
    with pytest.raises(StateDamaged, match="newer scsi_snap") as caught:
        reopened(tmp_path)
    assert "cp " not in caught.value.hint and "start that one" in caught.value.hint


@pytest.mark.parametrize("name", [FILE, f"{FILE}.previous"])
def test_what_is_no_file_hinders_no_start_for_ever(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(IoFailed, match="not a regular file"):
        reopened(tmp_path)


def test_a_directory_that_was_replaced_is_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / "state"
    directory = StateDirectory(path)
    catalog = Catalog(directory)
    path.rename(tmp_path / "elsewhere")
    with pytest.raises(StateLocked, match="removed or replaced"):
        catalog.update(lambda _: OLD)
    written(path, NEW)
    with pytest.raises(StateLocked, match="removed or replaced"):
        catalog.update(lambda _: OLD)
    with pytest.raises(StateLocked):
        directory.remove(FILE)
    directory.release()
    assert reopened(path) == NEW


def test_two_that_start_at_once_do_not_share_a_directory(tmp_path: Path) -> None:
    """The second has opened the lock file of a directory that was removed by then."""
    first = StateDirectory(tmp_path / "state")
    (tmp_path / "state/lock").unlink()
    second = StateDirectory(tmp_path / "state")
    with pytest.raises(StateLocked):
        first.replace(FILE, b"")
    with pytest.raises(StateLocked):
        StateDirectory(tmp_path / "state")
    first.release()
    second.release()
