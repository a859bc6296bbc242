"""The generated pages stand in docs as the tables would make them now."""

from __future__ import annotations

from pathlib import Path

import pytest

from scsi_snap.iscsi import keys_page, login_page
from scsi_snap.iscsi.status import LoginStatus

PAGES = Path(__file__).parents[2] / "docs" / "protocols"


@pytest.mark.parametrize(
    ("name", "text"),
    [("iscsi-keys.md", keys_page.render()), ("login-states.md", login_page.render())],
)
def test_pages_are_current(name: str, text: str) -> None:
    assert (PAGES / name).read_text() == text


def test_statuses_are_explained_and_are_the_rfcs() -> None:
    assert set(login_page.SENT_WHEN) == set(LoginStatus)
    details = [(status.status_class, status.status_detail) for status in LoginStatus]
    moved = [(1, 1), (1, 2)]
    assert details == [
        (0, 0),
        *moved,
        *((2, detail) for detail in range(12)),
        (3, 0),
        (3, 1),
        (3, 2),
    ]
