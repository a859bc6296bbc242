"""iSCSI names: `iqn.`, `eui.` and `naa.` (RFC 7143, 4.2.7; RFC 3722 for the characters).

A name compares as bytes after normalisation. Those of targets are ours to give, and are right by
the letter: ASCII, since stringprep maps an ASCII name by lower-casing it and by nothing else, and a
name beyond ASCII cannot be typed on most initiators; an `iqn.` name keeps letters, digits, `-`, `.`
and `:`. Those of initiators are taken as they come (`scsi.initiator_names`).
"""

from __future__ import annotations

import re

from scsi_snap.iscsi.errors import InvalidName
from scsi_snap.scsi import initiator_names
from scsi_snap.scsi.initiator_names import NAME_BYTES_MAX

_IQN = re.compile(
    r"iqn\.(?P<year>[0-9]{4})-(?P<month>[0-9]{2})"
    r"\.(?P<authority>[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*)"
    r"(?P<rest>:[a-z0-9.:-]+)?"
)
_EUI = re.compile(r"eui\.[0-9a-f]{16}")
_NAA = re.compile(r"naa\.([0-9a-f]{16}|[0-9a-f]{32})")


def initiator_name(name: str) -> str:
    """The canonical spelling of an initiator's name; InvalidName where it cannot be taken."""
    try:
        return initiator_names.canonical(name)
    except ValueError as error:
        raise InvalidName(str(error)) from None


def target_name_or_none(name: str) -> str | None:
    """The same as `target_name`; None for what cannot be the name of a target."""
    try:
        return target_name(name)
    except InvalidName:
        return None


def target_name(name: str) -> str:
    """The canonical spelling of a target's name; InvalidName says what is wrong with a bad one."""
    if not name:
        raise InvalidName("an iSCSI name must not be empty")
    if len(name) > NAME_BYTES_MAX:
        raise InvalidName(f"an iSCSI name has at most {NAME_BYTES_MAX} bytes, this one {len(name)}")
    if not name.isascii():
        raise InvalidName(f"{name!r} has characters beyond ASCII, which are not supported in names")
    lowered = name.lower()
    check = _CHECKS.get(lowered[:4])
    if check is None:
        raise InvalidName(f"{name!r} does not begin with iqn., eui. or naa.")
    pattern, form = check
    match = pattern.fullmatch(lowered)
    if match is None:
        raise InvalidName(f"{name!r} is not of the form {form}")
    if pattern is _IQN and not 1 <= int(match["month"]) <= 12:
        raise InvalidName(f"{name!r} has no month between 01 and 12")
    return lowered


_CHECKS = {
    "iqn.": (_IQN, "iqn.YYYY-MM.reversed.domain[:name], of letters, digits, '-', '.' and ':'"),
    "eui.": (_EUI, "eui. and 16 hexadecimal digits"),
    "naa.": (_NAA, "naa. and 16 or 32 hexadecimal digits"),
}
