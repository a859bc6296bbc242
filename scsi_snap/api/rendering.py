"""Outcomes and errors as HTTP answers."""

from __future__ import annotations

from typing import Any, TypeVar

from fastapi import Response
from fastapi.responses import JSONResponse

from scsi_snap.api.schema import DeletedBody, OutcomeBody
from scsi_snap.api.statuses import HTTP_STATUS
from scsi_snap.control.outcomes import Changed, Created, Deleted, Unchanged
from scsi_snap.errors import ScsiSnapError

View = TypeVar("View")


def created(model: Any) -> dict[int | str, dict[str, Any]]:
    """What a route that makes something answers beside its 200."""
    return {201: {"model": OutcomeBody[model], "description": "it was made"}}


def outcome_body(
    outcome: Created[View] | Changed[View] | Unchanged[View], response: Response
) -> OutcomeBody[View]:
    """201 for what was made, 200 for what was changed or was so already."""
    match outcome:
        case Created(view):
            response.status_code = 201
            return OutcomeBody(outcome="created", view=view)
        case Changed(view):
            return OutcomeBody(outcome="changed", view=view)
        case Unchanged(view):
            return OutcomeBody(outcome="unchanged", view=view)


def deleted_body(outcome: Deleted) -> DeletedBody:
    return DeletedBody(
        outcome="planned" if outcome.planned else "deleted",
        name=outcome.name,
        goes=list(outcome.goes),
    )


def error_response(error: ScsiSnapError, status: int | None = None) -> JSONResponse:
    body = {"code": error.code, "message": error.message, "hint": error.hint}
    return JSONResponse(body, status or HTTP_STATUS[error.code])
