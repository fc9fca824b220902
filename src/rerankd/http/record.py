"""What stays of a request when it is over: its numbers in the metrics and one line in the log, and never a text."""

import logging
import time

from starlette.datastructures import Headers
from starlette.types import Scope

from rerankd import log
from rerankd.http.trace import Trace
from rerankd.metrics import Metrics
from rerankd.tracing import Finished, Tracer

_PROBES = frozenset({"/health", "/healthz", "/ping", "/readyz", "/livez", "/.well-known/ready", "/metrics"})
"""Asked every few seconds by machines: their lines would drown the others."""

_access = logging.getLogger("rerankd.access")


def export(tracer: Tracer, scope: Scope, known: Trace) -> None:
    """Hand a rerank call to the traces; from then on its trace's id is known."""
    if not known.dialect:
        return
    headers = Headers(scope=scope)
    known.trace_id = tracer.record(
        Finished(
            name=f"rerank {known.dialect}",
            began=known.started,
            ended=time.perf_counter(),
            phases=known.phases,
            attributes={
                "http.request.method": scope["method"],
                "url.path": printable(scope["path"]),
                "http.response.status_code": known.status,
                "rerankd.request_id": log.request_id.get(),
                "rerankd.dialect": known.dialect,
                "rerankd.model": known.model,
                "rerankd.outcome": known.outcome or "cancelled",
                "rerankd.documents": known.documents,
                "rerankd.pairs": known.pairs,
                "rerankd.cached_pairs": known.cached_pairs,
                "rerankd.tokens": known.tokens,
            },
            headers={name: headers[name] for name in ("traceparent", "tracestate") if name in headers},
            failed=known.status >= 500,
        )
    )


def count(metrics: Metrics, known: Trace) -> None:
    """Count a rerank call; other requests are not counted."""
    if not known.dialect:
        return
    by = (known.dialect, known.model)
    metrics.requests.labels(*by, known.outcome or "cancelled").inc()
    exemplar = {"trace_id": known.trace_id} if known.trace_id else None
    if known.body_read:
        metrics.request_seconds.labels(*by).observe(time.perf_counter() - known.body_read, exemplar)
    for name, seconds in known.phases.seconds.items():
        metrics.phase_seconds.labels(*by, name).observe(seconds, exemplar)
    if known.documents:
        metrics.documents.labels(*by).observe(known.documents)
    if known.pairs:
        metrics.request_pairs.labels(*by).observe(known.pairs)
        metrics.request_tokens.labels(*by).observe(known.tokens)
        metrics.truncated.labels(*by).inc(known.truncated)
        metrics.chunked.labels(*by).inc(known.chunked)


def write(scope: Scope, known: Trace) -> None:
    """Write the access line. The request's id is added by the log itself."""
    method, path = scope["method"], printable(scope["path"])
    extra: dict[str, object] = {"method": method, "path": path, "status": known.status}
    extra["ms"] = _ms(time.perf_counter() - known.started)
    if known.dialect:
        extra |= {
            "dialect": known.dialect,
            "model": known.model,
            "outcome": known.outcome or "cancelled",
            "documents": known.documents,
            "pairs": known.pairs,
            "cached_pairs": known.cached_pairs,
            "tokens": known.tokens,
            "caller": known.caller.name,
        }
        extra |= {f"{name}_ms": _ms(seconds) for name, seconds in known.phases.seconds.items()}
    if known.trace_id:
        extra["trace_id"] = known.trace_id
    level = logging.DEBUG if scope["path"] in _PROBES else logging.INFO
    _access.log(level, "%s %s %s", method, path, known.status or "-", extra=extra)


def printable(path: str) -> str:
    """Make a path safe for a line of log: short, and no control characters."""
    return "".join(char if char.isprintable() else "?" for char in path[:200])


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
