"""Errors of the operating system become ours."""

from __future__ import annotations

import errno
import os

import pytest

from scsi_snap.errors import InternalError, IoFailed, NotPermitted
from scsi_snap.os_errors import hint_in, of_os_error


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_none_of_them_is_a_defect(number: int) -> None:
    error = of_os_error(OSError(number, os.strerror(number), "/srv/m0"))
    assert not isinstance(error, InternalError)
    assert error.message == f"/srv/m0: {os.strerror(number)}"


def test_what_was_done_stands_before_the_reason() -> None:
    error = of_os_error(PermissionError(errno.EACCES, "Permission denied", "/x"), "making /x")
    assert isinstance(error, NotPermitted) and error.message == "making /x: Permission denied"


def test_errors_without_a_number_keep_their_words() -> None:
    assert of_os_error(OSError("gone")).message == "gone"
    error = of_os_error(TimeoutError())
    assert isinstance(error, IoFailed) and error.message == "TimeoutError"


def test_the_data_path_s_words_get_the_same_hint() -> None:
    assert "may search" in hint_in("member /m0 is refused: Permission denied (os error 13)")
    assert hint_in("member /m0 is refused: it has no label") == ""
