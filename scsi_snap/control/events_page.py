"""docs/operating/events.md, from the table of kinds."""

from __future__ import annotations

from scsi_snap import limits
from scsi_snap.control.event_kinds import KINDS

_HEAD = f"""# Events

Made by `make docs` from `scsi_snap/control/event_kinds.py`.

What happens by itself, or goes wrong behind a verb, is an event: `scsi-snap events` lists them,
`--follow` prints those that come.

    scsi-snap events --severity error
    scsi-snap events --subject tank/vol0        # and its snapshots
    scsi-snap events --after 1200 --json
    scsi-snap events --follow --json            # a line for each, over restarts of the daemon

Numbers count up for ever and are never given out twice; after a crash some are skipped. So a
program keeps the last number that it has seen, asks for those after it, and misses none:
`GET /v1/events?after=N`, or `GET /v1/events/next?after=N&wait_s=30`, which answers as soon as there
is one.

The last {limits.EVENTS_KEPT} are kept, and at most {limits.EVENTS_OF_A_KIND_KEPT} of a kind, in the
state directory ([events-file.md](../formats/events-file.md)); each is in the daemon's log as well.
An event that repeats within a second, of the same kind and about the same subject, is counted: the
next one says how often it was.

`error`: somebody has to act, data or access is lost or at stake. `warning`: somebody should look.
`info`: it is well.

## Kinds

Kinds do not change; new ones come.

| kind | severity | about | it is raised when |
| --- | --- | --- | --- |
"""


def render() -> str:
    rows = [
        f"| `{name}` | {kind.severity} | {kind.subject} | {kind.meaning} |"
        for name, kind in KINDS.items()
    ]
    return _HEAD + "\n".join(rows) + "\n"
