"""What is stored of a personality, what becomes of it, and who has which name."""

from __future__ import annotations

from uuid import UUID

import pytest

from scsi_snap.inventory import personalities
from scsi_snap.inventory.personalities import Traits
from tests.pool_views import SnapshotView, StoreView, VolumeView

CHOSEN = Traits("full", "write-same", "512", True, True, "ACME", "DISK", "A1", "6001405" + "0" * 25)


def volume(number: int, attributes: dict[str, str], snapshots: int = 0) -> VolumeView:
    return VolumeView(
        id=str(UUID(int=number)),
        name=f"vol{number}",
        created_at_ms=0,
        size_bytes=1 << 20,
        block_bytes=512,
        chunk_bytes=65536,
        policy="drop-snapshot",
        store=StoreView(0, 0, None),
        snapshots=tuple(
            SnapshotView(
                str(UUID(int=100 * number + one)), f"s{one}", 0, 0, 1, "live", None, None, 1 << 20
            )
            for one in range(snapshots)
        ),
        attributes=attributes,
    )


@pytest.mark.parametrize("traits", [Traits(), CHOSEN, Traits(naa="3" + "0" * 15)])
def test_what_is_stored_is_read_again(traits: Traits) -> None:
    stored = {key: text for key, text in traits.to_attributes().items() if text}
    assert personalities.read({**stored, "other": "kept"}) == (traits, ())


def test_defaults_are_not_stored() -> None:
    assert set(Traits().to_attributes().values()) == {""}


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("provisioning", "thick"),
        ("deallocation", "never"),
        ("physical-block", "1024"),
        ("read-only", "no"),
        ("removable", "1"),
        ("vendor", "NINE CHAR"),
        ("vendor", "A "),
        ("product", "x\n"),
        ("serial", "\u00e9"),
        ("serial", "x" * 65),
        ("naa", "6001405"),
        ("naa", "60014050000000"),
        ("naa", "4" + "0" * 15),
        ("naa", "6" + "0" * 31 + "g"),
        ("naa", "5 " + "0" * 14),
        ("naa", "5" + "A" * 15),
    ],
)
def test_a_stored_value_that_cannot_be_used_is_told_and_the_rest_counts(
    key: str, text: str
) -> None:
    attributes = {**CHOSEN.to_attributes(), key: text}
    traits, problems = personalities.read(attributes)
    assert len(problems) == 1 and repr(key) in problems[0]
    without = {name: value for name, value in attributes.items() if name != key}
    assert traits == personalities.read(without)[0] != CHOSEN
    personalities.of_volume(volume(1, attributes))


def test_a_snapshot_looks_like_its_volume_and_has_names_of_its_own() -> None:
    origin = volume(1, CHOSEN.to_attributes(), snapshots=1)
    ours = personalities.of_volume(origin)
    assert (ours.thin, ours.read_only, ours.removable) == (False, True, True)
    theirs = personalities.of_snapshot(
        volume(1, Traits(removable=True).to_attributes(), 1), origin.snapshots[0]
    )
    assert (theirs.thin, theirs.read_only, theirs.removable) == (True, True, True)
    theirs = personalities.of_snapshot(origin, origin.snapshots[0])
    assert (theirs.identity.vendor, theirs.identity.product) == ("ACME", "DISK")
    assert theirs.identity.serial_number == origin.snapshots[0].id
    assert theirs.identity.naa not in (ours.identity.naa, b"")


def claims(one: VolumeView, *others: VolumeView) -> list[str]:
    chosen = personalities.of_volume(one).identity
    found = personalities.claims_on(chosen, "tank", (one, *others))
    return [f"{claim.label}: {claim.what}" for claim in found]


def test_names_are_found_wherever_they_are() -> None:
    derived = personalities.of_snapshot(v2 := volume(2, {}, 1), v2.snapshots[0]).identity
    assert claims(volume(1, {}), volume(2, {})) == []
    assert claims(volume(1, {"serial": "A"}), volume(2, {"serial": "B"}), v2) == []
    assert claims(volume(1, {"serial": "A"}), volume(2, {"serial": "A"})) == [
        "tank/vol2: serial number 'A'"
    ]
    assert claims(volume(1, {"serial": v2.id}), v2) == [f"tank/vol2: serial number '{v2.id}'"]
    assert claims(volume(1, {"naa": derived.naa.hex()}), v2) == [
        f"tank/vol2@s0: NAA identifier {derived.naa.hex()}"
    ]
