"""The one table from error codes to exit codes, for scripts. 0 is success, 2 is click's own for a
command line that cannot be parsed."""

from __future__ import annotations

from scsi_snap.errors import BY_CODE

EXIT_CODES: dict[str, int] = {
    "internal-error": 1,
    "refused": 1,
    "invalid-argument": 2,
    "not-found": 3,
    "exists": 4,
    "busy": 5,
    "limit-reached": 5,
    "daemon-unreachable": 6,
    "state-locked": 6,
    "unsupported": 10,
    "no-space": 7,
    "store-full": 7,
    "io-error": 8,
    "member-refused": 8,
    "pool-unavailable": 8,
    "closed": 8,
    "read-only": 8,
    "not-permitted": 8,
    "outside-snapshot": 8,
    "damaged": 9,
    "snapshot-invalid": 9,
    "state-damaged": 9,
}

PROBLEMS_FOUND = 9
"""`check` found problems."""

UNWELL: dict[str, int] = {"well": 0, "degraded": 11, "failing": 12}
"""How `health` and `status` end, by the state of the controller."""

assert EXIT_CODES.keys() == BY_CODE.keys(), "each code has an exit code"
