"""The main job, shown: what a user types, what a foreign initiator sees.

Makes a raid5 pool over four files, exports a volume of it over iSCSI, lets QEMU's initiator write
an ext4 image, takes a snapshot, overwrites part of the volume, and shows that the snapshot still
reads byte for byte what was there. Every command is printed before it is run. Exits with 1 where a
digest is not what it must be; leaves nothing behind unless all went well and --keep was given.

Logical units are read by `qemu-img dd`: of QEMU's programs it alone asks for data and nothing else.
The others want GET LBA STATUS first, warn where a target has none, and read all the same.
"""

import argparse
import hashlib
import io
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

SIZE_MIB = 48
PACKAGES = "`apt-get install qemu-utils qemu-block-extra e2fsprogs`"
PROGRAMS = shlex.quote(str(Path(sys.executable).parent))
TARGET = "iqn.2026-11.org.example:disk"
READY_SECONDS = 30
COMMAND_SECONDS = 60
STOP_SECONDS = 20
BOLD, FAINT, GREEN, RED, PLAIN = (
    ("\033[1m", "\033[2m", "\033[32m", "\033[31m", "\033[0m")
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ
    else ("",) * 5
)


class DemoFailedError(Exception):
    """A command failed, or something read is not what it must be."""


def main() -> int:
    """Runs the demonstration; the exit code."""
    parser = argparse.ArgumentParser(description="The main job, shown.")
    parser.add_argument(
        "--keep", action="store_true", help="leave the daemon running, and its state"
    )
    keep = parser.parse_args().keep
    signal.signal(signal.SIGTERM, _interrupt)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Also where the locale's encoding lacks a character of the picture.
        sys.stdout.reconfigure(errors="replace")
    started = time.monotonic()
    demo = Demo(Path(tempfile.mkdtemp(prefix="scsi-snap-demo-")))
    kept = False
    try:
        demo.run()
        print(f"\n{GREEN}All as it must be{PLAIN}, in {time.monotonic() - started:.1f} s.")
        if keep:
            demo.tell_how_to_go_on()
            kept = True
        else:
            tell_how_to_start()
        return 0
    except DemoFailedError as error:
        print(f"\n{RED}{error}{PLAIN}", file=sys.stderr)
        demo.tell_what_the_daemon_said()
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read the output has enough; nothing more can be said there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    finally:
        if not kept:
            demo.clean_up()


