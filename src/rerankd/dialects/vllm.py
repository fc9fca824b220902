"""vLLM's API: its rerank under `/vllm`, and `/score`, which no other server has, with and without the prefix.

Fields as in vLLM's `scoring/protocol.py`. Rerank always gives the documents back; `/score` answers in input order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import cast

from pydantic import BaseModel, ConfigDict

from rerankd.dialects import _blocks, _provider, errors
from rerankd.dialects.base import Answer, Call, Incoming, Reply, Route, Stamp
from rerankd.dialects.reading import Count, Documents, Flag, Name, Text, count_from, documents_from, read
from rerankd.errors import InvalidRequest, RerankError
from rerankd.types import Document, JsonObject, JsonValue, Ranking, RerankRequest

_SIDES = (("text_1", "text_2"), ("queries", "documents"), ("queries", "items"), ("data_1", "data_2"))
_TYPES = {401: "AuthenticationError", 404: "NotFoundError", 429: "RateLimitError", 503: "ServiceUnavailableError"}


class VllmRequest(BaseModel):
    """A rerank request in vLLM's words. What it says of truncation, priority and users is read past."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)

    query: Text
    """What is looked for."""
    documents: Documents
    """The candidates: a string, a list of strings, or `{"content": [{"type": "text", "text": …}]}`."""
    model: Name = ""
    """A served model's name; absent: the server's default."""
    top_n: Count = None
    """How many to return, best first; absent or 0: all."""
    use_activation: Flag = True
    """False asks for the model's own numbers instead of probabilities."""
    instruction: Name = ""
    """What relevance means, for models that were trained with instructions."""


class VllmScoreRequest(BaseModel):
    """Texts to score against one another: one against one, one against many, or many against as many.

    They come as `text_1` and `text_2`, `queries` and `documents`, `queries` and `items`, or `data_1` and `data_2`.
    """

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)

    text_1: Documents | None = None
    """One query, or as many as there are documents."""
    text_2: Documents | None = None
    """The documents."""
    queries: Documents | None = None
    """Another name for `text_1`."""
    documents: Documents | None = None
    """Another name for `text_2`."""
    items: Documents | None = None
    """Another name for `text_2`."""
    data_1: Documents | None = None
    """Another name for `text_1`."""
    data_2: Documents | None = None
    """Another name for `text_2`."""
    model: Name = ""
    """A served model's name; absent: the server's default."""
    use_activation: Flag = True
    """False asks for the model's own numbers instead of probabilities."""


class VllmDocument(BaseModel):
    """A document, given back."""

    model_config = ConfigDict(extra="forbid")

    text: str
    multi_modal: None


class VllmResult(BaseModel):
    """One place in the ranking."""

    model_config = ConfigDict(extra="forbid")

    index: int
    document: VllmDocument
    relevance_score: float


class VllmResponse(BaseModel):
    """The ranking, best first."""

    model_config = ConfigDict(extra="forbid")

    id: str
    model: str
    usage: _blocks.TokenUsage
    results: list[VllmResult]


class VllmScore(BaseModel):
    """The score of one pair."""

    model_config = ConfigDict(extra="forbid")

    index: int
    object: str
    score: float


class VllmScoreResponse(BaseModel):
    """One score a pair, in the order of the request."""

    model_config = ConfigDict(extra="forbid")

    id: str
    object: str
    created: int
    model: str
    data: list[VllmScore]
    usage: _blocks.TokenUsage


class VllmErrorDetails(BaseModel):
    """What went wrong."""

    model_config = ConfigDict(extra="forbid")

    message: str
    type: str
    param: str | None
    code: int


class VllmError(BaseModel):
    """An error in OpenAI's words."""

    model_config = ConfigDict(extra="forbid")

    error: VllmErrorDetails


