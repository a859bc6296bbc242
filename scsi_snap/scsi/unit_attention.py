"""Unit attention conditions: what an initiator must learn before its next command (SAM-5, 5.14).

Each I_T_L nexus has its own queue. A nexus is met with POWER ON, RESET, OR BUS DEVICE RESET
OCCURRED; a reset takes the place of everything older, as whoever learns of it must look at
everything again. The owner locks.
"""

from scsi_snap.scsi.nexus import ItlNexus, Mapping
from scsi_snap.scsi.request import NexusId
from scsi_snap.scsi.sense import SenseCode

_RESETS = frozenset({SenseCode.POWER_ON_OCCURRED, SenseCode.BUS_DEVICE_RESET_OCCURRED})


class UnitAttentions:
    """The queues of one logical unit. A condition is queued once, however often it arises."""

    def __init__(self) -> None:
        self._queues: dict[ItlNexus, list[SenseCode]] = {}

    def known(self) -> list[ItlNexus]:
        """Every nexus that was met and not forgotten."""
        return list(self._queues)

    def meet(self, itl: ItlNexus) -> None:
        """Makes a nexus known."""
        self._queues.setdefault(itl, [SenseCode.POWER_ON_OCCURRED])

    def pending(self, itl: ItlNexus) -> bool:
        """Whether the nexus has anything to learn."""
        return bool(self._queues.get(itl))

    def waiting(self, itl: ItlNexus) -> list[SenseCode]:
        """What the nexus has to learn, oldest first; it stays."""
        return list(self._queues.get(itl, ()))

    def establish(self, condition: SenseCode, *, but: ItlNexus | None = None) -> None:
        """For every known nexus but one. A nexus not met yet begins with a power on anyway."""
        for itl in self._queues:
            if itl != but:
                self.establish_for(itl, condition)

    def establish_for(self, itl: ItlNexus, condition: SenseCode) -> None:
        """For one nexus, if it is known."""
        queue = self._queues.get(itl)
        if queue is None or condition in queue:
            return
        if condition in _RESETS:
            queue.clear()
        queue.append(condition)

    def take(self, itl: ItlNexus) -> SenseCode | None:
        """The oldest condition, which is thereby reported."""
        queue = self._queues.get(itl)
        return queue.pop(0) if queue else None

    def clear(self, itl: ItlNexus, condition: SenseCode) -> None:
        """Takes one condition back, unreported."""
        queue = self._queues.get(itl)
        if queue and condition in queue:
            queue.remove(condition)

    def forget(self, nexus: NexusId) -> None:
        """Drops all of a nexus that is gone."""
        for itl in [itl for itl in self._queues if itl.nexus == nexus]:
            del self._queues[itl]

    def forget_mapping(self, mapping: Mapping) -> None:
        """Drops every nexus of a place that is gone."""
        for itl in [itl for itl in self._queues if itl.mapping is mapping]:
            del self._queues[itl]
