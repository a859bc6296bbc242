"""The tree of errors and its codes."""

from __future__ import annotations

import scsi_snap.errors as tree
from scsi_snap.errors import BY_CODE, InternalError, NotFound, ScsiSnapError, error_of


def test_codes_are_distinct_and_drawn_in_the_docstring() -> None:
    kinds = ScsiSnapError.__subclasses__()
    assert len(BY_CODE) == len(kinds)
    for kind in kinds:
        assert f"{kind.__name__:19} {kind.code:19} " in (tree.__doc__ or "")


def test_an_error_is_rebuilt_from_its_code() -> None:
    for code, kind in BY_CODE.items():
        error = error_of(code, "what", "next")
        assert (type(error), error.message, error.hint) == (kind, "what", "next")
    assert type(error_of("of-a-later-version", "what")) is InternalError


def test_a_mistyped_name_gets_the_nearest_one() -> None:
    error = NotFound.named("pool", "tnk", ["tank", "scratch"], "scsi-snap pool list")
    assert error.message == "no pool named 'tnk'"
    assert error.hint == "did you mean 'tank'?"


def test_a_name_like_no_other_gets_the_way_to_list() -> None:
    error = NotFound.named("pool", "zzz", ["tank"], "scsi-snap pool list")
    assert "scsi-snap pool list" in error.hint
