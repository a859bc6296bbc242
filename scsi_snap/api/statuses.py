"""The one table from error codes to HTTP statuses."""

from __future__ import annotations

from scsi_snap.errors import BY_CODE

HTTP_STATUS: dict[str, int] = {
    "invalid-argument": 400,
    "refused": 400,
    "not-found": 404,
    "exists": 409,
    "busy": 409,
    "limit-reached": 409,
    "no-space": 507,
    "store-full": 507,
    "member-refused": 422,
    "outside-snapshot": 422,
    "snapshot-invalid": 410,
    "pool-unavailable": 503,
    "closed": 503,
    "damaged": 500,
    "io-error": 500,
    "read-only": 403,
    "not-permitted": 403,
    "state-damaged": 500,
    "state-locked": 500,
    "daemon-unreachable": 503,
    "unsupported": 501,
    "internal-error": 500,
}

assert HTTP_STATUS.keys() == BY_CODE.keys(), "each code has a status"
