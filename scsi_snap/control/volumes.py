"""Verbs on volumes."""

from __future__ import annotations

from contextlib import nullcontext
from uuid import UUID

from scsi_snap import limits, units
from scsi_snap.control import mappings, views
from scsi_snap.control.outcomes import Changed, Created, Deleted, Unchanged
from scsi_snap.control.traits import NO_CHOICES, TraitChoices
from scsi_snap.errors import Busy, Exists, InvalidArgument, LimitReached, Unsupported
from scsi_snap.inventory import personalities
from scsi_snap.inventory.assembly import Assembly
from scsi_snap.inventory.names import VolumeName
from scsi_snap.inventory.personalities import Traits
from scsi_snap.inventory.pool_views import VolumeView
from scsi_snap.scsi.identity import Identity

POLICIES = ("drop-snapshot", "fail-write")
BLOCK_BYTES = (512, 4096)
CHUNK_BYTES_MIN, CHUNK_BYTES_MAX, CHUNK_BYTES_DEFAULT = 4 << 10, 1 << 20, 64 << 10


class VolumeVerbs:
    def __init__(self, assembly: Assembly) -> None:
        self._assembly = assembly
        self._catalog = assembly.catalog
        self._pools = assembly.pools
        self._exporter = assembly.exporter

    def all(self, pool: str | None = None) -> list[views.Volume]:
        handles = [self._pools.get(pool)] if pool else self._pools.opened()
        mapped = mappings.by_volume(self._catalog.state)
        return [
            view(handle.name, volume, mapped.get(volume.id, []))
            for handle in handles
            for volume in handle.volumes()
        ]

    def show(self, name: VolumeName) -> views.Volume:
        volume = self._pools.get(name.pool).volume(name.volume)
        return self._view(name.pool, volume)

    def create(
        self,
        name: VolumeName,
        size_bytes: int,
        block_bytes: int = 512,
        chunk_bytes: int = CHUNK_BYTES_DEFAULT,
        policy: str = "drop-snapshot",
        store_limit_bytes: int | None = None,
        traits: TraitChoices = NO_CHOICES,
    ) -> Created[views.Volume] | Unchanged[views.Volume]:
        _check(size_bytes, block_bytes, chunk_bytes, policy, store_limit_bytes)
        chosen = traits.applied_to(Traits())
        wanted = (size_bytes, block_bytes, chunk_bytes, policy, store_limit_bytes)
        # To set all of its space aside may take long: only who chooses a name waits for another.
        naming = self._assembly.naming_lock if chosen.serial or chosen.naa else nullcontext()
        with self._pools.locked([name.pool]) as handles, naming:
            handle = handles[name.pool]
            there = handle.find_volume(name.volume)
            if there is not None:
                if (_parameters(there), personalities.read(there.attributes)[0]) == (
                    wanted,
                    chosen,
                ):
                    return Unchanged(self._view(name.pool, there))
                raise Exists(
                    f"volume {str(name)!r} is there already, with other parameters",
                    f"`scsi-snap volume show {name}` tells which",
                )
            self._refuse_taken(chosen.identity(UUID(int=0)))
            attributes = {key: text for key, text in chosen.to_attributes().items() if text}
            handle.create_volume(name.volume, *wanted, attributes)
            return Created(self._view(name.pool, handle.volume(name.volume)))

    def set(
        self,
        name: VolumeName,
        traits: TraitChoices,
        policy: str | None = None,
        store_limit_bytes: int | None = None,
    ) -> Changed[views.Volume] | Unchanged[views.Volume]:
        """Changes, online, what the volume's logical unit says it is (initiators are told, and its
        snapshots follow in what they take from it), and the rules of its exception store. None
        leaves as it is; a `store_limit_bytes` of 0 takes the limit away."""
        assembly = self._assembly
        with (
            self._pools.locked([name.pool]) as handles,
            assembly.naming_lock,
            assembly.exports_lock,
        ):
            handle = handles[name.pool]
            volume = handle.volume(name.volume)
            before = personalities.read(volume.attributes)[0]
            after = traits.applied_to(before)
            for trait, was in before.for_life.items():
                if after.for_life[trait] != was:
                    raise InvalidArgument(
                        f"{name} was made with {trait} {was}, and stays so: its hosts have laid out"
                        " what is on it for that",
                        f"make another volume with --{trait} {after.for_life[trait]}, and copy it",
                    )
            limit_bytes = (
                volume.store.limit_bytes if store_limit_bytes is None else store_limit_bytes
            )
            rules = (policy or volume.policy, limit_bytes or None)
            _check_store_rules(*rules, volume.chunk_bytes)
            is_ruled = rules == (volume.policy, volume.store.limit_bytes)
            if after == before and is_ruled:
                return Unchanged(self._view(name.pool, volume))
            self._refuse_taken(after.identity(UUID(volume.id)))
            if not is_ruled:
                handle.set_store_rules(name.volume, *rules)
            if after != before:
                handle.set_attributes(name.volume, after.to_attributes())
                assembly.personality_changed(handle, volume.id)
            return Changed(self._view(name.pool, handle.volume(name.volume)))

    def resize(
        self, name: VolumeName, size_bytes: int
    ) -> Changed[views.Volume] | Unchanged[views.Volume]:
        """Makes a volume larger while it is in use, and tells its initiators. Snapshots keep the
        size that they were taken at."""
        with self._pools.locked([name.pool]) as handles:
            handle = handles[name.pool]
            volume = handle.volume(name.volume)
            if size_bytes == volume.size_bytes:
                return Unchanged(self._view(name.pool, volume))
            _check_size(size_bytes, volume.block_bytes)
            if size_bytes > limits.CHUNKS_PER_VOLUME_MAX * volume.chunk_bytes:
                most = units.format_size(limits.CHUNKS_PER_VOLUME_MAX * volume.chunk_bytes)
                raise LimitReached(
                    f"volume {str(name)!r} has chunks of {units.format_size(volume.chunk_bytes)},"
                    f" and so at most {most}",
                    "make another volume with larger ones (--chunk), and copy it",
                )
            if size_bytes < volume.size_bytes:
                raise Unsupported(
                    f"volume {str(name)!r} cannot shrink: it has"
                    f" {units.exact_size(volume.size_bytes)}",
                    "make a smaller volume and copy what is needed",
                )
            handle.resize_volume(name.volume, size_bytes)
            self._assembly.exporter.capacity_changed(UUID(volume.id))
            return Changed(self._view(name.pool, handle.volume(name.volume)))

    def delete(
        self, name: VolumeName, *, with_snapshots: bool = False, dry_run: bool = False
    ) -> Deleted:
        """`dry_run`: says what would go, and does nothing."""
        with self._pools.locked([name.pool]) as handles:
            handle = handles[name.pool]
            volume = handle.volume(name.volume)
            mappings.refuse_in_use(mappings.of_volume(self._catalog.state, volume.id))
            if volume.snapshot_count and not with_snapshots:
                raise Busy(
                    f"volume {str(name)!r} has {volume.snapshot_count} snapshot(s),"
                    f" such as {volume.snapshots[0].name!r}",
                    f"`scsi-snap volume delete --snapshots {name}` deletes them too",
                )
            mappings.refuse_shown(self._exporter, str(name), volume.id)
            for snapshot in volume.snapshots:
                mappings.refuse_shown(self._exporter, f"{name}@{snapshot.name}", snapshot.id)
            goes = tuple(f"snapshot {name}@{snapshot.name}" for snapshot in volume.snapshots)
            if dry_run:
                return Deleted(str(name), goes, planned=True)
            for snapshot in volume.snapshots:
                handle.delete_snapshot(name.volume, snapshot.name)
                self._exporter.backing_deleted(UUID(snapshot.id))
            handle.delete_volume(name.volume)
            self._exporter.backing_deleted(UUID(volume.id))
        return Deleted(str(name), goes)

    def check(self, name: VolumeName) -> views.CheckResult:
        """Runs the checks of every format that holds the volume."""
        handle = self._pools.get(name.pool)
        handle.volume(name.volume)
        return views.CheckResult(str(name), tuple(handle.check(name.volume)))

    def check_all(self, pool: str | None = None) -> list[views.CheckResult]:
        """Of each pool, or of one: whether its copies and parity agree, which reads all that is
        written; then its volumes. A pool that is not available cannot be checked, and is named as
        that."""
        handles = [self._pools.get(pool)] if pool else self._pools.opened()
        results = [
            result
            for handle in handles
            for result in (
                views.CheckResult(handle.name, tuple(handle.compare())),
                *(self.check(VolumeName(handle.name, name)) for name in handle.volume_names()),
            )
        ]
        if pool is None:
            for name, reason in sorted(self._pools.unavailable().items()):
                problem = f"the pool is unavailable, and cannot be checked: {reason}"
                results.append(views.CheckResult(name, (problem,)))
        return results

    def _refuse_taken(self, chosen: Identity) -> None:
        """Raises `Exists` where anything else in the controller has a name that was chosen."""
        for claim in self._assembly.claims_on(chosen):
            raise Exists(
                f"the {claim.what} is that of {claim.label}",
                "hosts tell disks apart by it: choose another one, or none",
            )

    def _view(self, pool: str, volume: VolumeView) -> views.Volume:
        return view(pool, volume, mappings.of_volume(self._catalog.state, volume.id))


