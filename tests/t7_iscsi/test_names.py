"""Names of targets: what is taken, how it is spelled, what is refused."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from scsi_snap.iscsi.errors import InvalidName
from scsi_snap.iscsi.names import initiator_name, target_name
from tests.t7_iscsi.given import given


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("iqn.2026-11.org.example:disk", "iqn.2026-11.org.example:disk"),
        ("IQN.2026-11.ORG.Example:Disk", "iqn.2026-11.org.example:disk"),
        ("iqn.2026-11.org.example", "iqn.2026-11.org.example"),
        ("iqn.1993-08.org.debian:01:c0ffee", "iqn.1993-08.org.debian:01:c0ffee"),
        ("iqn.1991-05.com.microsoft:win-1.corp", "iqn.1991-05.com.microsoft:win-1.corp"),
        ("eui.02004567A425678D", "eui.02004567a425678d"),
        ("naa.52004567BA64678D", "naa.52004567ba64678d"),
        ("naa.62004567BA64678D0123456789ABCDEF", "naa.62004567ba64678d0123456789abcdef"),
        ("iqn.2026-11.org.example:" + "x" * 199, "iqn.2026-11.org.example:" + "x" * 199),
    ],
)
def test_canonical_spelling(name: str, canonical: str) -> None:
    assert target_name(name) == canonical
    assert target_name(canonical) == canonical


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("", "empty"),
        ("disk", "does not begin with"),
        ("iqn.2026-11.org.example:" + "x" * 200, "at most 223 bytes"),
        ("iqn.2026-11.org.example:gr\u00f6\u00dfer", "beyond ASCII"),
        ("iqn.2026-13.org.example:disk", "no month"),
        ("iqn.2026-00.org.example:disk", "no month"),
        ("iqn.26-11.org.example:disk", "not of the form"),
        ("iqn.2026-11:disk", "not of the form"),
        ("iqn.2026-11.org.example:", "not of the form"),
        ("iqn.2026-11.org..example:disk", "not of the form"),
        ("iqn.2026-11.org.example:a disk", "not of the form"),
        ("iqn.2026-11.org.example:a_disk", "not of the form"),
        ("iqn.2026-11.org.example:disk\n", "not of the form"),
        ("iqn.2026-11.org.example:a,b", "not of the form"),
        ("eui.02004567A425678", "not of the form"),
        ("naa.52004567BA64678D0", "not of the form"),
    ],
)
def test_refuses_with_a_reason(name: str, complaint: str) -> None:
    with pytest.raises(InvalidName, match=complaint):
        target_name(name)


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("iqn.2026-11.org.example:Host1", "iqn.2026-11.org.example:host1"),
        # QEMU, from the name of a machine.
        (
            "iqn.2008-11.org.linux-kvm:Windows_11 (test)",
            "iqn.2008-11.org.linux-kvm:windows_11 (test)",
        ),
        ("iqn.org.example:no-date", "iqn.org.example:no-date"),
        ("host1", "host1"),
        (" host1 ", "host1"),
        ("iqn.2026-11.org.example:Gr\u00f6\u00dfer", "iqn.2026-11.org.example:gr\u00f6sser"),
        ("iqn.2026-11.org.example:gro\u0308sser", "iqn.2026-11.org.example:gr\u00f6sser"),
        ("\uff48\uff4f\uff53\uff54\u00a01", "host 1"),
        ("x" * 223, "x" * 223),
    ],
)
def test_initiators_name_themselves(name: str, canonical: str) -> None:
    assert initiator_name(name) == canonical
    assert initiator_name(canonical) == canonical


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("..", "empty"),
        ("x" * 224, "at most 223 bytes"),
        ("\u00f6" * 112, "at most 223 bytes"),
        ("\ufdfa" * 70, "at most 223 bytes in its normal form"),
        ("a\nb", r"U\+000A"),
        ("a\x1b[2Jb", r"U\+001B"),
        ("a\u202eb", r"U\+202E"),
        ("a\u2028b", r"U\+2028"),
        ("a\ud800b", r"U\+D800"),
        ("a\ue000b", r"U\+E000"),
        ("a/b", "'/'"),
        ("a,i,0x000000000001", "','"),
    ],
)
def test_a_name_that_cannot_be_kept_or_shown_is_refused(name: str, complaint: str) -> None:
    with pytest.raises(InvalidName, match=complaint):
        initiator_name(name)


@given(st.text(max_size=300) | st.from_regex(r"(iqn|eui|naa)\..{0,40}"))
def test_raises_nothing_else(name: str) -> None:
    for canonical_of in (target_name, initiator_name):
        try:
            canonical = canonical_of(name)
        except InvalidName:
            continue
        assert canonical_of(canonical) == canonical
        assert initiator_name(canonical) == canonical
        assert canonical.isprintable()
