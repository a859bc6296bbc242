"""The application: routes over one `Service`, errors as `{code, message, hint}`, bounded bodies.

Routes are plain functions: the framework runs them in its pool of threads, so a verb that takes
long holds up no other request and not the event loop, where logins run.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio.to_thread
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from scsi_snap import __version__, limits
from scsi_snap.api.body_limit import BodyLimit
from scsi_snap.api.daemon_routes import daemon_router
from scsi_snap.api.event_routes import event_router
from scsi_snap.api.pool_routes import pool_router
from scsi_snap.api.portal_routes import portal_router
from scsi_snap.api.query import refuse_unknown_query
from scsi_snap.api.rendering import error_response
from scsi_snap.api.schema import ErrorBody
from scsi_snap.api.snapshot_routes import snapshot_router
from scsi_snap.api.target_routes import target_router
from scsi_snap.api.validation import in_words
from scsi_snap.api.volume_routes import volume_router
from scsi_snap.control.service import Service
from scsi_snap.errors import (
    InternalError,
    NotFound,
    Refused,
    ScsiSnapError,
)
from scsi_snap.os_errors import of_os_error

_log = logging.getLogger("scsi_snap.api")


class _Application(FastAPI):
    """Describes the answer to an invalid request as it is: by `ErrorBody`, not as the framework's
    own."""

    def openapi(self) -> dict[str, Any]:
        schema = super().openapi()
        for verbs in schema["paths"].values():
            for operation in verbs.values():
                operation["responses"].pop("422", None)
        for name in ("HTTPValidationError", "ValidationError"):
            schema["components"]["schemas"].pop(name, None)
        return schema


def make_app(service: Service) -> FastAPI:
    app = _Application(
        title="scsi_snap",
        version=__version__,
        lifespan=_lifespan,
        responses={"default": {"model": ErrorBody, "description": "the verb failed"}},
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        dependencies=[Depends(refuse_unknown_query)],
    )
    for make_router in (
        pool_router,
        volume_router,
        snapshot_router,
        target_router,
        portal_router,
        daemon_router,
        event_router,
    ):
        app.include_router(make_router(service))
    app.add_middleware(BodyLimit, limit_bytes=limits.REQUEST_BODY_BYTES_MAX)
    app.add_exception_handler(ScsiSnapError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(OSError, _on_os_error)
    app.add_exception_handler(Exception, _on_defect)
    return app


@asynccontextmanager
async def _lifespan(_app: FastAPI) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = limits.SERVICE_THREADS
    yield


def _on_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ScsiSnapError)
    return error_response(error)


def _on_os_error(request: Request, error: Exception) -> JSONResponse:
    """What no verb has given a sentence of its own."""
    assert isinstance(error, OSError)
    found = of_os_error(error)
    _log.warning("%s %s: %s", request.method, request.url.path, found.message)
    return error_response(found)


def _on_invalid_request(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return error_response(in_words(error.errors()[0]))


def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    """What the framework refuses by itself: an unknown path, a wrong method."""
    assert isinstance(error, HTTPException)
    kind = NotFound if error.status_code == 404 else Refused
    text = f"{request.method} {request.url.path}: {error.detail}"
    answer = error_response(kind(text, "/openapi.json lists what there is"), error.status_code)
    answer.headers.update(error.headers or {})
    if error.status_code == 405:
        # The framework names those of the first route alone that has the path.
        answer.headers["Allow"] = ", ".join(sorted(_methods_at(request)))
    return answer


def _methods_at(request: Request) -> set[str]:
    """Of the path as it is written, or else of those with parameters that it fits."""
    path, paths = request.url.path, request.app.openapi()["paths"]
    fitting = [path] if path in paths else [one for one in paths if _fits(path, one)]
    return {method.upper() for template in fitting for method in paths[template]}


def _fits(path: str, template: str) -> bool:
    return re.fullmatch(re.sub(r"\{[a-z]+\}", "[^/]+", template), path) is not None


def _on_defect(request: Request, error: Exception) -> JSONResponse:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    text = f"{type(error).__name__} in the daemon: this is a defect"
    return error_response(InternalError(text, "the daemon's log has the details; please report it"))