class Demo:
    """One run, in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._socket = directory / "control.sock"
        self._daemon: subprocess.Popen[bytes] | None = None
        self._portal = ""
        # The scsi-snap of this environment first, as in an activated one.
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._environment = os.environ | {
            "SCSI_SNAP_SOCKET": str(self._socket),
            "PATH": programs,
            # What is drawn is drawn for this terminal, though through a pipe, which is UTF-8.
            "COLUMNS": str(shutil.get_terminal_size((100, 24)).columns),
            "PYTHONUTF8": "1",
        }

    def run(self) -> None:
        """The whole story."""
        self._say("A controller, and a pool that survives the loss of one of its four members")
        self._start_daemon()
        members = " ".join(f"member{number}:32MiB" for number in range(4))
        self._run(f"scsi-snap pool create tank --level raid5 --strip 64KiB {members}")

        self._say("A volume in it, exported over iSCSI")
        self._run(f"scsi-snap volume create tank/vol0 {SIZE_MIB}MiB")
        self._run(f"scsi-snap target create {TARGET}")
        self._run(f"scsi-snap lun map {TARGET} 0 tank/vol0")

        self._say("An initiator that knows nothing of us writes a file system into it")
        self._make_files()
        self._run(f"mkfs.ext4 -q -F -d files image.ext4 {SIZE_MIB}M")
        self._run(f"qemu-img convert -n -O raw -f raw image.ext4 {self._url(0)}")
        before = self._digest_of_file("image.ext4")
        self._expect("LUN 0 reads", self._digest_of_unit(0), before)

        self._say("A snapshot; then the initiator overwrites part of the volume")
        self._run("scsi-snap snapshot create tank/vol0@monday")
        writes = "-c 'write -P 0xAA 2M 3M' -c 'write -P 0xBB 24M 200k' -c 'write -P 0xCC 40M 4k'"
        self._run(f"qemu-io -f raw {writes} -c flush {self._url(0)}")
        after = self._digest_of_unit(0)
        self._expect_other("LUN 0 reads", after, before)

        self._say("The snapshot, as a second, read-only LUN, still reads what was there before")
        self._run(f"scsi-snap lun map {TARGET} 1 tank/vol0@monday")
        self._expect("LUN 1 reads", self._digest_of_unit(1), before)
        self._run(f"qemu-img compare -f raw -F raw image.ext4 {self._url(1)}")

        self._say("What changed since, and what the snapshot had to keep for itself")
        self._run("scsi-snap snapshot diff tank/vol0@monday")
        self._run("scsi-snap snapshot map tank/vol0@monday")

    def tell_how_to_go_on(self) -> None:
        """The commands for one's own steps; the daemon goes on running."""
        assert self._daemon is not None
        print(f"\n{BOLD}The daemon goes on running.{PLAIN} To go on by yourself, in this shell:\n")
        print(f"    export SCSI_SNAP_SOCKET={shlex.quote(str(self._socket))}")
        print(f"    export PATH={PROGRAMS}:$PATH")
        print("    scsi-snap snapshot create tank/vol0@tuesday")
        print("    scsi-snap snapshot diff tank/vol0@monday tank/vol0@tuesday")
        print("    scsi-snap volume show tank/vol0")
        print(f"    qemu-io -r -f raw -c 'read -v 0x400 128' {self._url(1)}")
        print("    scsi-snap --help")
        print(f"\nTo end it:  kill {self._daemon.pid}; rm -r {shlex.quote(str(self._directory))}")

    def tell_what_the_daemon_said(self) -> None:
        """The end of its log, on standard error."""
        with suppress(OSError):
            log = (self._directory / "daemon.log").read_text(errors="replace")
            print("\n".join(log.splitlines()[-20:]), file=sys.stderr)

    def clean_up(self) -> None:
        """Ends the daemon and removes all that was made."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        if self._daemon is not None:
            self._daemon.terminate()
            try:
                self._daemon.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._daemon.kill()
                self._daemon.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _start_daemon(self) -> None:
        arguments = ["daemon", "--state", "state", "--listen", "127.0.0.1:0", "--no-lio"]
        arguments += ["--socket", str(self._socket)]
        self._show(f"scsi-snap {shlex.join(arguments)} &")
        with (self._directory / "daemon.log").open("wb") as log:
            self._daemon = subprocess.Popen(
                [str(Path(sys.executable).parent / "scsi-snap"), *arguments],
                cwd=self._directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        line = self._ready_line()
        print(line)
        self._portal = next(
            word.strip(",.") for word in line.split() if word.startswith("127.0.0.1:")
        )

    def _ready_line(self) -> str:
        assert self._daemon is not None
        assert self._daemon.stdout is not None
        said = b""
        deadline = time.monotonic() + READY_SECONDS
        while b"ready" not in said or not said.endswith(b"\n"):
            left = max(0.0, deadline - time.monotonic())
            waited = select.select([self._daemon.stdout], [], [], left)[0]
            piece = os.read(self._daemon.stdout.fileno(), 65536) if waited else b""
            if not piece:
                log = (self._directory / "daemon.log").read_text(errors="replace")
                raise DemoFailedError(f"the daemon did not become ready\n{said.decode()}{log}")
            said += piece
        return said.decode().splitlines()[-1]

    def _make_files(self) -> None:
        files = self._directory / "files"
        files.mkdir()
        (files / "letter.txt").write_text("Dear reader,\n" * 1000)
        for number in range(8):
            pattern = hashlib.sha256(bytes([number])).digest()
            (files / f"data{number}").write_bytes(pattern * 50_000)

    def _run(self, command: str) -> None:
        """Shows a command, runs it, shows what it said."""
        self._show(command)
        try:
            answer = subprocess.run(
                shlex.split(command),
                cwd=self._directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                timeout=COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise DemoFailedError(f"that did not end within {COMMAND_SECONDS} s") from error
        except FileNotFoundError as error:
            raise DemoFailedError(f"that is not installed: {PACKAGES}") from error
        if answer.stdout.strip():
            print(answer.stdout.rstrip())
        if answer.returncode != 0:
            raise DemoFailedError(f"that failed: exit {answer.returncode}")

    def _digest_of_unit(self, lun: int) -> str:
        copy = f"lun{lun}.read"
        self._run(f"qemu-img dd -f raw -O raw bs=1M if={self._url(lun)} of={copy}")
        return self._digest_of_file(copy)

    def _digest_of_file(self, name: str) -> str:
        with (self._directory / name).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self._show(f"sha256sum {name}")
        print(f"{digest}  {name}")
        return digest

    def _expect(self, what: str, found: str, wanted: str) -> None:
        if found != wanted:
            raise DemoFailedError(f"{what} {found[:16]}…, and not {wanted[:16]}… as it must")
        print(f"{GREEN}{what} what was written: {found[:16]}…{PLAIN}")

    def _expect_other(self, what: str, found: str, old: str) -> None:
        if found == old:
            raise DemoFailedError(f"{what} {found[:16]}… as before, though it was overwritten")
        print(f"{GREEN}{what} something else now: {found[:16]}…{PLAIN}")

    def _url(self, lun: int) -> str:
        return f"iscsi://{self._portal}/{TARGET}/{lun}"

    @staticmethod
    def _say(text: str) -> None:
        print(f"\n{BOLD}# {text}{PLAIN}", flush=True)

    @staticmethod
    def _show(command: str) -> None:
        print(f"{FAINT}${PLAIN} {command}", flush=True)


def tell_how_to_start() -> None:
    """Commands that work as they stand, for a controller of one's own."""
    print(f"""
To look around in what was made here:

    make demo DEMO_OPTIONS=--keep

To make your own:

    export PATH={PROGRAMS}:$PATH SCSI_SNAP_SOCKET=/tmp/scsi-snap.sock
    scsi-snap daemon --state /tmp/scsi-snap &
    scsi-snap status --wait 30
    scsi-snap pool create lake --level raid1 /tmp/lake0:256MiB /tmp/lake1:256MiB
    scsi-snap volume create lake/vol0 128MiB
    scsi-snap snapshot create lake/vol0@monday
    scsi-snap snapshot list
    scsi-snap --help""")


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
