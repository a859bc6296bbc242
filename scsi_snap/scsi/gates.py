"""The gates of a unit's places: what each was told last, so that it is only told what differs.

The owner locks, so what a gate hears last is what was so last.
"""

from dataclasses import dataclass, field

from scsi_snap.scsi.nexus import ItlNexus, Mapping
from scsi_snap.scsi.request import NexusId


@dataclass(slots=True)
class _Told:
    """What the gate of one mapping was told."""

    unusual: bool
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

    def add(self, mapping: Mapping, unusual: bool) -> None:
        """A place comes. `open` follows, once its nexuses were told of."""
        self._told[mapping] = _Told(unusual)

    def open(self, mapping: Mapping) -> None:
        """Says what holds for every nexus of a new place: a gate that was closed until now opens
        for nobody too early.
        """
        mapping.gate.set_pending(mapping.lun, None, self._told[mapping].unusual)

    def remove(self, mapping: Mapping) -> None:
        """A place goes."""
        del self._told[mapping]

    def forget(self, nexus: NexusId) -> None:
        """A nexus is gone; its gate has forgotten it as well."""
        for told in self._told.values():
            told.pending.discard(nexus)

    def tell_all(self, unusual: bool) -> None:
        """Whether every nexus has to come up here."""
        for mapping, told in self._told.items():
            if told.unusual != unusual:
                told.unusual = unusual
                mapping.gate.set_pending(mapping.lun, None, unusual)

    def tell(self, itl: ItlNexus, pending: bool) -> None:
        """Whether this nexus has to come up here."""
        told = self._told[itl.mapping].pending
        if pending != (itl.nexus in told):
            (told.add if pending else told.discard)(itl.nexus)
            itl.mapping.gate.set_pending(itl.mapping.lun, itl.nexus, pending)
