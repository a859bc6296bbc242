"""Addresses are taken in one spelling, and refused with the right one shown."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from scsi_snap.errors import InvalidArgument
from scsi_snap.inventory import addresses


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:3260", ("127.0.0.1", 3260)),
        ("[::1]:0", ("::1", 0)),
        ("[2001:DB8:0::1]:3260", ("2001:db8::1", 3260)),
        (":3260", ("0.0.0.0", 3260)),
        ("Host.Example:1", ("host.example", 1)),
        ("h:65535", ("h", 65535)),
        ("127.0.0.1", ("127.0.0.1", 3260)),
        ("Host.Example", ("host.example", 3260)),
        ("::1", ("::1", 3260)),
        ("::", ("::", 3260)),
        ("2001:DB8::1", ("2001:db8::1", 3260)),
        ("1:2:3:4:5:6:7:8", ("1:2:3:4:5:6:7:8", 3260)),
        ("::ffff:192.0.2.1", (str(ip_address("::ffff:192.0.2.1")), 3260)),
        ("[2001:db8::1]", ("2001:db8::1", 3260)),
    ],
)
def test_addresses_are_parsed(text: str, address: tuple[str, int]) -> None:
    assert addresses.parse(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3260",
        "host:",
        "host:x",
        "host:65536",
        "host:-1",
        "host:+1",
        f"host:{'9' * 5000}",
        "::1:3260",
        "2001:db8::1:2",
        "[]",
        "]",
        ":",
        "[host]:3260",
        "[::1:3260",
        "256.0.0.1:3260",
        "1.2.3:3260",
        "a b:3260",
        "-a:3260",
        "a\0:3260",
        "\ud800:1",
        f"{'a' * 300}:3260",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        addresses.parse(text)
    assert "write" in caught.value.hint


def test_what_is_kept_has_a_port_and_one_spelling() -> None:
    assert addresses.canonical("[0:0::1]:3260") == "[::1]:3260"
    assert addresses.canonical(":1") == "0.0.0.0:1"
    with pytest.raises(InvalidArgument, match="no port"):
        addresses.canonical("127.0.0.1:0")
