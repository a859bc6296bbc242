"""Background operations that a test holds where it wants them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.t6_scsi.bus import GOOD, Bus

WAIT_S = 60.0


class Held:
    """Stops a device at the `after`-th call of one name, until it is let go."""

    def __init__(self, bus: Bus, name: str, after: int = 0) -> None:
        self._name, self._left = name, after
        self._reached, self._released = threading.Event(), threading.Event()
        bus.device.fail = self._call

    def _call(self, name: str) -> None:
        if name != self._name or self._released.is_set():
            return
        if self._left:
            self._left -= 1
            return
        self._reached.set()
        assert self._released.wait(WAIT_S), "nobody lets it go"

    def reached(self) -> None:
        """Returns once the device is there."""
        assert self._reached.wait(WAIT_S), "it does not come"

    def is_reached(self, within_s: float) -> bool:
        """Whether it comes there, of what must not."""
        return self._reached.wait(within_s)

    def release(self) -> None:
        self._released.set()


@contextmanager
def held(bus: Bus, name: str, after: int = 0) -> Iterator[Held]:
    hold = Held(bus, name, after)
    try:
        yield hold
    finally:
        hold.release()


def join_background() -> None:
    """Returns once no thread works on a unit."""
    for thread in threading.enumerate():
        if thread.name == "scsi-background":
            thread.join(WAIT_S)


def wait_until_idle(bus: Bus, nexus: int = 1) -> bytes:
    """REQUEST SENSE after the work."""
    join_background()
    status, _, data, _ = bus.command([0x03, 0, 0, 0, 252, 0], nexus=nexus)
    assert status == GOOD
    return data
