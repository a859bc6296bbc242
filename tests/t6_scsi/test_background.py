"""A background operation keeps the pace it was given, and can be ended at any point of it."""

import threading

from scsi_snap.scsi.background import Background, Kind, Run


def test_an_operation_that_waits_for_its_pace_ends_with_the_unit() -> None:
    """A byte a second: it would take a long time to go on by itself."""
    waits = threading.Event()

    def work(run: Run) -> None:
        run.total_bytes = 1 << 40
        waits.set()
        run.advance(1 << 30)

    background = Background(lambda: None, bytes_per_s=1)
    operation = background.start(Kind.SANITIZE, work, lambda: None)
    assert waits.wait(60)
    background.close()
    assert operation.thread is not None and not operation.thread.is_alive()


def test_without_a_pace_nothing_waits() -> None:
    background = Background(lambda: None)
    operation = background.start(Kind.FORMAT, lambda run: run.advance(1 << 60), lambda: None)
    background.finish(operation)
    assert background.quiet
