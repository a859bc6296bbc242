"""Events of a simulated kernel, told to whoever listens as soon as they come."""

from __future__ import annotations

from collections.abc import Callable

from scsi_snap.lio.tcmu_events import Event


class Listening:
    """A `Listen`, and what it makes."""

    def __init__(self) -> None:
        self._handle: Callable[[Event], None] | None = None
        self._early: list[Event] = []
        self._started = False
        self.rescan: Callable[[], None] = lambda: None
        self.expects_answer: Callable[[Event], bool] = lambda event: False
        self.failing: OSError | None = None

    def __call__(
        self,
        handle: Callable[[Event], None],
        rescan: Callable[[], None],
        answer: Callable[[Event], bool],
    ) -> Listening:
        if self.failing is not None:
            raise self.failing
        self._handle, self.rescan, self.expects_answer = handle, rescan, answer
        return self

    def start(self) -> None:
        self._started = True
        for event in self._early:
            self.tell(event)

    def close(self) -> None:
        self._handle = None

    def tell(self, event: Event) -> None:
        if not self._started:
            self._early.append(event)
        elif self._handle is not None:
            self._handle(event)
