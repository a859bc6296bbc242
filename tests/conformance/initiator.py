"""Initiators that this project did not write: libiscsi's tools and QEMU's."""

import hashlib
import subprocess
from pathlib import Path

TOOLS = ("iscsi-inq", "iscsi-ls", "iscsi-test-cu", "mkfs.ext4", "qemu-img", "qemu-io")
TOOL_SECONDS = 120


class ToolFailedError(Exception):
    """A tool ended with something other than 0; the text has all that it said."""


def run(*command: object, timeout: float = TOOL_SECONDS) -> str:
    """Runs a tool that must succeed; its standard output."""
    answer = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        check=False,
    )
    if answer.returncode != 0:
        line = " ".join(map(str, command))
        raise ToolFailedError(f"{line}: exit {answer.returncode}\n{answer.stdout}{answer.stderr}")
    return answer.stdout


def write_image(image: Path, url: str) -> None:
    """Writes a whole image into a logical unit that is there, and flushes it."""
    run("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", "-t", "none", image, url)


def read_image(url: str, image: Path) -> None:
    """Reads a whole logical unit into a file."""
    run("qemu-img", "convert", "-f", "raw", "-O", "raw", "-T", "none", url, image)


def digest(image: Path) -> str:
    """SHA-256 of a file."""
    with image.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of_unit(url: str, scratch: Path) -> str:
    """SHA-256 of a whole logical unit, read through `scratch`."""
    read_image(url, scratch)
    return digest(scratch)


def qemu_io(url: str, *commands: str, read_only: bool = False) -> str:
    """qemu-io commands on a logical unit. It reports failure in words, exit code or not.

    QEMU does not open a write-protected unit, a snapshot, unless it is told to only read.
    """
    options = [word for command in commands for word in ("-c", command)]
    if read_only:
        options.append("-r")
    said = run("qemu-io", "-f", "raw", "-t", "none", *options, url)
    if "verification failed" in said or "error" in said.lower():
        raise ToolFailedError(said)
    return said


def make_ext4(image: Path, size_bytes: int, contents: Path) -> None:
    """An ext4 image with the files of a directory; the same bytes for the same files."""
    image.touch()
    with image.open("r+b") as file:
        file.truncate(size_bytes)
    run("mkfs.ext4", "-q", "-F", "-d", contents, "-E", "nodiscard", image)


def check_ext4(image: Path) -> None:
    """The file system in an image is whole. e2fsck changes nothing."""
    run("e2fsck", "-f", "-n", image)
