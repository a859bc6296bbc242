"""Debian's kernel for the guest: fetched by name, unpacked, never installed.

`linux-image-ARCHITECTURE` is a name that only depends on the kernel of the day. That package is
downloaded with apt's own sources and unpacked below `build/lab/kernel`, where it stays; remove the
directory to fetch a newer one.
"""

import lzma
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

XZ_MAGIC = b"\xfd7zXZ\x00"
ELF_MAGIC = b"\x7fELF"


class LabError(Exception):
    """The lab cannot go on; the text says what to do about it."""


@dataclass(frozen=True)
class Kernel:
    """What boots, and the modules that belong to it."""

    image: Path
    release: str
    tree: Path
    """Holds `lib/modules/RELEASE`."""

    @property
    def modules(self) -> Path:
        return self.tree / "lib/modules" / self.release


def architecture() -> str:
    """As Debian calls it, such as `amd64`."""
    return _output("dpkg", "--print-architecture").strip()


def fetched(directory: Path) -> Kernel:
    """The kernel below `directory`, downloaded where it is not there yet."""
    if not (directory / "ready").exists():
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        _unpack(_download(directory), directory)
        (directory / "ready").touch()
    releases = [path.name for path in (directory / "lib/modules").iterdir()]
    assert len(releases) == 1, f"one kernel is expected in {directory}, not {releases}"
    return Kernel(directory / "kernel", releases[0], directory)


def _download(directory: Path) -> Path:
    name = f"linux-image-{architecture()}"
    try:
        package = _kernel_of(name)
        _output("apt-get", "download", package, cwd=directory)
    except subprocess.CalledProcessError:
        # Lists that are too old, or none: fetched once.
        _output("apt-get", "update", "-q")
        package = _kernel_of(name)
        _output("apt-get", "download", package, cwd=directory)
    (found,) = directory.glob(f"{package}_*.deb")
    return found


def _kernel_of(name: str) -> str:
    """The package of the day that `name` depends on."""
    shown = _output("apt-cache", "show", "--no-all-versions", name)
    depends = re.search(r"^Depends: (linux-image-[^\s,]+)", shown, re.MULTILINE)
    if depends is None:
        raise LabError(f"no kernel package: apt knows {name}, but it depends on no kernel")
    return depends[1]


def _unpack(package: Path, directory: Path) -> None:
    _output("dpkg-deb", "--extract", str(package), str(directory))
    package.unlink()
    if not (directory / "lib/modules").exists():
        (directory / "lib").mkdir(exist_ok=True)
        (directory / "lib/modules").symlink_to("../usr/lib/modules")
    (release,) = [path.name for path in (directory / "lib/modules").iterdir()]
    _output("depmod", "--basedir", str(directory), release)
    compressed = (directory / f"boot/vmlinuz-{release}").read_bytes()
    (directory / "kernel").write_bytes(_elf_inside(compressed) or compressed)


def _elf_inside(image: bytes) -> bytes | None:
    """The bare kernel: QEMU boots it at once, and emulating the decompressor takes a minute."""
    at = image.find(XZ_MAGIC)
    while at >= 0:
        try:
            inside = lzma.LZMADecompressor().decompress(image[at:])
        except lzma.LZMAError:
            inside = b""
        if inside.startswith(ELF_MAGIC):
            return inside
        at = image.find(XZ_MAGIC, at + 1)
    return None


def _output(*command: str, cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise LabError(f"{command[0]} is missing: the lab fetches its kernel with apt") from error
    return done.stdout
