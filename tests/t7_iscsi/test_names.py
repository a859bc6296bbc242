"""iSCSI names: what is taken, how it is spelled, what is refused."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from scsi_snap.iscsi.errors import InvalidName
from scsi_snap.iscsi.names import normalise
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
    assert normalise(name) == canonical
    assert normalise(canonical) == canonical


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
        normalise(name)


@given(st.text(max_size=300) | st.from_regex(r"(iqn|eui|naa)\..{0,40}"))
def test_raises_nothing_else(name: str) -> None:
    try:
        canonical = normalise(name)
    except InvalidName:
        return
    assert normalise(canonical) == canonical
