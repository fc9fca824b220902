"""The outermost layer: a clean path, an id, a guard, an access line and the metrics for every request.

Plain ASGI, so that nothing stands between the endpoint and the caller's disconnect.
"""

import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rerankd import log
from rerankd.dialects.detect import normalise
from rerankd.http import errors, trace
from rerankd.http.trace import Trace
from rerankd.metrics import Metrics

_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")

_PROBES = frozenset({"/health", "/healthz", "/ping", "/readyz", "/livez", "/.well-known/ready", "/metrics"})
"""Asked every few seconds by machines: their lines would drown the others."""

_logger = logging.getLogger("rerankd.http")
_access = logging.getLogger("rerankd.access")


class Rim:
    """Wraps the application. What escapes it becomes a 500 in JSON, logged with its traceback."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, access_log: bool) -> None:
        self._app = app
        self._metrics = metrics
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event; only HTTP requests are touched."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = {**scope, "path": normalise(scope["path"])}
        request_id = _request_id(scope)
        token = log.request_id.set(request_id)
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        known = trace.attach(scope)
        try:
            await self._guarded(scope, receive, send_with_id, known)
        finally:
            self._count(known)
            self._log(scope, known, status)
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

    def _count(self, known: Trace) -> None:
        if not known.dialect:
            return
        outcome = known.outcome or "cancelled"
        self._metrics.requests.labels(known.dialect, known.model, outcome).inc()
        if known.body_read:
            elapsed = time.perf_counter() - known.body_read
            self._metrics.request_seconds.labels(known.dialect).observe(elapsed)
        if known.documents:
            self._metrics.documents.labels(known.dialect).observe(known.documents)

    def _log(self, scope: Scope, known: Trace, status: int) -> None:
        if not self._access_log:
            return
        extra: dict[str, object] = {"ms": round((time.perf_counter() - known.started) * 1000, 1)}
        if known.dialect:
            extra |= {
                "dialect": known.dialect,
                "model": known.model,
                "outcome": known.outcome or "cancelled",
                "documents": known.documents,
                "tokens": known.tokens,
                "caller": known.caller.name,
            }
        level = logging.DEBUG if scope["path"] in _PROBES else logging.INFO
        _access.log(level, "%s %s %s", scope["method"], printable(scope["path"]), status or "-", extra=extra)


def printable(path: str) -> str:
    """Make a path safe for a line of log: short, and no control characters."""
    return "".join(char if char.isprintable() else "?" for char in path[:200])


def _request_id(scope: Scope) -> str:
    sent = Headers(scope=scope).get("x-request-id", "")
    return sent if _SANE_ID.fullmatch(sent) else uuid.uuid4().hex
