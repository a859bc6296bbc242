"""Two pools against plain bytes: random changes, snapshots, restarts and a lost member.

Every volume holds what was written last, every snapshot what the volume held at its point, and a
diff names exactly the chunks that were changed, at each level, after clean and unclean restarts,
degraded, and with a store that fills.
"""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from scsi_snap import _native
from tests.budget import budget
from tests.model.subject import MEMBERS, Pool, Volume, code_of
from tests.model.volume_model import Shape
from tests.native import MIB, scratch

WHICH = st.integers(0, 1)
NAMES = st.sampled_from(["a", "b"])
SNAPSHOTS = st.sampled_from(["s", "t", "u", "v"])
FRACTION = st.integers(0, 1 << 16)
SHAPES = st.sampled_from(
    [
        Shape(4096, 512, 40, "drop-snapshot", None),
        Shape(4096, 4096, 40, "fail-write", None),
        Shape(16384, 512, 20, "drop-snapshot", None),
        Shape(65536, 512, 24, "drop-snapshot", MIB),
        Shape(65536, 512, 24, "fail-write", MIB),
        Shape(65536, 4096, 24, "drop-snapshot", MIB),
    ]
)
CHANGES = st.sampled_from(["write", "write", "write", "write_zeroes", "discard"])


class PoolMachine(RuleBasedStateMachine):
    pools: list[Pool]

    @initialize(
        levels=st.tuples(*[st.sampled_from(sorted(MEMBERS))] * 2),
        shapes=st.tuples(*[SHAPES] * 4),
    )
    def start(self, levels: tuple[str, ...], shapes: tuple[Shape, ...]) -> None:
        self._directory = scratch()
        self._counter = 0
        self._touched: list[Volume] = []
        directory = Path(self._directory.name)
        self.pools = [Pool(f"pool{n}", level, directory) for n, level in enumerate(levels)]
        for number, shape in enumerate(shapes):
            self.pools[number // 2].create_volume("ab"[number % 2], shape)
        # Begun with data and a snapshot, so that short runs reach what several have in common.
        places = [(which, name) for which in (0, 1) for name in "ab"]
        for place in places:
            self.write_zeros_as_data(*place)
            self.volume(*place).change("write", 0, self.fresh(self.volume(*place).piece_bytes))
        self.take_at_one_point(set(places), "s")

    def teardown(self) -> None:
        if not hasattr(self, "pools"):
            return
        try:
            for pool in self.pools:
                for volume in pool.volumes.values():
                    volume.compare()
                    volume.check()
                pool.close()
        finally:
            del self.pools
            self._directory.cleanup()

    def volume(self, which: int, name: str) -> Volume:
        found = self.pools[which].volumes[name]
        self._touched.append(found)
        return found

    def fresh(self, length_bytes: int) -> bytes:
        """Data that was never written before, and differs from place to place."""
        self._counter += 1
        words = length_bytes // 8
        first = (self._counter << 32).to_bytes(8, "big")
        block = b"".join((int.from_bytes(first) | n).to_bytes(8, "big") for n in range(64))
        return (block * -(-words // 64))[:length_bytes]

    @rule(which=WHICH, name=NAMES, verb=CHANGES, at=FRACTION, chunks=st.integers(0, 32), more=WHICH)
    def change(self, which: int, name: str, verb: str, at: int, chunks: int, more: int) -> None:
        volume = self.volume(which, name)
        shape = volume.model.shape
        blocks = shape.size_bytes // shape.block_bytes
        first = at * blocks >> 16 if at < 1 << 16 else blocks
        offset = first * shape.block_bytes
        # From within a chunk it would reach into one more.
        room = volume.piece_bytes - offset % shape.chunk_bytes
        wanted = chunks * shape.chunk_bytes // 2 + more * shape.block_bytes
        length = min(wanted, room, shape.size_bytes - offset)
        length -= length % shape.block_bytes
        data = self.fresh(length) if verb == "write" else bytes(length)
        volume.change(verb, offset, data)

    @rule(which=WHICH, name=NAMES)
    def write_zeros_as_data(self, which: int, name: str) -> None:
        volume = self.volume(which, name)
        volume.change("write", 0, bytes(3 * volume.model.shape.block_bytes))

    @rule(which=WHICH, name=NAMES)
    def change_everything(self, which: int, name: str) -> None:
        """The way to a full store."""
        volume = self.volume(which, name)
        step = -(-volume.piece_bytes // 2 // volume.model.shape.chunk_bytes)
        step *= volume.model.shape.chunk_bytes
        for offset in range(0, volume.model.shape.size_bytes, step):
            length = min(step, volume.model.shape.size_bytes - offset)
            volume.change("write", offset, self.fresh(length))

    @rule(which=WHICH, name=NAMES, snapshot=SNAPSHOTS, first=FRACTION, count=FRACTION)
    def take_ranged(self, which: int, name: str, snapshot: str, first: int, count: int) -> None:
        volume = self.volume(which, name)
        blocks = volume.model.shape.size_bytes // volume.model.shape.block_bytes
        begin = first * (blocks - 1) >> 16
        self.take([volume], snapshot, (begin, 1 + (count * (blocks - begin - 1) >> 16)))

    @rule(
        places=st.sets(st.tuples(WHICH, NAMES), min_size=1, max_size=4),
        snapshot=SNAPSHOTS,
    )
    def take_at_one_point(self, places: set[tuple[int, str]], snapshot: str) -> None:
        self.take([self.volume(*place) for place in sorted(places)], snapshot, None)

    def take(
        self, volumes: list[Volume], snapshot: str, block_range: tuple[int, int] | None
    ) -> None:
        """All or, where one has a snapshot of that name, none."""
        points = [(one.opened()[0], one.name, snapshot, block_range) for one in volumes]
        failure = code_of(_native.Pool.create_snapshots, points)
        if any(snapshot in one.model.snapshots for one in volumes):
            assert failure == "exists"
            return
        assert failure is None, failure
        for volume in volumes:
            volume.model.take(snapshot, block_range)

    @rule(which=WHICH, name=NAMES, snapshot=SNAPSHOTS)
    def delete_snapshot(self, which: int, name: str, snapshot: str) -> None:
        volume = self.volume(which, name)
        there = volume.model.snapshots.pop(snapshot, None)
        failure = code_of(volume.opened()[0].delete_snapshot, name, snapshot)
        assert failure == (None if there else "not-found")

    @rule(which=WHICH, name=NAMES, since=SNAPSHOTS, until=SNAPSHOTS)
    def diff(self, which: int, name: str, since: str, until: str) -> None:
        volume = self.volume(which, name)
        pool, there = volume.opened()[0], volume.model.snapshots
        wrong = next((one for one in (since, until) if one not in volume.model.live()), None)
        if wrong is not None:
            failure = "snapshot-invalid" if wrong in there else "not-found"
            assert code_of(pool.diff, name, since, until) == failure
        elif there[since].point >= there[until].point:
            assert code_of(pool.diff, name, since, until) == "invalid-argument"
        else:
            assert pool.diff(name, since, until) == volume.model.diff(since, until)

    @rule(which=WHICH, name=NAMES, snapshot=SNAPSHOTS)
    def change_a_snapshot(self, which: int, name: str, snapshot: str) -> None:
        volume = self.volume(which, name)
        found = volume.model.snapshots.get(snapshot)
        if found is None or not found.live:
            return
        image = volume.opened()[0].device(name, snapshot)
        assert image.read_only
        block = volume.model.shape.block_bytes
        assert code_of(image.write, 0, bytes(block)) == "read-only"
        assert code_of(image.discard, 0, block) == "read-only"
        assert code_of(image.write_zeroes, 0, block) == "read-only"

    @rule(which=WHICH, name=NAMES)
    def go_past_the_end(self, which: int, name: str) -> None:
        volume = self.volume(which, name)
        device, shape = volume.opened()[1], volume.model.shape
        last = shape.size_bytes - shape.block_bytes
        assert code_of(device.read, last, 2 * shape.block_bytes) == "invalid-argument"
        data = self.fresh(2 * shape.block_bytes)
        assert code_of(device.write, last, data) == "invalid-argument"
        assert code_of(device.discard, last, 2 * shape.block_bytes) == "invalid-argument"
        assert code_of(device.write, 1, data) == "invalid-argument"

    @rule(which=WHICH, name=NAMES, shape=SHAPES)
    def make_anew(self, which: int, name: str, shape: Shape) -> None:
        """What another volume held is not seen in a new one."""
        self._touched.clear()
        self.pools[which].delete_volume(name)
        self.pools[which].create_volume(name, shape)
        self.volume(which, name).compare()

    @rule(which=WHICH, name=NAMES)
    def flush(self, which: int, name: str) -> None:
        self.volume(which, name).opened()[1].flush()

    @rule(which=WHICH)
    def restart_cleanly(self, which: int) -> None:
        self.pools[which].reopen()
        self._touched.extend(self.pools[which].volumes.values())

    @rule()
    def restart_after_a_kill(self) -> None:
        copies = [pool.copy() for pool in self.pools]
        for pool, paths in zip(self.pools, copies, strict=True):
            pool.go_on_with(paths)
            self._touched.extend(pool.volumes.values())
        assert _native.Pool.settle_groups([pool.opened() for pool in self.pools]) == 0

    @precondition(lambda self: any(self.may_lose_a_member()))
    @rule(which=WHICH, number=st.integers(0, 3))
    def lose_a_member(self, which: int, number: int) -> None:
        pool = self.pools[which]
        if self.may_lose_a_member()[which]:
            pool.fail_member(number % len(pool.paths))
            self._touched.extend(pool.volumes.values())

    def may_lose_a_member(self) -> list[bool]:
        return [pool.level != "raid0" and pool.failed is None for pool in self.pools]

    @invariant()
    def what_was_touched_is_right(self) -> None:
        if hasattr(self, "pools"):
            for volume in self._touched:
                volume.compare()
            self._touched.clear()

    @invariant()
    def a_sample_of_everything_is_right(self) -> None:
        """A chunk that moves along, at every volume and snapshot."""
        for pool in getattr(self, "pools", []):
            for volume in pool.volumes.values():
                shape = volume.model.shape
                start = self._counter * 7 % shape.chunks * shape.chunk_bytes
                volume.compare_part(start, min(start + shape.chunk_bytes, shape.size_bytes))


PoolMachine.TestCase.settings = budget(examples=30, steps=30)
TestPools = PoolMachine.TestCase