def view(pool: str, volume: VolumeView, mapped: mappings.Mapped) -> views.Volume:
    personality = personalities.of_volume(volume)
    identity = personality.identity
    return views.Volume(
        name=f"{pool}/{volume.name}",
        id=volume.id,
        created_at_ms=volume.created_at_ms,
        size_bytes=volume.size_bytes,
        block_bytes=volume.block_bytes,
        chunk_bytes=volume.chunk_bytes,
        policy=volume.policy,
        store_used_bytes=volume.store.used_bytes,
        store_capacity_bytes=volume.store.capacity_bytes,
        store_limit_bytes=volume.store.limit_bytes,
        snapshots=volume.snapshot_count,
        mapped=mappings.references(mapped, ""),
        provisioning="thin" if personality.thin else "full",
        deallocation=personalities.read(volume.attributes)[0].deallocation,
        physical_block_bytes=personality.physical_block_bytes,
        read_only=personality.read_only,
        removable=personality.removable,
        vendor=identity.vendor,
        product=identity.product,
        serial=identity.serial_number,
        naa=identity.naa.hex(),
    )


def _parameters(volume: VolumeView) -> tuple[int, int, int, str, int | None]:
    return (
        volume.size_bytes,
        volume.block_bytes,
        volume.chunk_bytes,
        volume.policy,
        volume.store.limit_bytes,
    )


