"""SANITIZE (SBC-4, 4.11 and 5.30): nothing that the volume ever held can be read afterwards.

    noted, durably -> every block -> flush -> what is left of snapshots and logs -> note gone

The note comes before the first block changes and stays until the last step, so an operation that a
crash or a stop cut short begins anew when the unit is next made. A failure is noted too.

Preserved chunks of a live snapshot are data of the volume that SANITIZE may not destroy, as the
snapshot is a unit of its own, and may not leave: so it is refused while there is one, with COMMAND
SEQUENCE ERROR, as the snapshots have to be deleted first. While the note stands there can be none.

OVERWRITE really writes, whatever the pattern; BLOCK ERASE deallocates, and is there only where the
unit deallocates at all. CRYPTOGRAPHIC ERASE is not there, as volumes are not encrypted.
"""

import base64
import json
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from scsi_snap.scsi.background import Background, Kind, Run
from scsi_snap.scsi.cdb import Cdb, Field, Layout, flag, number, refused
from scsi_snap.scsi.device import Medium, MediumEraser, Remains
from scsi_snap.scsi.limits import BACKGROUND_ERASE_BYTES, BACKGROUND_STEP_BYTES
from scsi_snap.scsi.operation import LONG_S, Access, DataOut, Handler, Operation, parameter_list
from scsi_snap.scsi.sense import (
    CheckCondition,
    FieldPointer,
    Sense,
    SenseCode,
    refuse,
    refuse_parameter,
)

if TYPE_CHECKING:
    from scsi_snap.scsi.invocation import Invocation
    from scsi_snap.scsi.logical_unit import LogicalUnit

OVERWRITE, BLOCK_ERASE, EXIT_FAILURE_MODE = 0x01, 0x02, 0x1F

_HEADER_BYTES = 4
_SERVICE_ACTION: Final = FieldPointer(1, 4, in_cdb=True)
_ALLOW_EXIT: Final = FieldPointer(1, 5, in_cdb=True)