@dataclass(frozen=True, slots=True)
class VllmDialect:
    """See the module."""

    name: str = "vllm"

    @property
    def routes(self) -> Sequence[Route]:
        """Rerank as everybody calls it, under the prefix; score under either."""
        return (
            Route(
                path="/v1/rerank",
                summary="vLLM",
                request=VllmRequest,
                response=VllmResponse,
                examples={"vLLM": _provider.EXAMPLE},
                aliases=("/rerank", "/v2/rerank"),
                prefixed=True,
                error=VllmError,
            ),
            Route(
                path="/score",
                summary="Score pairs of texts, in the order given",
                request=VllmScoreRequest,
                response=VllmScoreResponse,
                examples={
                    "One query, many documents": {"text_1": _provider.QUERY, "text_2": _provider.DOCUMENTS},
                    "Pairs": {"queries": [_provider.QUERY, "香蕉"], "documents": ["Paris.", "香蕉是黄色的。"]},
                },
                aliases=("/v1/score",),
                error=VllmError,
            ),
        )

    def parse(self, incoming: Incoming) -> Call:
        """Read a body; see `VllmRequest` and `VllmScoreRequest`."""
        if incoming.path.endswith("/score"):
            return _parse_score(incoming.body)
        wire = read(VllmRequest, incoming.body)
        request = RerankRequest(
            model=wire.model,
            query=wire.query,
            documents=documents_from(cast("list[JsonValue]", wire.documents)),
            top_n=count_from({"top_n": wire.top_n}),
            raw_scores=not wire.use_activation,
            instruction=wire.instruction,
        )
        return Call((request,))

    def answer(self, call: Call, rankings: Sequence[Ranking], stamp: Stamp) -> Answer:
        """Write what it cost, then `results`; or one score a pair."""
        if call.reply.input_order_scores:
            return _answer_score(rankings, stamp)
        (request,), (ranking,) = call.requests, rankings
        body: dict[str, JsonValue] = {
            "id": f"rerank-{stamp.id}",
            "model": ranking.model,
            "usage": _blocks.usage(ranking),
            "results": [
                {
                    "index": hit.index,
                    "document": {"text": request.documents[hit.index].text, "multi_modal": None},
                    "relevance_score": hit.score,
                }
                for hit in ranking
            ],
        }
        return Answer(200, body)

    def refuse(self, error: RerankError) -> Answer:
        """Write OpenAI's `{"error": {"message", "type", "param", "code"}}` with vLLM's types."""
        status = errors.status_of(error)
        kind = _TYPES.get(status, "BadRequestError" if status < 500 else "InternalServerError")
        param = (error.field or None) if isinstance(error, InvalidRequest) else None
        return Answer(status, {"error": {"message": str(error), "type": kind, "param": param, "code": status}})


def _parse_score(body: JsonValue) -> Call:
    """Read pairs. Neighbours with the same query make one request, so that it is read once."""
    wire = read(VllmScoreRequest, body)
    queries, documents = _sides(wire)
    if len(queries) not in {1, len(documents)}:
        raise InvalidRequest(
            f"{len(queries)} queries and {len(documents)} documents are no pairs: send one query, or as many queries "
            "as documents"
        )
    if len(queries) == 1:
        queries *= len(documents)
    pairs = zip((query.text for query in queries), documents, strict=True)
    requests = tuple(
        RerankRequest(
            model=wire.model,
            query=query,
            documents=tuple(document for _, document in group),
            raw_scores=not wire.use_activation,
        )
        for query, group in groupby(pairs, key=lambda pair: pair[0])
    )
    return Call(requests, Reply(input_order_scores=True))


def _sides(wire: VllmScoreRequest) -> tuple[tuple[Document, ...], tuple[Document, ...]]:
    sent = cast(
        "Mapping[str, Sequence[JsonValue] | None]", {name: getattr(wire, name) for pair in _SIDES for name in pair}
    )
    for first, second in _SIDES:
        left, right = sent[first], sent[second]
        if left is not None and right is not None:
            return documents_from(left, field=first), documents_from(right, field=second)
    names = ", or ".join(f"`{first}` and `{second}`" for first, second in _SIDES)
    raise InvalidRequest(f"there are no pairs to score: send {names}")


def _answer_score(rankings: Sequence[Ranking], stamp: Stamp) -> Answer:
    in_order = [hit.score for ranking in rankings for hit in sorted(ranking, key=lambda hit: hit.index)]
    tokens = max(1, sum(ranking.usage.tokens for ranking in rankings))
    data: list[JsonObject] = [{"index": i, "object": "score", "score": score} for i, score in enumerate(in_order)]
    body: dict[str, JsonValue] = {
        "id": f"score-{stamp.id}",
        "object": "list",
        "created": stamp.created,
        "model": rankings[0].model,
        "data": data,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    return Answer(200, body)


DIALECT = VllmDialect()
