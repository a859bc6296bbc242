"""Whether a unit's medium can be used: started or stopped, loaded or ejected, prevented from that.

A unit whose medium is fixed stops and starts (SBC-3, 5.25). One whose medium is removable ejects
and loads it as well; there, to stop is only to write everything out: the unit starts by itself at
the next access, as drives of removable media do. The owner locks.
"""

from scsi_snap.scsi.nexus import ItlNexus, Mapping
from scsi_snap.scsi.request import NexusId
from scsi_snap.scsi.sense import SenseCode, refuse


class Readiness:
    """Of one logical unit."""

    def __init__(self) -> None:
        self._started = True
        self._loaded = True
        self._preventing: set[ItlNexus] = set()

    @property
    def loaded(self) -> bool:
        """The medium is in."""
        return self._loaded

    @property
    def obstacle(self) -> SenseCode | None:
        """Why a command that needs the medium is refused."""
        if not self._loaded:
            return SenseCode.MEDIUM_NOT_PRESENT
        return None if self._started else SenseCode.INITIALIZING_COMMAND_REQUIRED

    @property
    def removal_prevented(self) -> bool:
        """Some nexus prevents it (SPC-4)."""
        return bool(self._preventing)

    def set_started(self, started: bool, *, removable: bool) -> None:
        """START STOP UNIT without LOEJ."""
        if started and not self._loaded:
            refuse(SenseCode.MEDIUM_NOT_PRESENT)
        self._started = started or removable

    def set_loaded(self, loaded: bool) -> bool:
        """START STOP UNIT with LOEJ; whether a medium has come in."""
        if self._preventing:
            refuse(SenseCode.MEDIUM_REMOVAL_PREVENTED)
        came = loaded and not self._loaded
        self._loaded = loaded
        return came

    def prevent(self, itl: ItlNexus, prevented: bool) -> None:
        """PREVENT ALLOW MEDIUM REMOVAL of one nexus."""
        if prevented:
            self._preventing.add(itl)
        else:
            self._preventing.discard(itl)

    def reset(self) -> None:
        """After a reset nothing is stopped or prevented; an ejected medium is still out."""
        self._started = True
        self._preventing.clear()

    def forget(self, nexus: NexusId) -> None:
        """A nexus is gone, and prevents nothing."""
        self._preventing = {itl for itl in self._preventing if itl.nexus != nexus}

    def forget_mapping(self, mapping: Mapping) -> None:
        """Every nexus of a place is gone."""
        self._preventing = {itl for itl in self._preventing if itl.mapping is not mapping}
