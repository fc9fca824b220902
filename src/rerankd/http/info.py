"""`GET /info` as text-embeddings-inference answers it: Dify and RAGFlow learn from it what is served."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rerankd import __version__
from rerankd.dialects.base import Answer, Dialect
from rerankd.errors import RerankError
from rerankd.http.auth import Keys
from rerankd.http.errors import refusal, respond
from rerankd.http.ports import Service
from rerankd.settings import Settings
from rerankd.types import JsonValue, ModelInfo

_TEXT_THREADS = 2
"""Threads that tokenise, as in `RerankService`."""


def routes(service: Service, settings: Settings, keys: Keys, tei: Dialect | None) -> Sequence[Route]:
    """Make the route; it needs a key where keys are configured, and its errors are TEI's."""

    async def info(request: Request) -> Response:
        try:
            keys.caller(request.headers)
        except RerankError as error:
            return refusal(error, tei)
        return respond(Answer(200, _info(service.model(""), settings)))

    return (Route("/info", info),)


def _info(model: ModelInfo, settings: Settings) -> JsonValue:
    """Write every key that TEI has; null where there is nothing of the kind here.

    `model_type` holds two words for the same: Dify wants the first key to be `reranker`, RAGFlow looks for `rerank`.
    """
    labels: JsonValue = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    return {
        "model_id": model.id,
        "model_sha": None,
        "model_dtype": model.precision,
        "served_model_name": model.id,
        "model_type": {"reranker": labels, "rerank": {}},
        "max_concurrent_requests": settings.server.max_connections,
        "max_input_length": model.max_tokens,
        "max_batch_tokens": settings.scheduling.queue_tokens,
        "max_batch_requests": None,
        "max_client_batch_size": settings.limits.max_documents,
        "auto_truncate": True,
        "tokenization_workers": _TEXT_THREADS,
        "version": __version__,
        "sha": None,
        "docker_label": None,
    }
