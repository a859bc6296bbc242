"""The gates of a unit's places: what each was told last, so that it is only told what differs.

The owner locks, so what a gate hears last is what was so last.
"""

from dataclasses import dataclass, field

from scsi_snap.scsi.nexus import ItlNexus, Mapping
from scsi_snap.scsi.request import NexusId


@dataclass(frozen=True, slots=True)
class Unusual:
    """What has to come up here, of every nexus."""

    all: bool
    """READs and WRITEs."""
    writes: bool
    """WRITEs."""


@dataclass(slots=True)
class _Told:
    """What the gate of one mapping was told."""

    unusual: Unusual
    pending: set[NexusId] = field(default_factory=set)


class Gates:
    """Of one logical unit; also which places it has."""

    def __init__(self) -> None:
        self._told: dict[Mapping, _Told] = {}

    def __contains__(self, mapping: Mapping) -> bool:
        return mapping in self._told

    def places(self) -> list[Mapping]:
        """Where the unit is mapped."""
        return list(self._told)

    def add(self, mapping: Mapping, unusual: Unusual) -> None:
        """A place comes. `open` follows, once its nexuses were told of."""
        self._told[mapping] = _Told(unusual)

    def open(self, mapping: Mapping) -> None:
        """Says what holds for every nexus of a new place: a gate that was closed until now opens
        for nobody too early.
        """
        unusual = self._told[mapping].unusual
        mapping.gate.decline_writes(mapping.lun, unusual.writes)
        mapping.gate.set_pending(mapping.lun, None, unusual.all)

    def remove(self, mapping: Mapping) -> None:
        """A place goes."""
        del self._told[mapping]

    def forget(self, nexus: NexusId) -> None:
        """A nexus is gone; its gate has forgotten it as well."""
        for told in self._told.values():
            told.pending.discard(nexus)

    def tell_all(self, unusual: Unusual) -> None:
        """What of every nexus has to come up here."""
        for mapping, told in self._told.items():
            before, told.unusual = told.unusual, unusual
            if before.writes != unusual.writes:
                mapping.gate.decline_writes(mapping.lun, unusual.writes)
            if before.all != unusual.all:
                mapping.gate.set_pending(mapping.lun, None, unusual.all)

    def tell(self, itl: ItlNexus, pending: bool) -> None:
        """Whether this nexus has to come up here."""
        told = self._told[itl.mapping].pending
        if pending != (itl.nexus in told):
            (told.add if pending else told.discard)(itl.nexus)
            itl.mapping.gate.set_pending(itl.mapping.lun, itl.nexus, pending)
