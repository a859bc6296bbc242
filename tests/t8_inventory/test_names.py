"""Names at the door."""

from __future__ import annotations

import pytest

from scsi_snap.errors import InvalidArgument
from scsi_snap.inventory.names import (
    SnapshotName,
    VolumeName,
    initiator_name,
    parse_backing,
    part,
    target_name,
)


def test_names_are_parsed_and_written_back() -> None:
    assert VolumeName.parse("tank/vol0") == VolumeName("tank", "vol0")
    assert SnapshotName.parse("tank/vol0@monday") == SnapshotName("tank", "vol0", "monday")
    assert parse_backing("tank/vol0") == VolumeName("tank", "vol0")
    assert str(parse_backing("tank/vol0@monday")) == "tank/vol0@monday"


@pytest.mark.parametrize(
    "text", ["", "tank", "tank/", "/vol0", "tank/vol0/x", "tank/vol0@monday", "tank/-x", "t k/v"]
)
def test_what_is_no_volume_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        VolumeName.parse(text)


@pytest.mark.parametrize(
    "text", ["tank/vol0", "tank@x", "tank/vol0@", "tank/vol0@a@b", "@", "a/b@c/d"]
)
def test_what_is_no_snapshot_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        SnapshotName.parse(text)


@pytest.mark.parametrize(
    "text", ["", ".", "..", "-x", "a b", "a\nb", "a\0b", "ü", "a/b", "x" * 129]
)
def test_what_cannot_be_a_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        part("pool", text)


def test_iscsi_names_are_folded_and_checked() -> None:
    for name_of in (target_name, initiator_name):
        assert name_of("IQN.2026-11.org.Example:Disk") == "iqn.2026-11.org.example:disk"
    for bad in ("disk", "iqn.2026-13.org.example:x", "iqn.org.example", "iqn.2026-11.org.x:a b"):
        with pytest.raises(InvalidArgument):
            target_name(bad)
        assert initiator_name(bad) == bad
    with pytest.raises(InvalidArgument, match="cannot be the name of an initiator"):
        initiator_name("a\x1bb")
