"""The outermost layer: a clean path, an id, a guard, an access line and the metrics for every request.

Plain ASGI, so that nothing stands between the endpoint and the caller's disconnect.
"""

import logging
import re
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rerankd import log, phases
from rerankd.dialects.detect import normalise
from rerankd.http import errors, record, trace
from rerankd.http.trace import Trace
from rerankd.metrics import Metrics
from rerankd.tracing import Tracer

_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")

_logger = logging.getLogger("rerankd.http")


class Rim:
    """Wraps the application. What escapes it becomes a 500 in JSON, logged with its traceback."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, access_log: bool, tracer: Tracer | None = None) -> None:
        self._app = app
        self._metrics = metrics
        self._access_log = access_log
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event; only HTTP requests are touched."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = {**scope, "path": normalise(scope["path"])}
        request_id = _request_id(scope)
        token = log.request_id.set(request_id)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                known.status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        with phases.recording() as spent:
            known = trace.attach(scope, spent)
            try:
                await self._guarded(scope, receive, send_with_id, known)
            finally:
                if self._tracer:
                    record.export(self._tracer, scope, known)
                record.count(self._metrics, known)
                if self._access_log:
                    record.write(scope, known)
                log.request_id.reset(token)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send, known: Trace) -> None:
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception:
            # The rim, one of three doors with a broad except: whatever went wrong, the caller gets JSON.
            _logger.exception("a request failed in a way nobody foresaw")
            known.outcome = "engine_failure"
            if not begun:
                await errors.internal_error()(scope, receive, send)


def _request_id(scope: Scope) -> str:
    sent = Headers(scope=scope).get("x-request-id", "")
    return sent if _SANE_ID.fullmatch(sent) else uuid.uuid4().hex
