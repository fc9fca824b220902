"""The exception tree. Every failure a caller can meet is one of these; nothing here imports the rest of the package.

    RerankError                      kind                  HTTP status (a dialect may differ)
    ├ InvalidRequest                 invalid_request       400
    │ └ RequestTooLarge              request_too_large     413
    ├ NotAuthenticated               not_authenticated     401
    ├ NotAllowed                     not_allowed           403
    ├ ModelNotFound                  model_not_found       404
    ├ TryLater (retry_after_s)
    │ ├ RateLimited                  rate_limited          429
    │ ├ Overloaded                   overloaded            429
    │ └ ModelNotReady                model_not_ready       503
    ├ DeadlineExceeded               deadline_exceeded     504
    ├ EngineFailure                  engine_failure        500
    ├ ModelLoadError                 model_load_error      503
    │ ├ DownloadFailed               download_failed
    │ ├ ChecksumMismatch             checksum_mismatch
    │ ├ UnsupportedModel             unsupported_model
    │ └ ScoresDisagree               scores_disagree
    ├ ServerUnreachable              server_unreachable    (raised by the HTTP client only)
    └ ConfigError                    config_error          start-up, exit code 3

`kind` is stable: it is a metric label, a log field and a heading in the docs. A message says what was wrong, with the
value, and what to do about it; it never holds a path, a traceback or another caller's text.
"""

from collections.abc import Sequence
from typing import ClassVar


class RerankError(Exception):
    """Base of everything rerankd raises on purpose."""

    kind: ClassVar[str] = "error"


class InvalidRequest(RerankError):
    """The request cannot be understood. `field` names the part at fault ("" when it is the whole body)."""

    kind: ClassVar[str] = "invalid_request"

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class EmptyDocuments(InvalidRequest):
    """There is nothing to rank. A kind of its own because some dialects answer it in a way of their own."""

    def __init__(self, field: str = "documents") -> None:
        super().__init__(f"`{field}` cannot be empty: send at least one document", field=field)


class RequestTooLarge(InvalidRequest):
    """The request is over one of the server's limits."""

    kind: ClassVar[str] = "request_too_large"


class NotAuthenticated(RerankError):
    """No key, or a key that is not known here."""

    kind: ClassVar[str] = "not_authenticated"


class NotAllowed(RerankError):
    """The key is known and does not open this door."""

    kind: ClassVar[str] = "not_allowed"


class ModelNotFound(RerankError):
    """The named model is not served here."""

    kind: ClassVar[str] = "model_not_found"

    def __init__(self, name: str, available: Sequence[str]) -> None:
        super().__init__(f"model {name!r} is not served here (served: {', '.join(available) or 'none'})")


class TryLater(RerankError):
    """The same request can succeed later. `retry_after_s` is an estimate in seconds."""

    kind: ClassVar[str] = "try_later"

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RateLimited(TryLater):
    """The caller has used up its share."""

    kind: ClassVar[str] = "rate_limited"


class Overloaded(TryLater):
    """The queue is full."""

    kind: ClassVar[str] = "overloaded"


class ModelNotReady(TryLater):
    """The model is still loading, or the server is shutting down."""

    kind: ClassVar[str] = "model_not_ready"


class Conflict(RerankError):
    """What was asked for cannot be done now: another operation on the model is under way, or it is in use."""

    kind: ClassVar[str] = "conflict"


class DeadlineExceeded(RerankError):
    """The answer was not ready in the time allowed."""

    kind: ClassVar[str] = "deadline_exceeded"


class EngineFailure(RerankError):
    """The network did not run, or ran wrong."""

    kind: ClassVar[str] = "engine_failure"


class ModelLoadError(RerankError):
    """A model could not be made ready."""

    kind: ClassVar[str] = "model_load_error"


class DownloadFailed(ModelLoadError):
    """A source could not deliver the files. `tried` holds each address that was asked, and what came of it."""

    kind: ClassVar[str] = "download_failed"

    def __init__(self, message: str, *, tried: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.tried = tuple(tried)


class ChecksumMismatch(ModelLoadError):
    """A file is not the file it should be."""

    kind: ClassVar[str] = "checksum_mismatch"


class UnsupportedModel(ModelLoadError):
    """The files are no model that this server can score with; the message says what they are and what would work."""

    kind: ClassVar[str] = "unsupported_model"


class ScoresDisagree(ModelLoadError):
    """A known pair did not get its known score."""

    kind: ClassVar[str] = "scores_disagree"


class RevisionRefused(ModelLoadError):
    """A newer revision of a model ranks worse than the one in use, by more than the margin allowed."""

    kind: ClassVar[str] = "revision_refused"


class ServerUnreachable(RerankError):
    """The HTTP client got no answer, or none that a rerank server gives."""

    kind: ClassVar[str] = "server_unreachable"


class ConfigError(RerankError):
    """The server cannot start with these settings."""

    kind: ClassVar[str] = "config_error"
