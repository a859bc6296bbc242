"""What is kept of copies for RECEIVE COPY RESULTS (SPC-4): of each I_T_L nexus, by list identifier.

A copy is `Copying` while it runs, and stays afterwards where its LIST ID USAGE asks for it: its
status until that is asked for, the details of its failure until those are. Another copy under the
same identifier, a reset, the loss of the nexus, and newer copies beyond a limit end it sooner.
"""

import threading
from dataclasses import dataclass
from typing import Final

from scsi_snap.scsi.limits import COPY_RESULTS_MAX
from scsi_snap.scsi.nexus import ItlNexus
from scsi_snap.scsi.request import NexusId
from scsi_snap.scsi.sense import SenseCode, refuse


@dataclass(eq=False, slots=True)
class Copying:
    """One EXTENDED COPY. Its thread alone changes it, until it has ended."""

    segments: int = 0
    """Segments processed."""
    transferred_bytes: int = 0
    ended: bool = False
    failure: bytes = b""
    """The sense data that the command ended with, once it has failed."""
    status_is_held: bool = True

    @property
    def failed(self) -> bool:
        """Ended with an error."""
        return bool(self.failure)


class CopyResults:
    """Of one logical unit."""

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._kept: dict[ItlNexus, dict[int, Copying]] = {}

    def begin(self, itl: ItlNexus, list_id: int) -> Copying:
        """A copy begins. Refused while one of this identifier runs."""
        with self._lock:
            kept = self._kept.setdefault(itl, {})
            before = kept.pop(list_id, None)
            if before is not None and not before.ended:
                kept[list_id] = before
                refuse(SenseCode.OPERATION_IN_PROGRESS)
            while len(kept) >= COPY_RESULTS_MAX:
                oldest = next((each for each in kept if kept[each].ended), None)
                if oldest is None:
                    refuse(SenseCode.OPERATION_IN_PROGRESS)
                del kept[oldest]
            copying = kept[list_id] = Copying()
            return copying

    def end(self, itl: ItlNexus, list_id: int, copying: Copying, *, hold: bool) -> None:
        """The copy has ended."""
        with self._lock:
            copying.ended = True
            kept = self._kept.get(itl, {})
            if not hold and kept.get(list_id) is copying:
                del kept[list_id]

    def find(self, itl: ItlNexus, list_id: int) -> Copying | None:
        """The copy of this identifier, running or kept."""
        with self._lock:
            return self._kept.get(itl, {}).get(list_id)

    def status_told(self, itl: ItlNexus, list_id: int, copying: Copying) -> None:
        """The status of an ended copy was asked for: only the details of a failure stay."""
        with self._lock:
            copying.status_is_held = False
            if not copying.failed:
                self._drop(itl, list_id, copying)

    def failure_told(self, itl: ItlNexus, list_id: int, copying: Copying) -> None:
        """The details were asked for: nothing stays."""
        with self._lock:
            self._drop(itl, list_id, copying)

    def _drop(self, itl: ItlNexus, list_id: int, copying: Copying) -> None:
        kept = self._kept.get(itl, {})
        if kept.get(list_id) is copying:
            del kept[list_id]

    def forget(self, nexus: NexusId) -> None:
        """The nexus is gone, and its commands have ended."""
        with self._lock:
            self._kept = {itl: kept for itl, kept in self._kept.items() if itl.nexus != nexus}

    def clear(self) -> None:
        """A reset: nothing of an ended copy stays."""
        with self._lock:
            for itl, kept in self._kept.items():
                running = {key: each for key, each in kept.items() if not each.ended}
                self._kept[itl] = running
