"""Writes the pages that are made from tables in the code; with --check, says which are stale."""

import sys
from importlib import import_module
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"
# Page, and the module whose `render()` is its text.
PAGES = {
    "operating/events.md": "scsi_snap.control.events_page",
    "protocols/iscsi-keys.md": "scsi_snap.iscsi.keys_page",
    "protocols/login-states.md": "scsi_snap.iscsi.login_page",
    "protocols/scsi-commands.md": "scsi_snap.scsi.command_page",
}


def main(check: bool) -> int:
    """Writes or compares every page; the exit code."""
    stale = []
    for name, module in PAGES.items():
        page = DOCS / name
        text = import_module(module).render()
        if page.exists() and page.read_text(encoding="utf-8") == text:
            continue
        if check:
            stale.append(name)
        else:
            page.write_text(text, encoding="utf-8")
            print(f"wrote docs/{name}")
    if stale:
        print(f"error: stale in docs: {', '.join(stale)}; `make docs` writes them")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