@dataclass(frozen=True, slots=True)
class Sanitization:
    """A sanitize operation, as it is noted."""

    allow_exit: bool
    """AUSE: the unrestricted completion mode, where a failure can be left behind."""
    passes: int = 0
    """OVERWRITE COUNT; zero for BLOCK ERASE."""
    pattern: bytes = b""
    """INITIALIZATION PATTERN."""
    invert: bool = False
    """INVERT: each pass writes the complement of the one before it."""
    failed: bool = False

    def to_note(self) -> str:
        """Short, whatever the pattern usually is."""
        pattern = base64.b64encode(zlib.compress(self.pattern)).decode("ascii")
        return json.dumps(
            {
                "allow_exit": self.allow_exit,
                "passes": self.passes,
                "pattern": pattern,
                "invert": self.invert,
                "failed": self.failed,
            }
        )

    @classmethod
    def from_note(cls, note: str) -> "Sanitization":
        """A note is written by `to_note` alone."""
        value = json.loads(note)
        pattern = zlib.decompress(base64.b64decode(value.pop("pattern")))
        return cls(pattern=pattern, **value)

    def pass_block(self, index: int, block_bytes: int) -> bytes:
        """A block of a pass. With INVERT the last pass writes the pattern itself."""
        block = (self.pattern * (block_bytes // len(self.pattern) + 1))[:block_bytes]
        if self.invert and (self.passes - 1 - index) % 2:
            return bytes(byte ^ 0xFF for byte in block)
        return block


class Sanitizer:
    """Sanitizes one medium."""

    def __init__(self, medium: Medium, remains: Remains, background: Background) -> None:
        self._medium: Final = medium
        self._remains: Final = remains
        self._background: Final = background

    @classmethod
    def of(
        cls, medium: Medium, eraser: MediumEraser | None, background: Background
    ) -> "Sanitizer | None":
        """Goes on with what is noted; there is none without an eraser."""
        if eraser is None:
            return None
        sanitizer = cls(medium, Remains(eraser), background)
        sanitizer._restore()
        return sanitizer

    def _restore(self) -> None:
        wanted = self._noted()
        if wanted is None:
            return
        if wanted.failed:
            self._background.fail(Kind.SANITIZE)
        else:
            self._background.start(
                Kind.SANITIZE, lambda run: self._work(run, wanted), prepare=lambda: None
            )

    def _noted(self) -> Sanitization | None:
        note = self._remains.note()
        return Sanitization.from_note(note) if note else None

    def begin(self, wanted: Sanitization, *, immediate: bool) -> None:
        """Returns once it is noted, or, not `immediate`, has ended."""
        operation = self._background.start(
            Kind.SANITIZE,
            lambda run: self._work(run, wanted),
            prepare=lambda: self._prepare(wanted),
        )
        if not immediate:
            self._background.finish(operation)

    def _prepare(self, wanted: Sanitization) -> None:
        before = self._noted()
        restricted = before is not None and before.failed and not before.allow_exit
        if restricted and wanted.allow_exit:
            raise CheckCondition(Sense(SenseCode.INVALID_FIELD_IN_CDB, field=_ALLOW_EXIT))
        if not self._remains.begin(wanted.to_note()):
            refuse(SenseCode.COMMAND_SEQUENCE_ERROR)

    def exit_failure_mode(self) -> None:
        """Leaves a failure behind, where the operation that failed allowed that."""
        if self._background.failed is not Kind.SANITIZE:
            return
        failed = self._noted()
        if failed is not None and not failed.allow_exit:
            raise CheckCondition(Sense(SenseCode.INVALID_FIELD_IN_CDB, field=_SERVICE_ACTION))
        self._remains.set_note("")
        self._background.forgive()

    def _work(self, run: Run, wanted: Sanitization) -> None:
        try:
            if wanted.passes:
                self._overwrite(run, wanted)
            else:
                self._erase(run)
            self._remains.erase()
            self._remains.set_note("")
        except CheckCondition:
            # Where not even this can be written, the note still says that it is under way.
            self._remains.set_note(replace(wanted, failed=True).to_note())
            raise

    def _overwrite(self, run: Run, wanted: Sanitization) -> None:
        medium = self._medium
        block_count, block_bytes = medium.block_count, medium.block_bytes
        step = BACKGROUND_STEP_BYTES // block_bytes
        run.total_bytes = wanted.passes * block_count * block_bytes
        for index in range(wanted.passes):
            data = wanted.pass_block(index, block_bytes) * step
            for lba in range(0, block_count, step):
                blocks = min(step, block_count - lba)
                medium.write(lba, data[: blocks * block_bytes])
                run.advance(blocks * block_bytes)
            medium.flush()

    def _erase(self, run: Run) -> None:
        medium = self._medium
        block_count, block_bytes = medium.block_count, medium.block_bytes
        step = BACKGROUND_ERASE_BYTES // block_bytes
        run.total_bytes = block_count * block_bytes
        for lba in range(0, block_count, step):
            blocks = min(step, block_count - lba)
            medium.discard(lba, blocks)
            run.advance(blocks * block_bytes)
        medium.flush()


def overwrite(invocation: "Invocation") -> bytes:
    """SANITIZE, OVERWRITE."""
    cdb = invocation.cdb
    block_bytes = invocation.unit.medium.block_bytes
    length = cdb["parameter_list_length"]
    if not _HEADER_BYTES < length <= _HEADER_BYTES + block_bytes:
        cdb.refuse("parameter_list_length")
    data = invocation.parameter_list()
    passes = data[0] & 0x1F
    if not passes:
        refuse_parameter(0, 4)
    # TEST: its values are vendor specific, and there are none.
    if data[0] & 0x60:
        refuse_parameter(0, 6)
    pattern_bytes = int.from_bytes(data[2:4], "big")
    if not 0 < pattern_bytes <= length - _HEADER_BYTES:
        refuse_parameter(2)
    pattern = data[_HEADER_BYTES : _HEADER_BYTES + pattern_bytes]
    invert = bool(data[0] & 0x80)
    wanted = Sanitization(bool(cdb["allow_exit"]), passes, pattern, invert)
    _sanitizer(invocation).begin(wanted, immediate=bool(cdb["immed"]))
    return b""


def block_erase(invocation: "Invocation") -> bytes:
    """SANITIZE, BLOCK ERASE: unmapped blocks read as zeros."""
    cdb = invocation.cdb
    wanted = Sanitization(bool(cdb["allow_exit"]))
    _sanitizer(invocation).begin(wanted, immediate=bool(cdb["immed"]))
    return b""


def exit_failure_mode(invocation: "Invocation") -> bytes:
    """SANITIZE, EXIT FAILURE MODE: nothing to do where nothing has failed."""
    condition = invocation.unit.background.condition()
    if condition is not None and condition.code is SenseCode.SANITIZE_IN_PROGRESS:
        raise CheckCondition(condition)
    _sanitizer(invocation).exit_failure_mode()
    return b""


def _sanitizer(invocation: "Invocation") -> Sanitizer:
    sanitizer = invocation.unit.sanitizer
    assert sanitizer is not None, "the command is not there without one"
    return sanitizer


def _can_sanitize(unit: "LogicalUnit") -> bool:
    return unit.sanitizer is not None


def _can_erase(unit: "LogicalUnit") -> bool:
    return unit.sanitizer is not None and unit.personality.thin


def _layout(*fields: Field) -> Layout:
    # ZNR is about zones. Reserved bytes are looked at, contrary to elsewhere: what a host may mean
    # by them had better not be answered by destroying all data.
    return Layout(
        10,
        flag("immed", 1, 7),
        refused("zoned_no_reset", 1, 6),
        flag("allow_exit", 1, 5),
        refused("reserved", 2, 7, 40),
        *fields,
    )


def _no_data_out(_cdb: Cdb, _block_bytes: int) -> int:
    return 0


def _operation(
    name: str,
    action: int,
    handler: Handler,
    layout: Layout,
    data_out: DataOut = _no_data_out,
) -> Operation:
    changes = action != EXIT_FAILURE_MODE
    return Operation(
        f"SANITIZE / {name}",
        0x48,
        layout,
        handler,
        "SBC-4",
        Access.WRITE,
        service_action=action,
        data_out=data_out,
        needs_medium=changes,
        changes_medium=changes,
        despite_background=True,
        offered=_can_erase if action == BLOCK_ERASE else _can_sanitize,
        timeout_s=LONG_S,
    )


_WITHOUT_LIST: Final = refused("parameter_list_length", 7, 7, 16)

OPERATIONS: Final = (
    _operation(
        "OVERWRITE",
        OVERWRITE,
        overwrite,
        _layout(number("parameter_list_length", 7, 2)),
        parameter_list,
    ),
    _operation("BLOCK ERASE", BLOCK_ERASE, block_erase, _layout(_WITHOUT_LIST)),
    _operation("EXIT FAILURE MODE", EXIT_FAILURE_MODE, exit_failure_mode, _layout(_WITHOUT_LIST)),
)
