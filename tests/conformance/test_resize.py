"""A volume grows under initiators that are logged in: they are told, and need no new login."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.conformance.conftest import Disk
from tests.conformance.initiator import run
from tests.t6_scsi.wire import Command, Wire
from tests.t7_iscsi.initiator import CMD_SN
from tests.t8_inventory.test_hostile_sessions import log_in

pytestmark = pytest.mark.conformance
MIB = 1 << 20
READ_CAPACITY_10 = bytes([0x25, *[0] * 9])
CHECK_CONDITION = 2


class QemuIo:
    """qemu-io that stays logged in between commands. It takes one line at a time: a line that comes
    before its prompt is lost."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._commands, self._answers = process.stdin, process.stdout
        self._until_prompt()

    def __call__(self, command: str) -> None:
        """Runs a command that must succeed."""
        self._commands.write(f"{command}\n")
        self._commands.flush()
        said = self._until_prompt()
        assert "failed" not in said and "error" not in said.lower(), f"{command}: {said}"

    def _until_prompt(self) -> str:
        said = ""
        while not said.endswith("qemu-io> "):
            letter = self._answers.read(1)
            assert letter, said
            said += letter
        return said


@contextmanager
def logged_in(url: str) -> Iterator[QemuIo]:
    process = subprocess.Popen(
        ["qemu-io", "-f", "raw", "-t", "none", url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield QemuIo(process)
        assert process.stdin is not None
        process.stdin.write("quit\n")
        process.stdin.close()
        process.wait(60)
    finally:
        process.kill()
        process.wait()


def test_qemu_writes_where_the_volume_has_grown(disk: Disk) -> None:
    old, new = disk.size_bytes, disk.size_bytes + 8 * MIB
    with logged_in(disk.url) as qemu:
        qemu("write -P 1 0 64k")
        (session,) = disk.daemon.json("session", "list")
        snapshot = disk.snapshot("before")
        disk.daemon("volume", "resize", disk.volume, "+8MiB")
        # QEMU asks for the capacity again when it is told to use another length.
        qemu(f"truncate {new}")
        qemu(f"read -P 0 {old} 8M")
        qemu(f"write -P 5 {new - 65536} 64k")
        qemu(f"read -P 5 {new - 65536} 64k")
        assert [one["id"] for one in disk.daemon.json("session", "list")] == [session["id"]]
    said = run("qemu-img", "info", "-f", "raw", disk.map(1, snapshot))
    assert f"({old} bytes)" in said, "a snapshot grew with its volume"


def test_a_session_is_told_of_the_new_capacity(disk: Disk) -> None:
    host, port = disk.daemon.address.split(":")
    connection, stat_sn = log_in((host, int(port)))
    wire = Wire(connection, CMD_SN, stat_sn)

    def capacity() -> tuple[int, bytes, int]:
        done = wire.execute(Command(0, READ_CAPACITY_10, True, 8))
        last_lba = int.from_bytes(done.data_in[:4], "big")
        return done.status, done.sense[12:14], last_lba

    while wire.execute(Command(0, bytes(6), True, 0)).status:
        pass
    assert capacity()[2] == disk.size_bytes // 512 - 1
    disk.daemon("volume", "resize", disk.volume, "100MiB")
    assert capacity()[:2] == (CHECK_CONDITION, bytes([0x2A, 0x09]))
    assert capacity() == (0, b"", 100 * MIB // 512 - 1)
    assert wire.events == [(0, 0x2A, 0x09)], "an Async Message came before"
    disk.daemon("volume", "resize", disk.volume, "100MiB")
    assert capacity()[0] == 0, "the same size is no news"
    wire.close()
