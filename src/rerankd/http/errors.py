"""Errors on their way out: the dialect writes status and body, the rim adds Retry-After and WWW-Authenticate."""

import difflib
import json
import math
from collections.abc import Mapping, Sequence

from starlette.responses import Response

from rerankd.dialects.base import Answer, Dialect
from rerankd.dialects.errors import error_body
from rerankd.dialects.errors import refuse as refuse_plainly
from rerankd.errors import NotAuthenticated, RerankError, TryLater
from rerankd.types import JsonValue

_LONGEST_RETRY_S = 3600


def refusal(error: RerankError, dialect: Dialect | None = None) -> Response:
    """Answer with an error, in the dialect's words where one is known."""
    answer = dialect.refuse(error) if dialect is not None else refuse_plainly(error)
    return respond(Answer(answer.status, answer.body, {**answer.headers, **_headers(error)}))


def respond(answer: Answer) -> Response:
    """Write an answer as JSON in UTF-8; no body at all where it is None."""
    if answer.body is None:
        return Response(status_code=answer.status, headers=dict(answer.headers))
    return Response(encode(answer.body), answer.status, dict(answer.headers), "application/json")


def encode(body: JsonValue) -> bytes:
    """Write JSON; NaN and infinities are refused with ValueError, for no client reads them."""
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def no_such_route(path: str, known: Sequence[str]) -> Response:
    """Answer 404, naming the nearest path that exists."""
    nearest = difflib.get_close_matches(path, known, n=1, cutoff=0.5)
    hint = f"did you mean {nearest[0]}?" if nearest else "POST /v1/rerank ranks documents"
    message = f"there is nothing at {path[:200]}: {hint} (GET /docs describes the API)"
    return respond(Answer(404, error_body(message, status=404, kind="route_not_found")))


def no_such_method(method: str, path: str, allowed: str) -> Response:
    """Answer 405 with the methods that work."""
    message = f"{method} is not possible at {path[:200]}: use {allowed}"
    return respond(Answer(405, error_body(message, status=405, kind="method_not_allowed"), {"allow": allowed}))


def internal_error() -> Response:
    """Answer 500 to what nobody foresaw. The details are in the log, under the request's id."""
    message = "the server failed to answer; its log has the details under this answer's x-request-id"
    return respond(Answer(500, error_body(message, status=500, kind="engine_failure")))


def _headers(error: RerankError) -> Mapping[str, str]:
    if isinstance(error, TryLater):
        seconds = error.retry_after_s if math.isfinite(error.retry_after_s) else _LONGEST_RETRY_S
        return {"retry-after": str(max(1, min(math.ceil(seconds), _LONGEST_RETRY_S)))}
    if isinstance(error, NotAuthenticated):
        return {"www-authenticate": "Bearer"}
    return {}
