"""The current mode parameters of a unit, kept for the next process.

    scsi-snap modes 1 SHA-256-of-the-rest
    {"PAGE CODE and SUBPAGE CODE, hexadecimal": "the page, hexadecimal", ...}

That is docs/formats/mode-parameters.md; why, in docs/decisions/repeated-commands.md.

Initiators behind the kernel's target do not see that the process which serves them has died and
another has come. One that has switched the write cache off counts on it. So what differs from the
defaults is kept, durable before it is in effect, and in effect again before the next process takes
a command. These are not saved values in the sense of SPC-4: a reset brings the defaults back, and
so does the end of the machine's power, which the store sees to.

A record that is damaged means the defaults, and that no nexus may begin without being told.
"""

import hashlib
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from scsi_snap.scsi.mode_pages import ModePages, PageCode
from scsi_snap.scsi.record_store import RecordStore, StoreFailed
from scsi_snap.scsi.sense import SenseCode, refuse

_TITLE: Final = "scsi-snap modes 1"

_log = logging.getLogger("scsi_snap.modes")


class KeptModes:
    """Of one logical unit. Its lock orders changes of the mode parameters; it is held while one is
    made durable, and taken before the unit's lock.
    """

    def __init__(self, pages: ModePages, store: RecordStore) -> None:
        """Brings back into effect what was kept."""
        self.lost: str | None = None
        """Why it is not known what the parameters were; None in all but that case."""
        self._pages: Final = pages
        self._store: Final = store
        self._changing: Final = threading.Lock()
        try:
            data = store.load()
            if data:
                pages.change(_decode(data, pages))
        except (ValueError, StoreFailed) as error:
            self.lost = str(error)

    @contextmanager
    def changing(self, data: bytes, offset: int) -> Iterator[dict[PageCode, bytes]]:
        """Inside, the pages of a MODE SELECT parameter list are checked and durable, and may become
        current.
        """
        with self._changing:
            wanted = self._pages.parse(data, offset)
            changed = self._pages.unlike_default(wanted)
            try:
                if changed:
                    self._store.save(_encode(changed))
                else:
                    self._store.remove()
            except StoreFailed as error:
                _log.error("mode parameters cannot be kept: %s", error)
                refuse(SenseCode.INTERNAL_TARGET_FAILURE)
            yield wanted

    @contextmanager
    def forgetting(self) -> Iterator[None]:
        """Inside, nothing is kept, and the parameters go back to their defaults."""
        with self._changing:
            try:
                self._store.remove()
            except StoreFailed as error:
                _log.error("mode parameters stay kept: %s", error)
            yield


def _encode(pages: dict[PageCode, bytes]) -> bytes:
    content = {bytes(code).hex(): page.hex() for code, page in sorted(pages.items())}
    body = json.dumps(content, indent=1).encode("ascii") + b"\n"
    return f"{_TITLE} {hashlib.sha256(body).hexdigest()}\n".encode("ascii") + body


def _decode(data: bytes, pages: ModePages) -> dict[PageCode, bytes]:
    """Raises `ValueError` where it is not what was encoded, or not of these pages."""
    title, newline, body = data.partition(b"\n")
    expected = f"{_TITLE} {hashlib.sha256(body).hexdigest()}".encode("ascii")
    if not newline or title != expected:
        raise ValueError("the checksum of what was kept does not fit")
    try:
        found = dict(_page(*entry) for entry in json.loads(body).items())
    except (AttributeError, TypeError) as error:
        raise ValueError(f"what was kept does not say what it ought to ({error!r})") from error
    for code, page in found.items():
        if not pages.allows(code, page):
            raise ValueError(f"the unit has no mode page {bytes(code).hex()} of that kind")
    return found


def _page(name: str, text: str) -> tuple[PageCode, bytes]:
    page_code, subpage_code = bytes.fromhex(name)
    return (page_code, subpage_code), bytes.fromhex(text)
