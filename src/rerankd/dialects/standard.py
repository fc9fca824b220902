"""The standard dialect: one answer that Cohere, Jina, Voyage, vLLM, LocalAI, Xinference and llama.cpp clients all read.

Key order matters: Elasticsearch's Cohere parser stops at the end of the first nested object, so `results` comes before
any other list or object, and its items hold `index`, `relevance_score` and `document` only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import BaseModel, ConfigDict
from pydantic.config import JsonDict

from rerankd.dialects import _blocks, errors
from rerankd.dialects._request import StandardRequest, read_request
from rerankd.dialects.base import Answer, Call, Incoming, Reply, Route, Stamp
from rerankd.errors import RerankError
from rerankd.types import Document, JsonObject, JsonValue, Ranking

_EXAMPLE: JsonObject = {
    "query": "What is the capital of France?",
    "documents": ["Bananas are yellow.", "Paris is the capital of France.", "法国的首都是巴黎。"],
    "top_n": 2,
}
_ANSWER: JsonDict = {
    "id": "rerank-7f3c",
    "object": "list",
    "model": "rerankd-zh-en",
    "created": 1795248395,
    "results": [{"index": 1, "relevance_score": 0.98, "document": {"text": "Paris is the capital of France."}}],
    "data": [{"index": 1, "relevance_score": 0.98, "score": 0.98, "document": "Paris is the capital of France."}],
    "usage": {"prompt_tokens": 52, "total_tokens": 52},
    "meta": {
        "api_version": {"version": "1"},
        "billed_units": {"search_units": 1},
        "tokens": {"input_tokens": 52, "output_tokens": 0},
        "score_type": "probability",
    },
}


class StandardDocument(BaseModel):
    """A document, given back; objects keep their other fields."""

    model_config = ConfigDict(extra="allow")

    text: str


class StandardResult(BaseModel):
    """One place in the ranking."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    index: int
    """Position in the request's `documents`."""
    relevance_score: float
    """Between 0 and 1 unless raw scores were asked for; higher is better."""
    document: StandardDocument | str | None = None
    """Left out with `return_documents: false`. A string on `/api/rerank`."""


class StandardResponse(BaseModel):
    """The ranking, best first, in the shapes that clients look for."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_ANSWER]})

    id: str
    object: str
    model: str
    created: int
    results: list[StandardResult]
    data: list[_blocks.Datum]
    ranked_results: list[_blocks.RankedResult] | None = None
    scores: list[_blocks.InputOrderScore] | None = None
    usage: _blocks.TokenUsage
    meta: _blocks.AnswerMeta


@dataclass(frozen=True, slots=True)
class StandardDialect:
    """See the module."""

    name: str = "standard"

    @property
    def routes(self) -> Sequence[Route]:
        """The paths of Cohere's, Jina's and vLLM's APIs, and what other servers call the same thing."""
        return (
            Route(
                path="/v1/rerank",
                summary="Rank documents by relevance to a query",
                request=StandardRequest,
                response=StandardResponse,
                examples={"A query and three documents": _EXAMPLE},
                aliases=("/rerank", "/v2/rerank", "/v3/rerank", "/reranking", "/v1/reranking", "/api/rerank"),
            ),
        )

    def parse(self, incoming: Incoming) -> Call:
        """Read a body; see `StandardRequest`."""
        request, reply = read_request(incoming.body)
        # Dify's Ollama plugin fails on an object here, every other client of the wide world on a string.
        strings = incoming.path == "/api/rerank"
        version = "2" if incoming.path.startswith("/v2/") else "1"
        return Call((request,), replace(reply, document_strings=strings, version=version))

    def answer(self, call: Call, rankings: Sequence[Ranking], stamp: Stamp) -> Answer:
        """Write `results`, then the same again in other words, then what it cost."""
        (request,), (ranking,), reply = call.requests, rankings, call.reply
        documents = request.documents
        body: dict[str, JsonValue] = {
            "id": f"rerank-{stamp.id}",
            "object": "list",
            "model": ranking.model,
            "created": stamp.created,
            "results": [
                {"index": hit.index, "relevance_score": hit.score, **_document(documents[hit.index], reply)}
                for hit in ranking
            ],
            "data": _blocks.data(documents, ranking, texts=reply.documents),
        }
        return Answer(200, body | _blocks.tail(documents, ranking, reply))

    def refuse(self, error: RerankError) -> Answer:
        """Write an error in the form that most clients read."""
        return errors.refuse(error)


def _document(document: Document, reply: Reply) -> Mapping[str, JsonValue]:
    if not reply.documents:
        return {}
    if reply.document_strings:
        return {"document": document.text}
    return {"document": {"text": document.text, **(document.fields or {})}}


DIALECT = StandardDialect()
