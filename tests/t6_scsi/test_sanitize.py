"""SANITIZE (SBC-4, 4.11 and 5.30)."""

import threading
from uuid import UUID

import pytest

from scsi_snap.scsi import limits
from scsi_snap.scsi.identity import Identity, Personality
from scsi_snap.scsi.logical_unit import LogicalUnit
from scsi_snap.scsi.nexus import TargetPort
from scsi_snap.scsi.target import Target
from tests.t6_scsi import modes
from tests.t6_scsi.bus import UNIT_UUID, Bus, expecting, initiator, make_bus
from tests.t6_scsi.fakes import MemoryDevice, MemoryEraser, RecordingGate
from tests.t6_scsi.held import WAIT_S, held, join_background, wait_until_idle
from tests.t6_scsi.senses import (
    DEVICE_RESET,
    INVALID_OPCODE,
    NOT_READY_START_IT,
    SANITIZE_FAILED,
    SANITIZING,
    SEQUENCE_ERROR,
    WRITE_PROTECTED,
    fixed,
    in_cdb,
    in_list,
)

IMMED, ZNR, AUSE = 0x80, 0x40, 0x20
OVERWRITE, BLOCK_ERASE, CRYPTOGRAPHIC_ERASE, EXIT = 0x01, 0x02, 0x03, 0x1F
TEST_UNIT_READY = [0x00] * 6
READ_10 = [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0]
NO_SENSE = (0x0, 0x00, 0x00)
RESERVATION_CONFLICT = 0x18


def sanitize(action: int, length: int = 0, flags: int = 0) -> list[int]:
    return [0x48, flags | action, 0, 0, 0, 0, 0, *length.to_bytes(2, "big"), 0]


def overwrite_list(pattern: bytes, count: int = 1, flags: int = 0) -> bytes:
    return bytes([flags | count, 0]) + len(pattern).to_bytes(2, "big") + pattern


def progress(code: tuple[int, int, int], done: float) -> bytes:
    """SKSV; PROGRESS INDICATION in 65536ths."""
    return fixed(code, pointer=(0x80, *int(done * 0x10000).to_bytes(2, "big")))


@pytest.fixture
def large() -> Bus:
    """Four mebibytes: an operation has four steps."""
    return make_bus(MemoryDevice(blocks=8192))


class TestOverwrite:
    @pytest.mark.parametrize("length", [1, 4, 7, 256, 512])
    def test_every_block_holds_the_pattern(self, bus: Bus, length: int) -> None:
        """The pattern is repeated, and begins anew with each block."""
        pattern = bytes(range(1, 252)) * 3
        data = overwrite_list(pattern[:length])
        assert bus.command(sanitize(OVERWRITE, len(data)), data) == (0, b"", b"", len(data))
        block = (pattern[:length] * 512)[:512]
        assert bus.device.data == block * 64
        assert bus.eraser.calls == ["begin", "erase_remains", "set_note"]
        assert bus.eraser.kept_note == ""

    def test_zeros_are_written_too(self, bus_of: Bus) -> None:
        """Deallocating would leave what was there on the members."""
        data = overwrite_list(bytes(4))
        bus_of.good(sanitize(OVERWRITE, len(data)), data)
        assert [call[0] for call in bus_of.device.calls] == ["write", "flush"]
        assert not any(bus_of.device.data)

    @pytest.mark.parametrize("count", [2, 3])
    def test_invert_and_count(self, bus: Bus, count: int) -> None:
        """Each pass writes the complement of the one before; the last one the pattern itself."""
        data = overwrite_list(b"\x0f", count, 0x80)
        written: list[int] = []
        bus.device.fail = lambda call: (
            written.append(bus.device.data[0]) if call == "flush" else None
        )
        bus.good(sanitize(OVERWRITE, len(data)), data)
        assert written == [0xF0, 0x0F][-count:] if count == 2 else [0x0F, 0xF0, 0x0F]

    def test_in_steps(self, large: Bus) -> None:
        data = overwrite_list(b"x")
        large.good(sanitize(OVERWRITE, len(data)), data)
        steps = [("write", lba, 2048) for lba in range(0, 8192, 2048)]
        assert large.device.calls == [*steps, ("flush", 0, 0)]

    @pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 512 + 5])
    def test_parameter_list_length(self, bus: Bus, length: int) -> None:
        """More than four bytes, and a block at most."""
        assert bus.refused(sanitize(OVERWRITE, length), bytes(length)) == in_cdb(7)
        assert bus.device.calls == []

    @pytest.mark.parametrize(
        ("data", "byte", "bit"),
        [
            (overwrite_list(b"x" * 512, count=0), 0, 4),
            (overwrite_list(b"x", flags=0x20), 0, 6),  # TEST
            (bytes([1, 0, 0, 0]) + b"x" * 512, 2, None),
            (bytes([1, 0, 2, 4]) + b"x" * 512, 2, None),
        ],
    )
    def test_parameter_list(self, bus: Bus, data: bytes, byte: int, bit: int | None) -> None:
        """OVERWRITE COUNT, TEST, INITIALIZATION PATTERN LENGTH."""
        assert bus.refused(sanitize(OVERWRITE, len(data)), data) == in_list(byte, bit)
        assert bus.device.calls == [] and bus.eraser.calls == []


