"""Parts of an answer that several dialects write alike: the ranking in other words, and what it cost."""

import math
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from rerankd.dialects.base import Reply
from rerankd.types import Document, JsonValue, Ranking

_DOCUMENTS_PER_SEARCH_UNIT = 100


class Datum(BaseModel):
    """One place in the ranking, as Voyage writes it."""

    model_config = ConfigDict(extra="forbid")

    index: int
    relevance_score: float
    score: float
    document: str | None = None


class RankedResult(BaseModel):
    """One place in the ranking, for clients that send `top_k`."""

    model_config = ConfigDict(extra="forbid")

    text: str | None = None
    score: float
    index: int


class InputOrderScore(BaseModel):
    """A document's score in input order, for clients that send `property`."""

    model_config = ConfigDict(extra="forbid")

    document: str
    score: float


class TokenUsage(BaseModel):
    """What the request cost in tokens; at least 1."""

    model_config = ConfigDict(extra="forbid")

    prompt_tokens: int
    total_tokens: int


class ApiVersion(BaseModel):
    """The version of Cohere's API that was asked for."""

    version: str


class BilledUnits(BaseModel):
    """One unit per 100 documents, begun ones included. Nothing is billed; clients expect the key."""

    search_units: int


class CohereTokens(BaseModel):
    """Tokens as Cohere counts them."""

    input_tokens: int
    output_tokens: int


class StageMeta(BaseModel):
    """A model of a cascade, and the indexes of the documents whose score is its own."""

    model: str
    documents: list[int]


class AnswerMeta(BaseModel):
    """What else is known of the answer."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    api_version: ApiVersion
    billed_units: BilledUnits
    tokens: CohereTokens
    score_type: str
    """`probability`, `logit`, or `position` where no model has scored (see `fallback`)."""
    truncated_documents: list[int] | None = None
    """Indexes of documents of which something was not read; absent when there is none."""
    chunked_documents: list[int] | None = None
    """Indexes of long documents that were scored chunk by chunk; absent when there is none."""
    unscored_documents: list[int] | None = None
    """Indexes of documents that are missing because time ran out; absent when there is none."""
    stages: list[StageMeta] | None = None
    """Which model scored which documents, the large one first; absent where one model scored all."""
    fallback: str | None = None
    """Who answered while the model asked for loads: a model's id, or `given-order`; absent when that model did."""


def data(documents: Sequence[Document], ranking: Ranking, *, texts: bool) -> list[JsonValue]:
    """Write the ranking as `Datum`s, best first; `texts` says whether documents come along."""
    return [
        {"index": hit.index, "relevance_score": hit.score, "score": hit.score}
        | ({"document": documents[hit.index].text} if texts else {})
        for hit in ranking
    ]


def ranked_results(documents: Sequence[Document], ranking: Ranking, *, texts: bool) -> list[JsonValue]:
    """Write the ranking as `RankedResult`s, best first; `texts` says whether documents come along."""
    return [
        ({"text": documents[hit.index].text} if texts else {}) | {"score": hit.score, "index": hit.index}
        for hit in ranking
    ]


def input_order_scores(documents: Sequence[Document], ranking: Ranking) -> list[JsonValue]:
    """Write the ranking as `InputOrderScore`s, in the order of the request."""
    in_order = sorted(ranking, key=lambda hit: hit.index)
    return [{"document": documents[hit.index].text, "score": hit.score} for hit in in_order]


def tokens_of(ranking: Ranking) -> int:
    """Count what the model read, at least 1: RAGFlow takes 0 for a failure."""
    return max(1, ranking.usage.tokens)


def usage(ranking: Ranking) -> dict[str, JsonValue]:
    """Write `TokenUsage`."""
    tokens = tokens_of(ranking)
    return {"prompt_tokens": tokens, "total_tokens": tokens}


def meta(documents: int, ranking: Ranking, *, version: str = "1") -> dict[str, JsonValue]:
    """Write `AnswerMeta`; `documents` is how many were sent."""
    written: dict[str, JsonValue] = {
        "api_version": {"version": version},
        "billed_units": {"search_units": math.ceil(documents / _DOCUMENTS_PER_SEARCH_UNIT)},
        "tokens": {"input_tokens": tokens_of(ranking), "output_tokens": 0},
        "score_type": ranking.score_type.value,
    }
    if ranking.truncated:
        written["truncated_documents"] = list(ranking.truncated)
    if ranking.chunked:
        written["chunked_documents"] = list(ranking.chunked)
    if ranking.unscored:
        written["unscored_documents"] = list(ranking.unscored)
    if ranking.stages:
        written["stages"] = [{"model": stage.model, "documents": list(stage.documents)} for stage in ranking.stages]
    if ranking.fallback:
        written["fallback"] = ranking.fallback
    return written


def tail(documents: Sequence[Document], ranking: Ranking, reply: Reply) -> dict[str, JsonValue]:
    """Write what follows `results` and `data`: the same in other words if asked for, then what it cost."""
    written: dict[str, JsonValue] = {}
    if reply.ranked_results:
        written["ranked_results"] = ranked_results(documents, ranking, texts=reply.documents)
    if reply.input_order_scores:
        written["scores"] = input_order_scores(documents, ranking)
    return written | {"usage": usage(ranking), "meta": meta(len(documents), ranking, version=reply.version)}
