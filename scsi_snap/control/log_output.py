"""What the daemon logs, on standard error: a line each, and none of them more often than once a
second. A fault that repeats itself must not fill the disk that the log is on.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable

from scsi_snap import limits


def begin() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    for handler in logging.getLogger().handlers:
        handler.addFilter(OncePerSecond(time.monotonic))


class OncePerSecond(logging.Filter):
    """Drops what was logged less than a second ago; the next of it says how many were dropped."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        super().__init__()
        self._now_s = now_s
        self._last: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()
        """By logger and message: when it was passed on, and how many were dropped since."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Called with its handler's lock held."""
        key = record.name, record.getMessage()
        now_s = self._now_s()
        last_s, dropped = self._last.pop(key, (None, 0))
        if last_s is not None and now_s - last_s < limits.LOG_REPEAT_S:
            self._last[key] = last_s, dropped + 1
            return False
        self._last[key] = now_s, 0
        if len(self._last) > limits.LOG_MESSAGES_KEPT:
            self._last.popitem(last=False)
        if dropped:
            record.msg, record.args = f"{key[1]} ({dropped} more since the last)", ()
        return True
