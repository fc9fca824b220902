"""The form of those who send a query and documents and no model: read and written here, for two dialects.

`simple` and `weaviate` differ in their errors only.
"""

from collections.abc import Sequence
from typing import cast

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from rerankd.dialects import _blocks
from rerankd.dialects.base import Answer, Call, Incoming, Reply, Stamp
from rerankd.dialects.reading import Count, Documents, Flag, Name, Names, Text, count_from, documents_from, read
from rerankd.types import Document, JsonObject, JsonValue, Ranked, Ranking, RerankRequest

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


class SimpleRequest(BaseModel):
    """A query and documents. Unknown keys are ignored; null means absent."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)

    query: Text
    """What is looked for."""
    documents: Documents
    """The candidates: strings, or objects with `text`."""
    model: Name = ""
    """A served model's name; absent: the server's default."""
    top_n: Count = None
    """How many to return, best first; absent or 0: all."""
    top_k: Count = None
    """Another name for `top_n`; sending it adds `ranked_results` to the answer."""
    return_documents: Flag = True
    """Whether the answer repeats the documents."""
    rank_fields: Names = Field(default_factory=list[str])
    """For documents that are objects: the fields to rank by, joined by newlines."""
    raw_scores: Flag = False
    """Answer with the model's own numbers instead of probabilities."""
    use_activation: Flag = True
    """vLLM's word for the same: false asks for the model's own numbers."""
    truncation: Flag = True
    """False makes a document that is too long an error instead of a cut."""


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
    """Read a body; see `SimpleRequest`.

    Raises:
        InvalidRequest: it is not one.
    """
    wire = read(SimpleRequest, incoming.body)
    sent = cast("JsonObject", incoming.body)
    request = RerankRequest(
        model=wire.model,
        query=wire.query,
        documents=documents_from(cast("list[JsonValue]", wire.documents), wire.rank_fields),
        top_n=count_from({"top_n": wire.top_n, "top_k": wire.top_k}),
        raw_scores=wire.raw_scores or not wire.use_activation,
        truncate=wire.truncation,
    )
    reply = Reply(
        documents=wire.return_documents,
        ranked_results="top_k" in sent,
        input_order_scores="property" in sent,
    )
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
    if reply.ranked_results:
        body["ranked_results"] = _blocks.ranked_results(documents, ranking, texts=reply.documents)
    if reply.input_order_scores:
        body["scores"] = _blocks.input_order_scores(documents, ranking)
    body["usage"] = _blocks.usage(ranking)
    body["meta"] = _blocks.meta(len(documents), ranking)
    return Answer(200, body)


def _result(hit: Ranked, documents: Sequence[Document], *, texts: bool) -> JsonValue:
    document = {"document": documents[hit.index].text} if texts else {}
    return {"index": hit.index} | document | {"score": hit.score, "relevance_score": hit.score}
