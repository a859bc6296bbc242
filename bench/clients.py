"""The clients: each runs one short round against one contender and tells how much got done."""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.contenders import Contender

ROOT = Path(__file__).resolve().parent.parent
MANIFEST = ROOT / "rust" / "Cargo.toml"
PROGRAM = ROOT / "rust" / "target" / "release" / "bench-client"
ROUND_SECONDS_MAX = 120


@dataclass(frozen=True)
class Load:
    """What a round does. Sizes in bytes."""

    op: str
    order: str
    block: int = 4096
    depth: int = 32
    sessions: int = 1

    def __str__(self) -> str:
        size = f"{self.block >> 10} KiB"
        many = f", {self.sessions} sessions" if self.sessions > 1 else ""
        return f"{size} {self.order} {self.op}, depth {self.depth}{many}"


@dataclass(frozen=True)
class Round:
    """What one round came to: `cpu_seconds` are the server's."""

    commands: int
    seconds: float
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        """Commands per second of the clock."""
        return self.commands / self.seconds

    @property
    def per_cpu_second(self) -> float:
        """Commands per second of the server's processor time."""
        return self.commands / max(self.cpu_seconds, 1e-9)


def build() -> None:
    """Builds our own client, where it is not built."""
    command = ["cargo", "build", "--locked", "--release", "--manifest-path", str(MANIFEST)]
    subprocess.run([*command, "-p", "bench-client"], check=True)


def own(contender: Contender, load: Load, *options: str, seconds: float) -> Round:
    """A round of our own small initiator."""
    before = contender.cpu_seconds()
    report = own_report(contender, load, "--seconds", f"{seconds}", *options)
    return Round(report["commands"], report["seconds"], contender.cpu_seconds() - before)


def own_command(contender: Contender, load: Load, *options: str) -> list[str]:
    """How our initiator is called."""
    assert contender.iscsi is not None
    portal, target, lun = contender.iscsi
    command = [str(PROGRAM), "--portal", portal, "--target", target, "--lun", str(lun)]
    command += ["--op", load.op, "--order", load.order, "--block", str(load.block)]
    command += ["--depth", str(load.depth), "--sessions", str(load.sessions)]
    return [*command, *options]


def own_report(contender: Contender, load: Load, *options: str) -> dict[str, Any]:
    """The JSON that our initiator prints."""
    return dict(json.loads(_said(own_command(contender, load, *options))))


def fill(contender: Contender) -> None:
    """Writes every block of a contender's unit once."""
    if contender.iscsi is not None:
        load = Load("write", "sequential", block=256 << 10, depth=4)
        own_report(contender, load, "--once", "--seconds", "600")
    else:
        count = contender.size_bytes // (1 << 20)
        command = ["qemu-img", "bench", "-q", "-w", "-f", "raw", "-t", "none", "-d", "4"]
        _said([*command, "-s", str(1 << 20), "-c", str(count), contender.url])


class QemuImg:
    """`qemu-img bench`, which can do sequential loads only; it counts commands and not seconds,
    so the count is found by a first, short try at each contender."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, Load], int] = {}

    def __call__(self, contender: Contender, load: Load, *, seconds: float) -> Round:
        key = (contender.name, load)
        if key not in self._counts:
            trial = self._run(contender, load, 500 if load.block < 65536 else 100)
            self._counts[key] = max(50, int(trial.per_second * seconds))
        return self._run(contender, load, self._counts[key])

    def _run(self, contender: Contender, load: Load, count: int) -> Round:
        return qemu_img(contender, load, count=count, stride=load.block)


def qemu_img(contender: Contender, load: Load, *, count: int, stride: int) -> Round:
    """So many commands of `qemu-img bench`, `stride` bytes from one to the next."""
    command = ["qemu-img", "bench", "-f", "raw", "-t", "none", "-d", str(load.depth)]
    command += ["-s", str(load.block), "-S", str(stride), "-c", str(count)]
    command += ["-w"] if load.op == "write" else []
    before = contender.cpu_seconds()
    said = _said([*command, contender.url])
    cpu_seconds = contender.cpu_seconds() - before
    took = re.search(r"completed in ([\d.]+) seconds", said)
    assert took, said
    return Round(count, max(float(took[1]), 1e-3), cpu_seconds)


def iscsi_perf(contender: Contender, load: Load, *, seconds: float) -> Round:
    """libiscsi's `iscsi-perf`: random reads. It counts whole seconds and prints a rate alone."""
    assert (load.op, load.order) == ("read", "random")
    whole = max(1, round(seconds))
    command = ["iscsi-perf", "--random", "-m", str(load.depth), "-b", str(load.block // 512)]
    before = contender.cpu_seconds()
    said = _said([*command, "-t", str(whole), contender.url])
    cpu_seconds = contender.cpu_seconds() - before
    rates = re.findall(r"iops average (\d+)", said)
    assert rates, said
    return Round(int(rates[-1]) * whole, whole, cpu_seconds)


def _said(command: list[str]) -> str:
    answer = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=ROUND_SECONDS_MAX * 10,
        check=False,
    )
    if answer.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit {answer.returncode}: {answer.stdout}")
    return answer.stdout
