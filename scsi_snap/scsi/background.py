"""The one background operation of a logical unit: FORMAT UNIT or SANITIZE (SBC-4).

It has a thread of its own, which lives no longer than the unit. States:

    idle -> running -> idle      it ended well
            running -> failed    it stays so until another operation, or `forgive`
            running, closed      the unit goes; what is to be gone on with is known elsewhere

`changed` is told of every change after it was made, with no lock held here: the unit closes the
gate of the fast path as long as there is anything to report.

The work has the medium to itself. It begins when every change that came before it has ended: those
of commands that were admitted here, and those of the fast path. None waits for the work in turn:
FORMAT UNIT and SANITIZE, which may, are not admitted but start it.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from math import inf
from typing import Final

from scsi_snap.scsi import limits
from scsi_snap.scsi.sense import CheckCondition, Progress, Sense, SenseCode


class Kind(Enum):
    """What is done: the sense data while it runs, and after it failed."""

    FORMAT = (SenseCode.FORMAT_IN_PROGRESS, SenseCode.FORMAT_COMMAND_FAILED)
    SANITIZE = (SenseCode.SANITIZE_IN_PROGRESS, SenseCode.SANITIZE_COMMAND_FAILED)


class Interrupted(Exception):
    """The unit goes: the work ends here."""


@dataclass(slots=True)
class Run:
    """The work's view of its run."""

    bytes_per_s: float = inf
    """The pace to keep, so that other units get their share of the members."""
    total_bytes: int = 1
    done_bytes: int = 0
    _stopping: threading.Event = field(default_factory=threading.Event)

    def advance(self, length_bytes: int) -> None:
        """So much more is done; waits as the pace wants. Raises `Interrupted` where it ends."""
        self.done_bytes += length_bytes
        if self._stopping.wait(length_bytes / self.bytes_per_s):
            raise Interrupted

    def stop(self) -> None:
        """Has the next `advance` end the work."""
        self._stopping.set()


Work = Callable[[Run], None]
"""Does it, in small steps. Raises `CheckCondition` where it fails."""


@dataclass(eq=False, slots=True)
class _Operation:
    """From its start to its end."""

    kind: Kind
    work: Work
    run: Run
    ended: threading.Event = field(default_factory=threading.Event)
    failure: Sense | None = None
    thread: threading.Thread | None = None


class Background:
    """Of one unit. Any method from any thread."""

    def __init__(
        self,
        changed: Callable[[], None],
        wait_for_fast_path: Callable[[], None] = lambda: None,
        bytes_per_s: float = inf,
    ) -> None:
        """`wait_for_fast_path` returns when the WRITEs that have passed the gate, closed by now,
        have ended.
        """
        self._changed: Final = changed
        self._wait_for_fast_path: Final = wait_for_fast_path
        self._bytes_per_s: Final = bytes_per_s
        self._lock: Final = threading.Lock()
        self._no_changes: Final = threading.Condition(self._lock)
        self._changes = 0
        self._operation: _Operation | None = None
        self._failed: Kind | None = None
        self._closed = False

    @property
    def quiet(self) -> bool:
        """Nothing runs, and nothing failed."""
        return self._operation is None and self._failed is None

    def condition(self) -> Sense | None:
        """Why most commands are refused now."""
        operation, failed = self._operation, self._failed
        if operation is not None:
            in_progress, _ = operation.kind.value
            done = operation.run.done_bytes / max(operation.run.total_bytes, 1)
            return Sense(in_progress, field=Progress(done))
        return Sense(failed.value[1]) if failed is not None else None

    @contextmanager
    def admitted(self, changes: bool) -> Iterator[None]:
        """For a command; refused while there is anything to report. Where it `changes` the medium,
        no work begins until it has ended.
        """
        with self._lock:
            condition = self.condition()
            if condition is not None:
                raise CheckCondition(condition)
            self._changes += changes
        try:
            yield
        finally:
            with self._lock:
                self._changes -= changes
                if not self._changes:
                    self._no_changes.notify_all()

    def _wait_for_changes(self) -> None:
        """Those that came before; others are refused by now."""
        with self._no_changes:
            self._no_changes.wait_for(lambda: not self._changes)
        self._wait_for_fast_path()

    @property
    def failed(self) -> Kind | None:
        """What has failed and was not forgiven or done again."""
        return self._failed

    def start(self, kind: Kind, work: Work, prepare: Callable[[], None]) -> _Operation:
        """Begins an operation once `prepare`, which may refuse it, has returned.

        Refused while another one runs. SANITIZE may follow any failure, FORMAT UNIT only its own:
        a medium that was not sanitized must not come back by being formatted.
        """
        operation = _Operation(kind, work, Run(self._bytes_per_s))
        with self._lock:
            in_the_way = self._failed is Kind.SANITIZE and kind is not Kind.SANITIZE
            condition = self.condition()
            if condition is not None and (self._operation is not None or in_the_way):
                raise CheckCondition(condition)
            self._operation = operation
        self._changed()
        try:
            prepare()
        except BaseException:
            with self._lock:
                self._operation = None
            self._changed()
            raise
        with self._lock:
            if not self._closed:
                operation.thread = threading.Thread(
                    target=self._work, args=(operation,), name="scsi-background", daemon=True
                )
                operation.thread.start()
        return operation

    def finish(self, operation: _Operation) -> None:
        """Waits for the end, as a command without IMMED does; raises what the operation failed
        with, or, after `BACKGROUND_WAIT_S`, that it is in progress.
        """
        if not operation.ended.wait(limits.BACKGROUND_WAIT_S):
            condition = self.condition()
            if condition is not None:
                raise CheckCondition(condition)
        if operation.failure is not None:
            raise CheckCondition(operation.failure)

    def fail(self, kind: Kind) -> None:
        """It has failed in an earlier life of the unit."""
        self._failed = kind
        self._changed()

    def forgive(self) -> None:
        """The failure is over."""
        self._failed = None
        self._changed()

    def close(self) -> None:
        """The unit goes: what runs ends where it is. Returns when no thread is left; no lock that
        `changed` takes may be held.
        """
        with self._lock:
            self._closed = True
            operation = self._operation
        if operation is not None and operation.thread is not None:
            operation.run.stop()
            operation.thread.join()

    def _work(self, operation: _Operation) -> None:
        """The thread. A defect in the work fails the operation, and is told as what it is."""
        try:
            self._wait_for_changes()
            operation.work(operation.run)
        except Interrupted:
            return
        except BaseException as failure:
            self._end(operation, failed=True)
            if not isinstance(failure, CheckCondition):
                raise
        else:
            self._end(operation, failed=False)

    def _end(self, operation: _Operation, *, failed: bool) -> None:
        with self._lock:
            self._failed = operation.kind if failed else None
            operation.failure = Sense(operation.kind.value[1]) if failed else None
            self._operation = None
        self._changed()
        operation.ended.set()
