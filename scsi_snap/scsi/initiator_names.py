"""The one spelling by which an initiator is known: wherever initiator names are compared, listed or
kept, they are in this form.

An initiator names itself, and many do so by no rule of RFC 7143, 4.2.7: QEMU puts a machine's name
behind a prefix of its own, blanks, underscores and capitals with it. Nothing is gained by refusing
such an initiator, so any name is taken that can be kept and shown without doubt what it is.

The form is NFKC with case folded, which for a name of RFC 3722's characters is what that profile
makes of it. Blanks at the ends do not count.
"""

from __future__ import annotations

import unicodedata
from typing import Final

NAME_BYTES_MAX: Final = 223
"""An iSCSI name (RFC 7143, 4.2.7.1)."""

_LINE_SEPARATORS = ("Zl", "Zp")
_SEPARATORS = ",/"
"""Of NAME,i,0xISID, which is an initiator port (RFC 7143, 4.4.1.2), and of paths: the kernel's
target has a directory for each initiator that it lists."""


def canonical(name: str) -> str:
    """The canonical spelling, which is its own. `ValueError` with what is wrong with the name."""
    if len(name.encode("utf-8", "replace")) > NAME_BYTES_MAX:
        raise ValueError(f"an iSCSI name has at most {NAME_BYTES_MAX} bytes")
    for character in name:
        category = unicodedata.category(character)
        # C: control, format (which may turn the line around), surrogate, private, unassigned.
        if category.startswith("C") or category in _LINE_SEPARATORS:
            raise ValueError(
                f"an iSCSI name cannot have U+{ord(character):04X}, which cannot be shown"
            )
    if name.isascii():
        folded = name.lower().strip()
    else:
        folded = _folded(_folded(unicodedata.normalize("NFD", name))).strip()
    if not folded.strip("."):
        raise ValueError("an iSCSI name must not be empty")
    for separator in _SEPARATORS:
        if separator in folded:
            raise ValueError(f"an iSCSI name cannot have {separator!r}")
    if len(folded.encode()) > NAME_BYTES_MAX:
        raise ValueError(f"an iSCSI name has at most {NAME_BYTES_MAX} bytes in its normal form")
    return folded


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text.casefold())
