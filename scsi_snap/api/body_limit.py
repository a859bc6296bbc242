"""Refuses bodies above the limit, before one byte of them is read (ASGI middleware).

A body must state its length: the HTTP parser holds it to that, so nothing has to be counted.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from scsi_snap.api.rendering import error_response
from scsi_snap.errors import Refused


class BodyLimit:
    def __init__(self, app: ASGIApp, limit_bytes: int) -> None:
        self._app = app
        self._limit_bytes = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = dict(scope["headers"])
            if b"transfer-encoding" in headers:
                refused = error_response(Refused("a body must have a Content-Length"), status=411)
                await refused(scope, receive, send)
                return
            if int(headers.get(b"content-length", b"0")) > self._limit_bytes:
                text = f"the request's body has more than {self._limit_bytes} bytes"
                await error_response(Refused(text), status=413)(scope, receive, send)
                return
        await self._app(scope, receive, send)
