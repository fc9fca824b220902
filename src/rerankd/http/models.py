"""The served models, as OpenAI, Xinference, RAGFlow and Infinity clients list them."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rerankd.dialects.base import Answer
from rerankd.errors import RerankError
from rerankd.http.auth import Keys
from rerankd.http.errors import refusal, respond
from rerankd.http.ports import Service
from rerankd.types import JsonObject, JsonValue, ModelInfo


def routes(service: Service, keys: Keys) -> Sequence[Route]:
    """Make the routes that list models; they need a key where keys are configured."""

    async def listed(request: Request) -> Response:
        try:
            keys.caller(request.headers)
        except RerankError as error:
            return refusal(error)
        items = [_item(info, name, request) for info in service.models() for name in _listed_names(info)]
        return respond(Answer(200, {"object": "list", "data": items}))

    async def one(request: Request) -> Response:
        name: str = request.path_params["id"]
        try:
            keys.caller(request.headers)
            info = service.model(name)
        except RerankError as error:
            return refusal(error)
        return respond(Answer(200, _item(info, name if name in info.names else info.id, request)))

    return (
        Route("/v1/models", listed),
        Route("/models", listed),
        Route("/v1/models/{id:path}", one),
        Route("/models/{id:path}", one),
    )


def _listed_names(info: ModelInfo) -> Sequence[str]:
    """List the id, for clients that forbid "/" in a name, and the full names, for those that were given one."""
    return (info.id, *(name for name in info.names if "/" in name and name != info.id))


def _item(info: ModelInfo, name: str, request: Request) -> JsonValue:
    item: dict[str, JsonValue] = {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "rerankd",
        "model_type": "rerank",
        "model_name": info.id,
        "model_ability": ["rerank"],
        "max_tokens": info.max_tokens,
        "context_length": info.max_tokens,
        "max_model_len": info.max_tokens,
        "names": list(info.names),
        "state": info.state.value,
        "score_type": info.score_type.value,
        "family": info.family,
        "engine": info.engine,
        "precision": info.precision,
        "fingerprint": info.fingerprint,
        "memory_bytes": info.memory_bytes,
        "in_flight": info.in_flight,
    }
    item |= _where_known(info)
    if request.scope["path"].startswith(("/models", "/infinity/")):
        # Infinity's client reads these, and takes nothing else for an owner.
        item |= {"owned_by": "infinity", "stats": {}, "backend": info.engine, "capabilities": ["rerank"]}
    return item


def described(info: ModelInfo) -> JsonObject:
    """Describe a model as `/admin/ps` does: everything that `/v1/models` tells of it beyond other servers' words."""
    return {
        "id": info.id,
        "names": list(info.names),
        "state": info.state.value,
        "engine": info.engine,
        "precision": info.precision,
        "score_type": info.score_type.value,
        "max_tokens": info.max_tokens,
        "fingerprint": info.fingerprint,
        "memory_bytes": info.memory_bytes,
        "in_flight": info.in_flight,
        **_where_known(info),
    }


def _where_known(info: ModelInfo) -> dict[str, JsonValue]:
    """What not every model has."""
    item: dict[str, JsonValue] = {}
    if info.revision:
        item["revision"] = info.revision
    if info.updating:
        item["updating"] = info.updating.value
    if info.score_from:
        item["score_from"] = info.score_from
    if info.precision_reason:
        item["precision_reason"] = info.precision_reason
    if info.agreement:
        item["agreement"] = info.agreement
    if info.verified:
        item["verified"] = {
            "max_abs_diff": info.verified.max_abs_diff,
            "reference": info.verified.reference,
            "precision": info.verified.precision,
        }
    if info.golden:
        item["golden"] = info.golden.facts()
    if info.failure:
        item["failure"] = info.failure
    if info.progress:
        item["progress"] = {"done_bytes": info.progress.done_bytes, "total_bytes": info.progress.total_bytes}
    return item
