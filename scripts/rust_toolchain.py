"""The Rust toolchain that a build from source needs: found, and new enough.

The least version is `rust-version` of rust/Cargo.toml and stands nowhere else. Run as a program it
prints nothing when all is well, else one message, and exits with 1. The standard library is all it
needs, so that it can speak before anything is installed.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class UnsuitableToolchainError(Exception):
    """No Rust toolchain, or one too old; the text says what to do."""


def ensure() -> None:
    """Put a suitable cargo on the PATH, or raise UnsuitableToolchainError."""
    wanted = least_version()
    if shutil.which("cargo") is None:
        rustup_bin = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo")) / "bin"
        os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}{rustup_bin}"
    found = installed_version()
    if found is None or found < wanted:
        raise UnsuitableToolchainError(_message(wanted, found))


def least_version() -> tuple[int, int]:
    """`rust-version` of the workspace, as (major, minor)."""
    manifest = tomllib.loads((ROOT / "rust" / "Cargo.toml").read_text(encoding="utf-8"))
    major, minor, *_ = manifest["workspace"]["package"]["rust-version"].split(".")
    return int(major), int(minor)


def installed_version() -> tuple[int, int] | None:
    """Version of the rustc that cargo would use, or None where either is missing or broken."""
    if shutil.which("cargo") is None or shutil.which("rustc") is None:
        return None
    answer = subprocess.run(
        ["rustc", "--version"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    version = re.match(r"rustc (\d+)\.(\d+)", answer.stdout)
    return (int(version[1]), int(version[2])) if version else None


def _message(wanted: tuple[int, int], found: tuple[int, int] | None) -> str:
    have = "none was found" if found is None else f"found {found[0]}.{found[1]}"
    return (
        f"scsi_snap is built with Rust {wanted[0]}.{wanted[1]} or newer; {have}.\n"
        "    Install it with rustup (https://rustup.rs), or, where rustup is there already:\n"
        "        rustup toolchain install stable && rustup default stable\n"
        "    and run the same command again. A wheel from `make wheel` installs without Rust."
    )


if __name__ == "__main__":
    try:
        ensure()
    except UnsuitableToolchainError as error:
        sys.exit(f"error: {error}")