class TestBlockErase:
    def test_every_block_is_deallocated(self, bus_of: Bus) -> None:
        bus_of.good(sanitize(BLOCK_ERASE))
        assert [call[0] for call in bus_of.device.calls] == ["discard", "flush"]
        assert not any(bus_of.device.data)
        assert bus_of.eraser.calls == ["begin", "erase_remains", "set_note"]

    def test_wabereq_says_that_reads_succeed_afterwards(self, bus: Bus) -> None:
        assert bus.good([0x12, 1, 0xB1, 0, 64, 0])[7] >> 6 == 0b01
        bus.good(sanitize(BLOCK_ERASE))
        assert bus.good(READ_10) == bytes(512)

    def test_a_parameter_list(self, bus: Bus) -> None:
        assert bus.refused(sanitize(BLOCK_ERASE, 8), bytes(8)) == in_cdb(7)

    def test_a_unit_that_does_not_deallocate(self) -> None:
        """OVERWRITE is there, and BLOCK ERASE is not."""
        eraser = MemoryEraser()
        personality = Personality(Identity(UNIT_UUID), thin=False)
        unit = LogicalUnit(MemoryDevice(), personality, eraser=eraser)
        target = Target(TargetPort("iqn.2026-11.org.example:full"))
        target.add_unit(0, unit)
        bus = Bus(MemoryDevice(), unit, target, RecordingGate(), eraser)
        bus.clear_attentions(1)
        assert bus.refused(sanitize(BLOCK_ERASE)) == in_cdb(1, bit=4)
        data = overwrite_list(b"x")
        bus.good(sanitize(OVERWRITE, len(data)), data)
        cdb = [0xA3, 0x0C, 0x02, 0x48, 0, BLOCK_ERASE, *[0, 0, 0, 0xFF], 0, 0]
        assert bus.good(cdb) == bytes([0, 0x01, 0, 0])


class TestRefused:
    @pytest.mark.parametrize("action", [OVERWRITE, BLOCK_ERASE, EXIT])
    def test_reserved_bits_and_bytes(self, bus: Bus, action: int) -> None:
        """libiscsi's …Reserved tests; ZNR is about zones."""
        data = overwrite_list(b"x") if action == OVERWRITE else b""
        cdb = sanitize(action, len(data))
        assert bus.refused([cdb[0], cdb[1] | ZNR, *cdb[2:]], data) == in_cdb(1, bit=6)
        for byte in range(2, 7):
            assert bus.refused([*cdb[:byte], byte, *cdb[byte + 1 :]], data) == in_cdb(2)
        assert bus.device.calls == []

    def test_other_service_actions(self, bus: Bus) -> None:
        for action in set(range(32)) - {OVERWRITE, BLOCK_ERASE, EXIT}:
            assert bus.refused(sanitize(action)) == in_cdb(1, bit=4)

    def test_a_unit_without_an_eraser(self) -> None:
        target = Target(TargetPort("iqn.2026-11.org.example:snapshot"))
        target.add_unit(0, LogicalUnit(MemoryDevice(), Personality(Identity(UUID(int=1)))))
        target.nexus_begins(1, initiator(1))
        target.execute(1, 0, bytes(6), 1, b"", expecting(b""))
        sense = target.execute(1, 0, bytes(sanitize(BLOCK_ERASE)), 1, b"", expecting(b""))[1]
        assert sense == fixed(INVALID_OPCODE)

    @pytest.mark.parametrize("action", [OVERWRITE, BLOCK_ERASE])
    def test_write_protected_and_stopped(self, bus: Bus, action: int) -> None:
        data = overwrite_list(b"x") if action == OVERWRITE else b""
        modes.select_6(bus, modes.SWP)
        assert bus.refused(sanitize(action, len(data)), data) == fixed(WRITE_PROTECTED)
        modes.select_6(bus, modes.CONTROL)
        bus.good([0x1B, 0, 0, 0, 0, 0])
        assert bus.refused(sanitize(action, len(data)), data) == fixed(NOT_READY_START_IT)

    def test_reserved_by_another_initiator(self, bus: Bus) -> None:
        """libiscsi's Sanitize.Reservations."""
        bus.clear_attentions(2)
        bus.good([0x16, 0, 0, 0, 0, 0], nexus=2)
        data = overwrite_list(b"x")
        for cdb, sent in ((sanitize(OVERWRITE, len(data)), data), (sanitize(BLOCK_ERASE), b"")):
            assert bus.command(cdb, sent)[0] == RESERVATION_CONFLICT
        assert bus.device.calls == []

    def test_live_snapshots(self, bus: Bus) -> None:
        """They are units of their own: it neither destroys them nor leaves what they keep."""
        bus.eraser.has_snapshots = True
        assert bus.refused(sanitize(BLOCK_ERASE)) == fixed(SEQUENCE_ERROR)
        assert bus.device.calls == [] and bus.eraser.kept_note == ""
        bus.good(TEST_UNIT_READY)
        bus.eraser.has_snapshots = False
        bus.good(sanitize(BLOCK_ERASE))

    def test_what_cannot_be_noted_is_not_begun(self, bus: Bus) -> None:
        bus.eraser.fail = lambda call: "io-error"
        bus.refused(sanitize(BLOCK_ERASE))
        assert bus.device.calls == []
        bus.good(TEST_UNIT_READY)