def _check(
    size_bytes: int,
    block_bytes: int,
    chunk_bytes: int,
    policy: str,
    store_limit_bytes: int | None,
) -> None:
    if block_bytes not in BLOCK_BYTES:
        raise InvalidArgument(
            f"logical blocks of {block_bytes} bytes cannot be used", "512 or 4096"
        )
    _check_size(size_bytes, block_bytes)
    power_of_two = chunk_bytes > 0 and chunk_bytes & (chunk_bytes - 1) == 0
    if not power_of_two or not CHUNK_BYTES_MIN <= chunk_bytes <= CHUNK_BYTES_MAX:
        smallest, largest = map(units.format_size, (CHUNK_BYTES_MIN, CHUNK_BYTES_MAX))
        raise InvalidArgument(
            f"chunks of {units.exact_size(chunk_bytes)} cannot be used",
            f"a power of two from {smallest} to {largest}",
        )
    _check_chunks(size_bytes, chunk_bytes)
    _check_store_rules(policy, store_limit_bytes, chunk_bytes)


def _check_store_rules(policy: str, store_limit_bytes: int | None, chunk_bytes: int) -> None:
    if policy not in POLICIES:
        raise InvalidArgument(
            f"{policy!r} is not a policy for a full store", f"one of {', '.join(POLICIES)}"
        )
    if store_limit_bytes is not None and (
        not chunk_bytes <= store_limit_bytes <= units.SIZE_BYTES_MAX
        or store_limit_bytes % units.SECTOR_BYTES
    ):
        raise InvalidArgument(
            f"a store's limit of {units.exact_size(store_limit_bytes)} cannot be used",
            f"a multiple of {units.SECTOR_BYTES} bytes, from one chunk to"
            f" {units.format_size(units.SIZE_BYTES_MAX)}",
        )


def _check_chunks(size_bytes: int, chunk_bytes: int) -> None:
    most_bytes = limits.CHUNKS_PER_VOLUME_MAX * chunk_bytes
    if size_bytes <= most_bytes:
        return
    largest = limits.CHUNKS_PER_VOLUME_MAX * CHUNK_BYTES_MAX
    if size_bytes <= largest:
        fitting = CHUNK_BYTES_MIN
        while limits.CHUNKS_PER_VOLUME_MAX * fitting < size_bytes:
            fitting *= 2
        hint = f"chunks of {units.format_size(fitting)} or more allow it (--chunk)"
    else:
        hint = f"the largest volume has {units.format_size(largest)}"
    raise LimitReached(
        f"a volume with chunks of {units.format_size(chunk_bytes)} has at most"
        f" {units.format_size(most_bytes)}, not {units.exact_size(size_bytes)}",
        hint,
    )


def _check_size(size_bytes: int, block_bytes: int) -> None:
    if size_bytes <= 0 or size_bytes % block_bytes:
        raise InvalidArgument(
            f"{units.exact_size(size_bytes)}: not a whole number of blocks of {block_bytes} bytes",
            "give a size like 10GiB, of at least one block",
        )
    if size_bytes > units.SIZE_BYTES_MAX:
        raise InvalidArgument(
            f"a volume has at most {units.format_size(units.SIZE_BYTES_MAX)}", "give a smaller size"
        )
