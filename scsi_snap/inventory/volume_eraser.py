"""What SANITIZE needs of a volume's pool (`MediumEraser`): a note of the operation, which is an
attribute of the volume, and the erasure of what its exception store and logs still hold.

The note outlives the process, and goes where the pool goes. While it stands nobody takes a
snapshot of the volume (`control.snapshots` looks), as that would keep what is being erased. `begin`
looks for snapshots and writes the note under the lock of the pool, which every such verb holds. The
other calls come from the operation's own thread, which verbs wait for: they take no lock.
"""

from __future__ import annotations

from scsi_snap.inventory.pool_views import VolumeView
from scsi_snap.inventory.pools import PoolHandle

SANITIZE_KEY = "sanitize"


class VolumeEraser:
    """Of one volume, by its UUID."""

    def __init__(self, handle: PoolHandle, volume_id: str) -> None:
        self._handle = handle
        self._volume_id = volume_id

    def note(self) -> str:
        return self._volume().attributes.get(SANITIZE_KEY, "")

    def begin(self, note: str) -> bool:
        with self._handle.lock:
            if self._volume().snapshot_count:
                return False
            self.set_note(note)
            return True

    def set_note(self, note: str) -> None:
        self._handle.native.set_attributes(self._volume().name, {SANITIZE_KEY: note})

    def erase_remains(self) -> None:
        self._handle.native.erase_store(self._volume().name)

    def _volume(self) -> VolumeView:
        return self._handle.volume_of(self._volume_id)


def is_sanitized(volume: VolumeView) -> bool:
    """Whether a sanitize operation is under way on it, or has failed."""
    return SANITIZE_KEY in volume.attributes
