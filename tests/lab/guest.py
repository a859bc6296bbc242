"""One guest: a QEMU process without KVM, network or image, whose root is the host's.

What the guest says comes over a virtio console, line by line; the kernel's own console goes to a
file. Lines that begin with `::` are for the runner (see `scenarios.py`). The process ends with this
one, however that ends, and always by its own id.
"""

import os
import selectors
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.lab.kernel import Kernel, LabError, architecture

TREE = Path(__file__).resolve().parents[2]
SESSION = Path(__file__).with_name("session.sh")
MEMORY = "3G"
MACHINES = {"amd64": ("qemu-system-x86_64", "-machine", "q35", "-cpu", "Nehalem")}
# no_timer_check: a guest that gets little of the host's time would else find its timer broken.
COMMAND_LINE = "console=ttyS0 panic=-1 loglevel=5 mitigations=off no_timer_check apparmor=0 audit=0"


@dataclass(frozen=True)
class Disk:
    """A file of the host's that the guest has as a virtio disk, found by its serial number."""

    serial: str
    path: Path


@dataclass
class Guest:
    """`with Guest(...) as guest:` boots it; `lines()` is what it says until it ends."""

    kernel: Kernel
    initramfs: Path
    directory: Path
    """The guest's /run/lab: writable, and there afterwards."""
    command: list[str]
    environment: Mapping[str, str]
    disks: list[Disk] = field(default_factory=list)
    processors: int = 1
    """Emulating two costs twice the host's time, and a scenario is no faster."""
    counts_instructions: bool = False
    """Its time is how many instructions it has executed: two nanoseconds each, whatever the host
    does beside. For one processor."""
    interactive: bool = False
    _process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._write_session()
        talk = None if self.interactive else subprocess.PIPE
        self._process = subprocess.Popen(
            # Ends it with this process, also where that is killed.
            ["setpriv", "--pdeathsig", "KILL", *self._qemu()],
            stdin=None if self.interactive else subprocess.DEVNULL,
            stdout=talk,
            stderr=None if self.interactive else (self.directory / "qemu.log").open("wb"),
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.power_cut()

    def power_cut(self) -> None:
        """Ends the machine as a power cut does: nothing of it has a say."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def wait(self) -> None:
        """Until the guest ends by itself."""
        assert self._process is not None
        self._process.wait()

    def lines(self, deadline: float) -> Iterator[str]:
        """What it says, line by line, until it ends. `TimeoutError` at `deadline` (monotonic)."""
        assert self._process is not None
        assert self._process.stdout is not None
        output = self._process.stdout.fileno()
        rest = b""
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while True:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError
                piece = os.read(output, 65536)
                if not piece:
                    return
                *whole, rest = (rest + piece).split(b"\n")
                for line in whole:
                    yield line.decode(errors="replace").rstrip("\r")

    def _write_session(self) -> None:
        words = [str(SESSION), str(self.kernel.modules), *self.command]
        values = [f"export {name}={shlex.quote(value)}" for name, value in self.variables().items()]
        text = "\n".join([*values, f"exec {shlex.join(words)}", ""])
        (self.directory / "session").write_text(text)

    def variables(self) -> dict[str, str]:
        """What a scenario finds in its environment."""
        own = {"LAB_TREE": str(TREE), "LAB_PYTHON": sys.executable, "LANG": "C.UTF-8"}
        return {**own, **self.environment, **({"LAB_SHELL": "1"} if self.interactive else {})}

    def _qemu(self) -> list[str]:
        machine = MACHINES.get(architecture())
        if machine is None:
            raise LabError(f"no machine is known for {architecture()}; they are in {__file__}")
        options = [*machine, "-smp", str(self.processors), "-m", MEMORY]
        threads = "single" if self.counts_instructions else "multi"
        options += ["-accel", f"tcg,thread={threads},tb-size=512"]
        options += ["-icount", "shift=1"] if self.counts_instructions else []
        options += ["-nodefaults", "-no-reboot", "-display", "none", "-nic", "none"]
        options += ["-kernel", str(self.kernel.image), "-initrd", str(self.initramfs)]
        options += ["-append", COMMAND_LINE, "-serial", f"file:{self.directory / 'console.log'}"]
        options += ["-device", "virtio-serial-pci", "-chardev", "stdio,id=talk,signal=off"]
        options += ["-device", "virtconsole,chardev=talk"]
        options += _share("root", Path("/"), "readonly=on,multidevs=remap")
        options += _share("lab", self.directory, "multidevs=remap")
        for disk in self.disks:
            drive = f"file={_escaped(disk.path)},if=none,id={disk.serial},format=raw,discard=unmap"
            options += ["-drive", drive]
            options += ["-device", f"virtio-blk-pci,drive={disk.serial},serial={disk.serial}"]
        return options


def _share(tag: str, path: Path, more: str) -> list[str]:
    shared = f"local,id={tag},path={_escaped(path)},security_model=none,{more}"
    return ["-fsdev", shared, "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]


def _escaped(path: Path) -> str:
    """QEMU's options separate with commas, and take a doubled one for itself."""
    return str(path).replace(",", ",,")
