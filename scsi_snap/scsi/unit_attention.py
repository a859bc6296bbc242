"""Unit attention conditions: what an initiator must learn before its next command (SAM-5, 5.14).

Each I_T_L nexus has its own queue. A nexus is met with POWER ON, RESET, OR BUS DEVICE RESET
OCCURRED; one that was here before, and was lost, with I_T NEXUS LOSS OCCURRED. These and the reset
of the unit come first and take the place of everything older, as whoever learns of them must look
at everything again; of two of them the one that says more stays. The rest comes in its order.

Conditions are cleared when they are reported (UA_INTLCK_CTRL is 00b). The owner locks.
"""

from collections import OrderedDict
from typing import Final

from scsi_snap.scsi.limits import NEXUSES_REMEMBERED
from scsi_snap.scsi.nexus import InitiatorPort, ItlNexus, Mapping, TargetPort
from scsi_snap.scsi.request import NexusId
from scsi_snap.scsi.sense import SenseCode

_RESETS: Final = (
    SenseCode.POWER_ON_OCCURRED,
    SenseCode.BUS_DEVICE_RESET_OCCURRED,
    SenseCode.I_T_NEXUS_LOSS_OCCURRED,
)
"""What says most comes first. They are reported before a reservation conflict (SAM-5, 5.3.3)."""

_Place = tuple[int, TargetPort, InitiatorPort]


class UnitAttentions:
    """The queues of one logical unit. A condition is queued once, however often it arises, so a
    queue is no longer than there are conditions.
    """

    def __init__(self) -> None:
        self._queues: dict[ItlNexus, list[SenseCode]] = {}
        self._seen: OrderedDict[_Place, None] = OrderedDict()

    def known(self) -> list[ItlNexus]:
        """Every nexus that was met and not forgotten."""
        return list(self._queues)

    def meet(self, itl: ItlNexus, *, quietly: bool = False) -> None:
        """Makes a nexus known; `quietly`, it has nothing to learn, as it was never lost."""
        if itl in self._queues:
            return
        place = (itl.mapping.lun, itl.mapping.port, itl.initiator)
        returns = place in self._seen
        first = _RESETS[2] if returns else _RESETS[0]
        self._queues[itl] = [] if quietly else [first]
        self._seen[place] = None
        self._seen.move_to_end(place)
        if len(self._seen) > NEXUSES_REMEMBERED:
            self._seen.popitem(last=False)

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
            first = queue[0] if queue else None
            if first in _RESETS and _RESETS.index(first) < _RESETS.index(condition):
                condition = first
            queue.clear()
        queue.append(condition)

    def take(self, itl: ItlNexus) -> SenseCode | None:
        """The first condition, which is thereby reported."""
        queue = self._queues.get(itl)
        return queue.pop(0) if queue else None

    def take_reset(self, itl: ItlNexus) -> SenseCode | None:
        """The first condition, if it is one that comes before a reservation conflict."""
        queue = self._queues.get(itl)
        return queue.pop(0) if queue and queue[0] in _RESETS else None

    def clear(self, itl: ItlNexus, condition: SenseCode) -> None:
        """Takes one condition back, unreported."""
        queue = self._queues.get(itl)
        if queue and condition in queue:
            queue.remove(condition)

    def forget(self, nexus: NexusId) -> None:
        """Drops all of a nexus that is gone; what it had to learn, the loss implies."""
        for itl in [itl for itl in self._queues if itl.nexus == nexus]:
            del self._queues[itl]

    def forget_mapping(self, mapping: Mapping) -> None:
        """Drops every nexus of a place that is gone. Whoever finds the unit there again does not
        come back to it but meets it.
        """
        for itl in [itl for itl in self._queues if itl.mapping is mapping]:
            del self._queues[itl]
        for place in [each for each in self._seen if each[:2] == (mapping.lun, mapping.port)]:
            del self._seen[place]