class TestInProgress:
    def test_what_is_carried_out_and_what_is_not(self, large: Bus) -> None:
        """Only what tells of the unit; all else is NOT READY with progress."""
        data = overwrite_list(b"x", count=2)
        with held(large, "write", after=6) as hold:
            large.good(sanitize(OVERWRITE, len(data), IMMED), data)
            hold.reached()
            in_progress = progress(SANITIZING, 6 / 8)
            assert large.eraser.kept_note != ""
            assert large.gate.pending(1) and large.gate.pending(2)
            assert large.good([0x03, 0, 0, 0, 252, 0]) == in_progress
            large.good([0x12, 0, 0, 0, 96, 0])
            large.good([0xA0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0])
            large.good([0xA3, 0x0C, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0])
            for cdb in (
                TEST_UNIT_READY,
                READ_10,
                [0x1B, 0, 0, 0, 1, 0],
                [0x1A, 0, 0x3F, 0, 252, 0],
                [0x9E, 0x10, *[0] * 14],
                [0x04, 0, 0, 0, 0, 0],
                sanitize(BLOCK_ERASE),
                sanitize(EXIT),
            ):
                assert large.refused(cdb) == in_progress
        join_background()
        assert not large.gate.pending(1)
        assert wait_until_idle(large) == fixed(NO_SENSE)
        large.good(TEST_UNIT_READY)
        assert large.eraser.kept_note == ""

    def test_it_goes_on_through_resets_and_the_loss_of_its_nexus(self, large: Bus) -> None:
        """libiscsi's Sanitize.Reset."""
        with held(large, "discard") as hold:
            large.good(sanitize(BLOCK_ERASE, 0, IMMED))
            hold.reached()
            assert large.target.task_management(1, 0, 5) == 0
            assert large.target.task_management(1, 0, 6) == 0
            large.lose(1)
            assert large.refused(TEST_UNIT_READY)[12] == 0x29
            assert large.refused(TEST_UNIT_READY) == progress(SANITIZING, 0)
        wait_until_idle(large)
        assert not any(large.device.data)

    def test_unit_attentions_come_first(self, large: Bus) -> None:
        with held(large, "discard") as hold:
            large.good(sanitize(BLOCK_ERASE, 0, IMMED))
            hold.reached()
            large.unit.reset()
            assert large.good([0x03, 0, 0, 0, 252, 0]) == fixed(DEVICE_RESET)
            assert large.good([0x03, 0, 0, 0, 252, 0]) == progress(SANITIZING, 0)

    def test_without_immed_the_wait_has_an_end(
        self, large: Bus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The operation goes on; the command says so."""
        monkeypatch.setattr(limits, "BACKGROUND_WAIT_S", 0)
        with held(large, "discard"):
            assert large.refused(sanitize(BLOCK_ERASE)) == progress(SANITIZING, 0)
        wait_until_idle(large)
        assert not any(large.device.data)


class TestFailure:
    def fail(self, bus: Bus, flags: int = 0, at: str = "discard") -> None:
        bus.device.fail = lambda call: "io-error" if call == at else None
        assert bus.refused(sanitize(BLOCK_ERASE, 0, flags)) == fixed(SANITIZE_FAILED)
        bus.device.fail = lambda call: None

    def test_it_stays_until_another_one_succeeds(self, bus: Bus) -> None:
        self.fail(bus)
        assert bus.refused(TEST_UNIT_READY) == fixed(SANITIZE_FAILED)
        assert bus.refused(READ_10) == fixed(SANITIZE_FAILED)
        assert bus.refused([0x04, 0, 0, 0, 0, 0]) == fixed(SANITIZE_FAILED)
        assert bus.good([0x03, 0, 0, 0, 252, 0]) == fixed(SANITIZE_FAILED)
        assert bus.gate.pending(1)
        bus.good(sanitize(BLOCK_ERASE))
        bus.good(TEST_UNIT_READY)
        assert not bus.gate.pending(1)

    def test_restricted_completion_mode(self, bus: Bus) -> None:
        """AUSE zero: no way out but another sanitize operation of the same mode."""
        self.fail(bus)
        assert bus.refused(sanitize(EXIT)) == in_cdb(1, bit=4)
        assert bus.refused(sanitize(BLOCK_ERASE, 0, AUSE)) == in_cdb(1, bit=5)
        assert bus.refused(TEST_UNIT_READY) == fixed(SANITIZE_FAILED)
        bus.good(sanitize(BLOCK_ERASE))

    def test_unrestricted_completion_mode(self, bus: Bus) -> None:
        self.fail(bus, AUSE)
        bus.good(sanitize(EXIT))
        bus.good(TEST_UNIT_READY)
        assert bus.eraser.kept_note == "" and not bus.gate.pending(1)

    def test_nothing_to_leave(self, bus: Bus) -> None:
        bus.good(sanitize(EXIT))
        assert bus.refused(sanitize(EXIT, 8), bytes(8)) == in_cdb(7)
        assert bus.eraser.calls == []

    @pytest.mark.parametrize("at", ["erase_remains", "flush"])
    def test_every_step_counts(self, bus: Bus, at: str) -> None:
        bus.eraser.fail = lambda call: "io-error" if call == at else None
        self.fail(bus, at=at)

    def test_a_failure_that_cannot_be_noted_is_one_all_the_same(self, bus: Bus) -> None:
        bus.eraser.fail = lambda call: "io-error" if call == "set_note" else None
        self.fail(bus)
        bus.eraser.fail = lambda call: None
        again = again_on(bus)
        wait_until_idle(again)
        again.good(TEST_UNIT_READY)


def again_on(bus: Bus) -> Bus:
    """After a restart: another unit over the same volume."""
    target = Target(TargetPort("iqn.2026-11.org.example:disk"), bus.gate)
    unit = LogicalUnit(bus.device, Personality(Identity(UNIT_UUID)), eraser=bus.eraser)
    target.add_unit(0, unit)
    again = Bus(bus.device, unit, target, bus.gate, bus.eraser)
    again.begin(1)
    again.command(TEST_UNIT_READY)
    return again


class TestRestart:
    @pytest.mark.parametrize("action", [OVERWRITE, BLOCK_ERASE])
    def test_it_begins_anew(self, large: Bus, action: int) -> None:
        """The unit goes in the middle, as when the controller stops, and is made again."""
        data = overwrite_list(b"\x5a\xa5", count=2) if action == OVERWRITE else b""
        name = "write" if action == OVERWRITE else "flush"
        hold_after = 3 if action == OVERWRITE else 0
        with held(large, name, hold_after) as hold:
            large.good(sanitize(action, len(data), IMMED), data)
            hold.reached()
            leaving = threading.Thread(target=large.unit.close)
            leaving.start()
            hold.release()
            leaving.join(WAIT_S)
        if action == OVERWRITE:
            assert large.eraser.kept_note != ""
            assert not [each for each in threading.enumerate() if each.name == "scsi-background"]
        again = again_on(large)
        wait_until_idle(again)
        again.good(TEST_UNIT_READY)
        assert again.device.data == (b"\x5a\xa5" if data else bytes(2)) * (2 << 20)
        assert again.eraser.kept_note == ""

    def test_a_failure_is_still_one(self, bus: Bus) -> None:
        TestFailure().fail(bus)
        again = again_on(bus)
        assert again.refused(TEST_UNIT_READY) == fixed(SANITIZE_FAILED)
        assert again.refused(sanitize(EXIT)) == in_cdb(1, bit=4)
        again.good(sanitize(BLOCK_ERASE))

    def test_it_needs_no_initiator(self, large: Bus) -> None:
        """It runs on where nobody is logged in, and the unit is in no target at the moment."""
        with held(large, "discard") as hold:
            large.good(sanitize(BLOCK_ERASE, 0, IMMED))
            hold.reached()
            large.target.remove_unit(0)
        large.target.add_unit(0, large.unit)
        wait_until_idle(large)
        assert not any(large.device.data) and large.eraser.kept_note == ""
