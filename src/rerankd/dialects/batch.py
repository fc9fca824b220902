"""Many queries in one call: `/v1/rerank/batch`. Ours; each item's answer is the standard dialect's.

An item that fails is answered with its error in its place, and the others with their rankings; `fail_fast` makes it the
call's error. Where no item could be answered, the first error is the call's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from rerankd.dialects import _blocks, _provider, errors
from rerankd.dialects.base import Answer, Call, Incoming, Reply, Route, Stamp
from rerankd.dialects.reading import Count, Documents, Flag, Name, Names, Text, count_from, documents_from, read, show
from rerankd.errors import InvalidRequest, RequestTooLarge, RerankError
from rerankd.types import Document, JsonObject, JsonValue, LongDocuments, Ranking, RerankRequest

_EXAMPLE: JsonObject = {
    "requests": [
        {"query": _provider.QUERY, "documents": _provider.DOCUMENTS},
        {"query": "香蕉是什么颜色的？", "documents": ["香蕉是黄色的。", "草是绿色的。"], "top_n": 1},
    ],
    "top_n": 2,
}
_MOST_ITEMS = 4096
"""The most that limits.max_requests may allow: millions of empty items would hold up the event loop in being read."""
_A_LIST = "must be a list of objects with `query` and `documents`"


class BatchItem(BaseModel):
    """One item of a batch."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)

    query: Text
    """What is looked for."""
    documents: Documents = Field(default_factory=list[object])
    """The candidates; absent: the batch's."""
    top_n: Count = None
    """How many to return; absent: the batch's."""
    top_k: Count = None
    """Another name for `top_n`."""


def _listed(value: object) -> list[object]:
    if not isinstance(value, list):
        raise PydanticCustomError("rerankd", "{requirement}", {"requirement": _A_LIST})
    return cast("list[object]", value)


_ITEM: dict[str, object] = BatchItem.model_json_schema()
_Requests = Annotated[list[object], BeforeValidator(_listed), WithJsonSchema({"type": "array", "items": _ITEM})]
_Queries = Annotated[
    list[object],
    BeforeValidator(_listed),
    WithJsonSchema({"type": "array", "items": {"anyOf": [{"type": "string"}, _ITEM]}}),
]


class BatchRequest(BaseModel):
    """Requests that share a model and options."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)

    requests: _Requests = Field(default_factory=list[object])
    """The items: objects with `query`, `documents` and, where it differs from the others', `top_n`."""
    queries: _Queries = Field(default_factory=list[object])
    """Another name for `requests`; an item may then be a string, for one query after another over `documents`."""
    documents: Documents = Field(default_factory=list[object])
    """The candidates of the items that name none."""
    model: Name = ""
    """A served model's name; absent: the server's default."""
    top_n: Count = None
    """How many to return of each item, best first; absent or 0: all."""
    return_documents: Flag = True
    """Whether the answer repeats the documents."""
    rank_fields: Names = Field(default_factory=list[str])
    """For documents that are objects: the fields to rank by, joined by newlines."""
    raw_scores: Flag = False
    """Answer with the model's own numbers instead of probabilities."""
    truncation: Flag = True
    """False makes a document that is too long an error instead of a cut."""
    long_documents: LongDocuments | None = None
    """`chunk`, `truncate` or `error`; absent: the server's setting."""
    max_chunks_per_doc: Count = None
    """At most this many chunks of one long document are scored; absent: the server's setting."""
    overlap_tokens: Count = None
    """Tokens that neighbouring chunks of a long document share; absent: the server's setting."""
    fail_fast: Flag = False
    """True makes the first item that fails the call's failure."""


class BatchDocument(BaseModel):
    """A document, given back; objects keep their other fields."""

    model_config = ConfigDict(extra="allow")

    text: str


class BatchResult(BaseModel):
    """One place in an item's ranking."""

    model_config = ConfigDict(extra="forbid")

    index: int
    relevance_score: float
    document: BatchDocument | None = None


class BatchError(BaseModel):
    """Why an item was not answered; the same as `error` in an answer that is one."""

    model_config = ConfigDict(extra="forbid")

    message: str
    type: str
    param: str | None
    code: int
    kind: str


class BatchAnswer(BaseModel):
    """An item's answer: `results` and `usage`, or `error`."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    index: int
    """The item's place in `requests`."""
    results: list[BatchResult] | None = None
    usage: _blocks.TokenUsage | None = None
    truncated_documents: list[int] | None = None
    """Indexes of documents of which something was not read; absent when there is none."""
    chunked_documents: list[int] | None = None
    """Indexes of long documents that were scored chunk by chunk; absent when there is none."""
    fallback: str | None = None
    """Who answered while the model asked for loads: a model's id, or `given-order`; absent when that model did."""
    error: BatchError | None = None


