"""The guest's first file system: busybox, `init`, and the modules that reach the host's root.

A cpio archive in the "newc" format: for each file a header of thirteen hexadecimal fields, its
name and its bytes, each padded to four bytes; `TRAILER!!!` ends it.
"""

import lzma
import stat
import subprocess
from pathlib import Path

from tests.lab.kernel import Kernel, LabError

BUSYBOX = Path("/bin/busybox")
INIT = Path(__file__).with_name("init")
APPLETS = ("cat", "insmod", "ln", "mkdir", "mount", "sh", "switch_root", "umount")
FOLDERS = ("bin", "dev", "lower", "modules", "proc", "root", "writes")
MODULES = ("virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay")


def built(kernel: Kernel) -> bytes:
    """The archive for this kernel."""
    if not BUSYBOX.exists():
        raise LabError(f"{BUSYBOX} is missing: install Debian's busybox-static")
    archive = [_entry(name, stat.S_IFDIR | 0o755, b"") for name in FOLDERS]
    archive.append(_entry("bin/busybox", stat.S_IFREG | 0o755, BUSYBOX.read_bytes()))
    archive += [_entry(f"bin/{name}", stat.S_IFLNK | 0o777, b"busybox") for name in APPLETS]
    for number, module in enumerate(_module_files(kernel)):
        # In the order of their names is the order in which they are loaded.
        name = f"modules/{number:03}-{module.stem.removesuffix('.ko')}.ko"
        archive.append(_entry(name, stat.S_IFREG | 0o644, _plain(module)))
    archive.append(_entry("init", stat.S_IFREG | 0o755, INIT.read_bytes()))
    archive.append(_entry("TRAILER!!!", 0, b""))
    return b"".join(archive)


def _module_files(kernel: Kernel) -> list[Path]:
    """Each module after those that it needs; what is built in has none."""
    found: dict[Path, None] = {}
    for module in MODULES:
        command = ["modprobe", "--dirname", str(kernel.tree), "--set-version", kernel.release]
        said = subprocess.run(
            [*command, "--show-depends", module], check=True, capture_output=True, text=True
        )
        for line in said.stdout.splitlines():
            word, _, path = line.partition(" ")
            if word == "insmod":
                found[Path(path.split()[0])] = None
    return list(found)


def _plain(module: Path) -> bytes:
    content = module.read_bytes()
    return lzma.decompress(content) if module.suffix == ".xz" else content


def _entry(name: str, mode: int, content: bytes) -> bytes:
    # inode, mode, uid, gid, links, time, size, device and special device in two parts each,
    # length of the name with its zero, checksum (none in this format).
    fields = (0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _padded(header + name.encode() + b"\0") + _padded(content)


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 4)
