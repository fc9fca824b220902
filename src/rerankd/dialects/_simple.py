"""The form of those who send a query and documents and no model: read and written here, for two dialects.

`simple` and `weaviate` differ in their errors only.
"""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict
from pydantic.config import JsonDict

from rerankd.dialects import _blocks
from rerankd.dialects._request import read_request
from rerankd.dialects.base import Answer, Call, Incoming, Stamp
from rerankd.types import Document, JsonValue, Ranked, Ranking

_ANSWER: JsonDict = {
    "id": "rerank-7f3c",
    "object": "list",
    "model": "rerankd-zh-en",
    "created": 1795248395,
    "query": "What is the capital of France?",
    "results": [
        {"index": 1, "document": "Paris is the capital of France.", "score": 0.98, "relevance_score": 0.98},
    ],
    "data": [{"index": 1, "relevance_score": 0.98, "score": 0.98, "document": "Paris is the capital of France."}],
    "usage": {"prompt_tokens": 52, "total_tokens": 52},
    "meta": {
        "api_version": {"version": "1"},
        "billed_units": {"search_units": 1},
        "tokens": {"input_tokens": 52, "output_tokens": 0},
        "score_type": "probability",
    },
}


class SimpleResult(BaseModel):
    """One place in the ranking, under both names that clients use for its score."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    index: int
    """Position in the request's `documents`."""
    document: str | None = None
    """Left out with `return_documents: false`."""
    score: float
    """Between 0 and 1 unless raw scores were asked for; higher is better."""
    relevance_score: float
    """The same number."""


class SimpleResponse(BaseModel):
    """The ranking, best first, with the query repeated."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_ANSWER]})

    id: str
    object: str
    model: str
    created: int
    query: str
    results: list[SimpleResult]
    data: list[_blocks.Datum]
    ranked_results: list[_blocks.RankedResult] | None = None
    scores: list[_blocks.InputOrderScore] | None = None
    usage: _blocks.TokenUsage
    meta: _blocks.AnswerMeta


def parse(incoming: Incoming) -> Call:
    """Read a body; see `StandardRequest`.

    Raises:
        InvalidRequest: it is not one.
    """
    request, reply = read_request(incoming.body)
    return Call((request,), reply)


def answer(call: Call, rankings: Sequence[Ranking], stamp: Stamp) -> Answer:
    """Write the query, then `results` with both names of the score, then the same again in other words."""
    (request,), (ranking,), reply = call.requests, rankings, call.reply
    documents = request.documents
    body: dict[str, JsonValue] = {
        "id": f"rerank-{stamp.id}",
        "object": "list",
        "model": ranking.model,
        "created": stamp.created,
        "query": request.query,
        "results": [_result(hit, documents, texts=reply.documents) for hit in ranking],
        "data": _blocks.data(documents, ranking, texts=reply.documents),
    }
    return Answer(200, body | _blocks.tail(documents, ranking, reply))


def _result(hit: Ranked, documents: Sequence[Document], *, texts: bool) -> JsonValue:
    document = {"document": documents[hit.index].text} if texts else {}
    return {"index": hit.index} | document | {"score": hit.score, "relevance_score": hit.score}
