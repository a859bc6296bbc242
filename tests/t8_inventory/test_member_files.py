"""A failed `pool create` takes back what it made, and nothing else; paths that lead elsewhere."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from scsi_snap._native import MEMBER_TAIL_BYTES
from scsi_snap.inventory.member_files import displaced, removed_on_failure


def test_only_files_made_meanwhile_are_removed(tmp_path: Path) -> None:
    made, there, existing, foreign, gone = (tmp_path / name for name in "abcde")
    there.write_bytes(bytes(8))
    existing.write_bytes(b"data")
    members = [(str(path), 8) for path in (made, there, foreign, gone)]
    with pytest.raises(KeyError), removed_on_failure([*members, (str(existing), None)]):
        made.write_bytes(bytes(8 + MEMBER_TAIL_BYTES))
        foreign.write_bytes(b"of somebody else")
        raise KeyError
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "c", "d"]


def test_what_succeeds_stays(tmp_path: Path) -> None:
    with removed_on_failure([(str(tmp_path / "a"), 8)]):
        (tmp_path / "a").write_bytes(bytes(8))
    assert (tmp_path / "a").exists()


def test_a_path_that_does_not_lead_to_what_is_open(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("kept", "linked", "deleted", "replaced", "below/a")]
    (tmp_path / "below").mkdir()
    with ExitStack() as opened:
        for path in paths:
            opened.enter_context(path.open("wb"))
        assert displaced(map(str, paths)) == {}
        paths[1].rename(tmp_path / "elsewhere")
        paths[1].symlink_to("elsewhere")
        paths[2].unlink()
        paths[3].unlink()
        paths[3].write_bytes(b"of somebody else")
        (tmp_path / "below").rename(tmp_path / "moved")
        found = {Path(path).name: why for path, why in displaced(map(str, paths)).items()}
    assert found.keys() == {"deleted", "replaced", "a"}
    assert "another file" in found["replaced"] and "deleted" in found["a"]
