"""PEP 517 backend: setuptools' own, after a look at the Rust toolchain.

Without it, a missing toolchain shows as setuptools-rust's message amid a trace. An sdist
is made of sources and is not held up.
"""

import sys
from typing import Any

import rust_toolchain
from setuptools import build_meta
from setuptools.build_meta import (  # noqa: F401  (the hooks that need no compiler)
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)


def build_wheel(*arguments: Any, **options: Any) -> str:
    """PEP 517: see setuptools.build_meta."""
    _check_toolchain()
    return build_meta.build_wheel(*arguments, **options)


def build_editable(*arguments: Any, **options: Any) -> str:
    """PEP 660: see setuptools.build_meta."""
    _check_toolchain()
    return build_meta.build_editable(*arguments, **options)


def _check_toolchain() -> None:
    try:
        rust_toolchain.ensure()
    except rust_toolchain.UnsuitableToolchainError as error:
        sys.exit(f"error: {error}")
