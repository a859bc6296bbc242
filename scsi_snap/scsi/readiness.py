"""Whether a unit's medium can be used: started or stopped, loaded or ejected, prevented from that.

A unit whose medium is fixed stops and starts (SBC-3, 5.25). One whose medium is removable ejects
and loads it as well; there, to stop is only to write everything out: the unit starts by itself at
the next access, as drives of removable media do.
"""

from collections.abc import Iterable
from typing import Final

from scsi_snap.scsi.device import Medium
from scsi_snap.scsi.nexus import ItlNexus, Mapping
from scsi_snap.scsi.nexuses import Nexuses
from scsi_snap.scsi.request import NexusId
from scsi_snap.scsi.sense import SenseCode, refuse


class Readiness:
    """Of one logical unit."""

    def __init__(self, medium: Medium, nexuses: Nexuses) -> None:
        self._medium: Final = medium
        self._nexuses: Final = nexuses
        self._started = True
        self._loaded = True
        self._preventing: set[ItlNexus] = set()

    @property
    def obstacle(self) -> SenseCode | None:
        """Why a command that needs the medium is refused."""
        if not self._loaded:
            return SenseCode.MEDIUM_NOT_PRESENT
        return None if self._started else SenseCode.INITIALIZING_COMMAND_REQUIRED

    def check(self) -> None:
        """Refuses what needs the medium."""
        obstacle = self.obstacle
        if obstacle is not None:
            refuse(obstacle)

    def set_started(self, started: bool, *, removable: bool, flush: bool = True) -> None:
        """START STOP UNIT: a stopped unit refuses what needs the medium, for every nexus."""
        if not started and flush and self._loaded:
            self._medium.flush()
        with self._nexuses.changing():
            if started and not self._loaded:
                refuse(SenseCode.MEDIUM_NOT_PRESENT)
            self._started = started or removable

    def set_loaded(self, loaded: bool, by: ItlNexus, *, flush: bool = True) -> None:
        """START STOP UNIT with LOEJ: ejects the medium or loads it, which the others learn."""
        if not loaded and flush and self._loaded:
            self._medium.flush()
        with self._nexuses.changing() as attentions:
            if self._preventing:
                refuse(SenseCode.MEDIUM_REMOVAL_PREVENTED)
            came = loaded and not self._loaded
            self._loaded = loaded
            if came:
                attentions.establish(SenseCode.MEDIUM_MAY_HAVE_CHANGED, but=by)

    def prevent(self, itl: ItlNexus) -> None:
        """PREVENT ALLOW MEDIUM REMOVAL of one nexus."""
        with self._nexuses.locked():
            self._preventing.add(itl)

    def allow(self, nexuses: Iterable[ItlNexus]) -> None:
        """These prevent nothing any more."""
        with self._nexuses.locked():
            self._preventing.difference_update(nexuses)

    def reset(self) -> None:
        """After a reset nothing is stopped or prevented; an ejected medium is still out. The
        unit's lock is held, here and below.
        """
        self._started = True
        self._preventing.clear()

    def forget(self, nexus: NexusId) -> None:
        """A nexus is gone, and prevents nothing."""
        self._preventing = {itl for itl in self._preventing if itl.nexus != nexus}

    def forget_mapping(self, mapping: Mapping) -> None:
        """Every nexus of a place is gone."""
        self._preventing = {itl for itl in self._preventing if itl.mapping is not mapping}
