"""The one table from error codes to HTTP statuses.

What the state of the controller or of its disks forbids is 409: the request was right, and may be
again. 5xx is what the daemon itself cannot help; a program that retries on those is not misled.
"""

from __future__ import annotations

from scsi_snap.errors import BY_CODE

HTTP_STATUS: dict[str, int] = {
    "invalid-argument": 400,
    "refused": 400,
    "not-found": 404,
    "exists": 409,
    "busy": 409,
    "limit-reached": 409,
    "no-space": 409,
    "store-full": 409,
    "member-refused": 409,
    "outside-snapshot": 409,
    "snapshot-invalid": 409,
    "pool-unavailable": 409,
    "closed": 409,
    "damaged": 500,
    "io-error": 500,
    "read-only": 403,
    "not-permitted": 403,
    "state-damaged": 500,
    "state-locked": 500,
    "daemon-unreachable": 503,
    "unsupported": 409,
    "internal-error": 500,
}

assert HTTP_STATUS.keys() == BY_CODE.keys(), "each code has a status"
