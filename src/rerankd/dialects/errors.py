"""Errors in words that most clients read: `detail`, `message` and an OpenAI-style `error` object in one body."""

from rerankd.dialects.base import Answer
from rerankd.errors import (
    ConfigError,
    Conflict,
    DeadlineExceeded,
    EngineFailure,
    InvalidRequest,
    ModelLoadError,
    ModelNotFound,
    ModelNotReady,
    NotAllowed,
    NotAuthenticated,
    RequestTooLarge,
    RerankError,
    RevisionRefused,
    TryLater,
)
from rerankd.types import JsonValue

_STATUSES: dict[type[Exception], int] = {
    InvalidRequest: 400,
    RequestTooLarge: 413,
    NotAuthenticated: 401,
    NotAllowed: 403,
    ModelNotFound: 404,
    Conflict: 409,
    ConfigError: 400,
    RevisionRefused: 409,
    TryLater: 429,
    ModelNotReady: 503,
    DeadlineExceeded: 504,
    EngineFailure: 500,
    ModelLoadError: 503,
}
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    429: "rate_limit_error",
    504: "timeout_error",
}


def status_of(error: RerankError) -> int:
    """Return the HTTP status of an error: that of its nearest ancestor in the tree, else 500."""
    return next((_STATUSES[base] for base in type(error).__mro__ if base in _STATUSES), 500)


def error_body(message: str, *, status: int, kind: str, param: str | None = None) -> dict[str, JsonValue]:
    """Write one body for all clients: `detail` (Jina, Voyage, Xinference), `message` (Cohere), `error` (OpenAI).

    `kind` is ours: stable, and what rerankd's own client maps back to an exception.
    """
    default = "invalid_request_error" if status < 500 else "server_error"
    error: dict[str, JsonValue] = {
        "message": message,
        "type": _TYPES.get(status, default),
        "param": param,
        "code": status,
        "kind": kind,
    }
    return {"detail": message, "message": message, "error": error}


def refuse(error: RerankError) -> Answer:
    """Write any error of ours in the standard form."""
    status = status_of(error)
    param = (error.field or None) if isinstance(error, InvalidRequest) else None
    return Answer(status, error_body(str(error), status=status, kind=error.kind, param=param))
