"""A failed `pool create` takes back the files it made, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from scsi_snap.inventory.member_files import removed_on_failure


def test_only_files_made_meanwhile_are_removed(tmp_path: Path) -> None:
    made, there, existing, foreign, gone = (tmp_path / name for name in "abcde")
    there.write_bytes(bytes(8))
    existing.write_bytes(b"data")
    members = [(str(path), 8) for path in (made, there, foreign, gone)]
    with pytest.raises(KeyError), removed_on_failure([*members, (str(existing), None)]):
        made.write_bytes(bytes(8))
        foreign.write_bytes(b"of somebody else")
        raise KeyError
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "c", "d"]


def test_what_succeeds_stays(tmp_path: Path) -> None:
    with removed_on_failure([(str(tmp_path / "a"), 8)]):
        (tmp_path / "a").write_bytes(bytes(8))
    assert (tmp_path / "a").exists()