class BatchResponse(BaseModel):
    """The items' answers, in the order of the request, and what they cost together."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    id: str
    object: str
    model: str
    created: int
    responses: list[BatchAnswer]
    failed: int
    """How many items have an `error`."""
    usage: _blocks.TokenUsage


@dataclass(frozen=True, slots=True)
class BatchDialect:
    """See the module."""

    name: str = "batch"

    @property
    def routes(self) -> Sequence[Route]:
        """One path and a short name for it."""
        return (
            Route(
                path="/v1/rerank/batch",
                summary="Rank for many queries in one call",
                request=BatchRequest,
                response=BatchResponse,
                examples={"Two queries": _EXAMPLE},
                aliases=("/batch_rerank",),
            ),
        )

    def parse(self, incoming: Incoming) -> Call:
        """Read a body; see `BatchRequest`. Items that cannot be read are kept as errors, unless `fail_fast`."""
        wire = read(BatchRequest, incoming.body)
        name, items = _items(wire)
        outcomes = [_read_item(item, wire, f"{name}[{place}]") for place, item in enumerate(items)]
        refused = {place: each for place, each in enumerate(outcomes) if isinstance(each, InvalidRequest)}
        requests = tuple(each for each in outcomes if isinstance(each, RerankRequest))
        if refused and (wire.fail_fast or not requests):
            raise next(iter(refused.values()))
        return Call(requests, Reply(documents=wire.return_documents), partial=not wire.fail_fast, refused=refused)

    def answer(self, call: Call, rankings: Sequence[Ranking], stamp: Stamp) -> Answer:
        """Write every item's ranking."""
        return self.answer_each(call, rankings, stamp)

    def answer_each(self, call: Call, outcomes: Sequence[Ranking | RerankError], stamp: Stamp) -> Answer:
        """Write every item's ranking or error, in the order of the request."""
        asked = iter(zip(call.requests, outcomes, strict=True))
        responses: list[JsonObject] = []
        for place in range(len(call.requests) + len(call.refused)):
            if place in call.refused:
                responses.append(_failed(place, call.refused[place]))
                continue
            request, outcome = next(asked)
            if isinstance(outcome, Ranking):
                responses.append(_ranked(place, request.documents, outcome, call.reply))
            else:
                responses.append(_failed(place, outcome))
        rankings = [outcome for outcome in outcomes if isinstance(outcome, Ranking)]
        tokens = sum(_blocks.tokens_of(ranking) for ranking in rankings)
        body: dict[str, JsonValue] = {
            "id": f"batch-{stamp.id}",
            "object": "list",
            "model": rankings[0].model,
            "created": stamp.created,
            "responses": responses,
            "failed": len(responses) - len(rankings),
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
        return Answer(200, body)

    def refuse(self, error: RerankError) -> Answer:
        """Write an error of the whole call in the standard form."""
        return errors.refuse(error)


def _items(wire: BatchRequest) -> tuple[str, Sequence[object]]:
    if wire.requests and wire.queries:
        raise InvalidRequest("`requests` and `queries` were both sent: send one of them", field="queries")
    if not wire.requests and not wire.queries:
        raise InvalidRequest(f"`requests` {_A_LIST}, at least one", field="requests")
    name, items = ("requests", wire.requests) if wire.requests else ("queries", wire.queries)
    if len(items) > _MOST_ITEMS:
        raise RequestTooLarge(
            f"`{name}` has {len(items)} items, and {_MOST_ITEMS} are the most: send fewer", field=name
        )
    return name, items


def _read_item(item: object, wire: BatchRequest, where: str) -> RerankRequest | InvalidRequest:
    try:
        return _request(cast("JsonValue", item), wire)
    except InvalidRequest as error:
        return InvalidRequest(f"{where}: {error}", field=f"{where}.{error.field}".rstrip("."))


def _request(item: JsonValue, wire: BatchRequest) -> RerankRequest:
    body = {"query": item} if isinstance(item, str) else item
    if not isinstance(body, dict):
        raise InvalidRequest(f"must be an object with `query` and `documents`, got {show(item)}")
    own = read(BatchItem, cast("JsonObject", body))
    return RerankRequest(
        model=wire.model,
        query=own.query,
        documents=documents_from(cast("list[JsonValue]", own.documents or wire.documents), wire.rank_fields),
        top_n=count_from({"top_n": own.top_n, "top_k": own.top_k}) if _counts(own) else wire.top_n or None,
        raw_scores=wire.raw_scores,
        truncate=wire.truncation,
        long_documents=wire.long_documents,
        max_chunks_per_doc=wire.max_chunks_per_doc,
        overlap_tokens=wire.overlap_tokens,
    )


def _counts(item: BatchItem) -> bool:
    return item.top_n is not None or item.top_k is not None


def _ranked(place: int, documents: Sequence[Document], ranking: Ranking, reply: Reply) -> JsonObject:
    results: list[JsonObject] = [
        {"index": hit.index, "relevance_score": hit.score}
        | ({"document": _document(documents[hit.index])} if reply.documents else {})
        for hit in ranking
    ]
    written: dict[str, JsonValue] = {"index": place, "results": results, "usage": _blocks.usage(ranking)}
    if ranking.truncated:
        written["truncated_documents"] = list(ranking.truncated)
    if ranking.chunked:
        written["chunked_documents"] = list(ranking.chunked)
    if ranking.fallback:
        written["fallback"] = ranking.fallback
    return written


def _document(document: Document) -> JsonObject:
    return {**(document.fields or {}), "text": document.text}


def _failed(place: int, error: RerankError) -> JsonObject:
    body = cast("JsonObject", errors.refuse(error).body)
    return {"index": place, "error": body["error"]}


DIALECT = BatchDialect()
