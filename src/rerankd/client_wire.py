"""What rerankd's HTTP client sends, and what a server's answers mean: the standard dialect, read backwards."""

from collections.abc import Mapping, Sequence
from typing import cast

import httpx2

from rerankd.errors import (
    ChecksumMismatch,
    ConfigError,
    Conflict,
    DeadlineExceeded,
    DownloadFailed,
    EngineFailure,
    InvalidRequest,
    ModelLoadError,
    ModelNotFound,
    ModelNotReady,
    NotAllowed,
    NotAuthenticated,
    Overloaded,
    RateLimited,
    RequestTooLarge,
    RerankError,
    RevisionRefused,
    ScoresDisagree,
    ServerUnreachable,
    TryLater,
    UnsupportedModel,
)
from rerankd.types import (
    JsonObject,
    JsonValue,
    ModelInfo,
    ModelState,
    Progress,
    Ranked,
    Ranking,
    RerankRequest,
    ScoreType,
    Stage,
    Usage,
)


def request_body(request: RerankRequest) -> JsonObject:
    """Write a request in the standard dialect; the documents need not come back."""
    body: dict[str, JsonValue] = {
        "query": request.query,
        "documents": [
            document.text if document.fields is None else {**document.fields, "text": document.text}
            for document in request.documents
        ],
        "return_documents": False,
    }
    if request.model:
        body["model"] = request.model
    if request.top_n is not None:
        body["top_n"] = request.top_n
    if request.instruction:
        body["instruction"] = request.instruction
    return body


def read_ranking(answer: JsonObject) -> Ranking:
    """Read a ranking from the standard dialect's answer.

    Raises:
        ServerUnreachable: it is none; whatever answered is no rerank server.
    """
    try:
        results = cast("Sequence[Mapping[str, float]]", answer["results"])
        items = tuple(Ranked(int(hit["index"]), float(hit["relevance_score"])) for hit in results)
        usage = cast("Mapping[str, int]", answer.get("usage") or {})
        meta = cast("Mapping[str, JsonValue]", answer.get("meta") or {})
        return Ranking(
            items=items,
            model=str(answer.get("model", "")),
            score_type=ScoreType(meta.get("score_type", ScoreType.PROBABILITY)),
            usage=Usage(tokens=int(usage.get("total_tokens", 0)), pairs=len(items)),
            truncated=tuple(cast("Sequence[int]", meta.get("truncated_documents") or ())),
            chunked=tuple(cast("Sequence[int]", meta.get("chunked_documents") or ())),
            unscored=tuple(cast("Sequence[int]", meta.get("unscored_documents") or ())),
            stages=tuple(
                Stage(str(stage["model"]), tuple(cast("Sequence[int]", stage["documents"])))
                for stage in cast("Sequence[Mapping[str, JsonValue]]", meta.get("stages") or ())
            ),
            fallback=str(meta.get("fallback") or ""),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ServerUnreachable("the answer holds no ranking: is base_url a rerankd server?") from error


def read_models(answer: JsonObject) -> tuple[ModelInfo, ...]:
    """Read the list of models; a model listed under several names counts once.

    Raises:
        ServerUnreachable: it is none.
    """
    try:
        items = cast("Sequence[Mapping[str, JsonValue]]", answer["data"])
        return tuple(_model(item) for item in items if item["id"] == item.get("model_name", item["id"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ServerUnreachable("the answer lists no models: is base_url a rerankd server?") from error


def _model(item: Mapping[str, JsonValue]) -> ModelInfo:
    return ModelInfo(
        id=str(item["id"]),
        names=tuple(cast("Sequence[str]", item.get("names") or (item["id"],))),
        state=ModelState(item.get("state", ModelState.READY)),
        family=str(item.get("family", "")),
        engine=str(item.get("engine", "")),
        precision=str(item.get("precision", "")),
        score_type=ScoreType(item.get("score_type", ScoreType.PROBABILITY)),
        score_from=str(item.get("score_from", "")),
        max_tokens=int(cast("int", item.get("max_tokens", 0))),
        fingerprint=str(item.get("fingerprint", "")),
        failure=str(item.get("failure", "")),
        progress=_progress(item.get("progress")),
        memory_bytes=int(cast("int", item.get("memory_bytes", 0))),
        in_flight=int(cast("int", item.get("in_flight", 0))),
        revision=str(item.get("revision", "")),
        updating=ModelState(item["updating"]) if item.get("updating") else None,
        precision_reason=str(item.get("precision_reason", "")),
        agreement=cast("JsonObject", item.get("agreement") or {}),
    )


def _progress(value: JsonValue) -> Progress | None:
    if not isinstance(value, Mapping):
        return None
    return Progress(int(cast("int", value["done_bytes"])), int(cast("int", value["total_bytes"])))


def read_error(response: httpx2.Response) -> RerankError:
    """Turn an error answer back into the exception that the server raised, by kind, else by status."""
    message, kind, param = _error_parts(response)
    status = response.status_code
    kind = kind or _KINDS.get(status, "")
    retry_after_s = _retry_after(response)
    match kind:
        case "invalid_request":
            return InvalidRequest(message, field=param)
        case "request_too_large":
            return RequestTooLarge(message, field=param)
        case "model_not_found":
            error = ModelNotFound("", ())
            error.args = (message,)  # the server's sentence already names the model and what is served
            return error
        case _ if kind in _TRY_LATER:
            return _TRY_LATER[kind](message, retry_after_s=retry_after_s)
        case _ if kind in _PLAIN:
            return _PLAIN[kind](message)
        case _:
            return ServerUnreachable(f"answered {status}, which is no rerank server's answer: {message[:200]}")


_KINDS = {
    400: "invalid_request",
    401: "not_authenticated",
    403: "not_allowed",
    413: "request_too_large",
    422: "invalid_request",
    429: "overloaded",
    500: "engine_failure",
    503: "model_not_ready",
    504: "deadline_exceeded",
}
_TRY_LATER: Mapping[str, type[TryLater]] = {
    "rate_limited": RateLimited,
    "overloaded": Overloaded,
    "model_not_ready": ModelNotReady,
    "try_later": TryLater,
}
_LOAD_ERRORS = (ModelLoadError, DownloadFailed, ChecksumMismatch, UnsupportedModel, ScoresDisagree, RevisionRefused)
_PLAIN: Mapping[str, type[RerankError]] = {
    error.kind: error
    for error in (ConfigError, NotAuthenticated, NotAllowed, Conflict, DeadlineExceeded, EngineFailure, *_LOAD_ERRORS)
}


def _error_parts(response: httpx2.Response) -> tuple[str, str, str]:
    """Return message, kind and field; "" for what the body does not say."""
    try:
        body = cast("JsonValue", response.json())
    except ValueError:
        return response.text[:200] or response.reason_phrase, "", ""
    fields = _object(body)
    details = _object(fields.get("error"))
    message = details.get("message") or fields.get("detail") or fields.get("message") or response.reason_phrase
    return str(message), str(details.get("kind") or ""), str(details.get("param") or "")


def _retry_after(response: httpx2.Response) -> float:
    text = response.headers.get("retry-after", "")
    return float(text) if text.isdigit() and len(text) < 10 else 1.0


def _object(value: JsonValue) -> JsonObject:
    return cast("JsonObject", value) if isinstance(value, Mapping) else cast("JsonObject", {})
