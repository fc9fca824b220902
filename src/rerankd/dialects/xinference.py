"""Xinference's API and nothing but Xinference's: `/xinference/v1/rerank`.

It writes every key, null where it has nothing to say: `document` unless asked for, `tokens` unless `return_len`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from pydantic import BaseModel, ConfigDict

from rerankd.dialects import _blocks, _provider
from rerankd.dialects.base import Answer, Call, Incoming, Reply, Route, Stamp
from rerankd.dialects.reading import Count, Documents, Flag, Name, Text, count_from, documents_from, read
from rerankd.errors import RerankError
from rerankd.types import JsonObject, JsonValue, Ranking, RerankRequest

_WITH_LENGTHS = "with_lengths"


class XinferenceRequest(BaseModel):
    """A rerank request in Xinference's words. `kwargs` is read past."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)

    query: Text
    """What is looked for."""
    documents: Documents
    """The candidates."""
    model: Name = ""
    """A served model's name; absent: the server's default."""
    top_n: Count = None
    """How many to return, best first; absent or 0: all."""
    return_documents: Flag = False
    """Whether the answer repeats the documents."""
    max_chunks_per_doc: Count = None
    """At most this many chunks of one long document are scored; absent: the server's setting."""
    return_len: Flag = False
    """Whether the answer counts tokens."""


class XinferenceResult(BaseModel):
    """One place in the ranking."""

    model_config = ConfigDict(extra="forbid")

    index: int
    relevance_score: float
    document: _provider.TextDocument | None


class XinferenceMeta(BaseModel):
    """Always the same keys; all but `tokens` are null."""

    model_config = ConfigDict(extra="forbid")

    api_version: None
    billed_units: None
    tokens: _blocks.CohereTokens | None
    warnings: None


class XinferenceResponse(BaseModel):
    """The ranking, best first."""

    model_config = ConfigDict(extra="forbid")

    id: str
    results: list[XinferenceResult]
    meta: XinferenceMeta


@dataclass(frozen=True, slots=True)
class XinferenceDialect:
    """See the module."""

    name: str = "xinference"

    @property
    def routes(self) -> Sequence[Route]:
        """Xinference's one path."""
        examples: dict[str, JsonObject] = {"Xinference": {**_provider.EXAMPLE, "return_documents": True}}
        return (
            Route(
                path="/v1/rerank",
                summary="Xinference",
                request=XinferenceRequest,
                response=XinferenceResponse,
                examples=examples,
                aliases=("/rerank",),
                prefixed=True,
                error=_provider.DetailError,
            ),
        )

    def parse(self, incoming: Incoming) -> Call:
        """Read a body; see `XinferenceRequest`."""
        wire = read(XinferenceRequest, incoming.body)
        request = RerankRequest(
            model=wire.model,
            query=wire.query,
            documents=documents_from(cast("list[JsonValue]", wire.documents)),
            top_n=count_from({"top_n": wire.top_n}),
            max_chunks_per_doc=wire.max_chunks_per_doc,
        )
        shape = _WITH_LENGTHS if wire.return_len else ""
        return Call((request,), Reply(documents=wire.return_documents, shape=shape))

    def answer(self, call: Call, rankings: Sequence[Ranking], stamp: Stamp) -> Answer:
        """Write `results`, then `meta`."""
        (request,), (ranking,) = call.requests, rankings
        tokens: JsonValue = {"input_tokens": _blocks.tokens_of(ranking), "output_tokens": 0}
        body: dict[str, JsonValue] = {
            "id": stamp.id,
            "results": [
                {
                    "index": hit.index,
                    "relevance_score": hit.score,
                    "document": {"text": request.documents[hit.index].text} if call.reply.documents else None,
                }
                for hit in ranking
            ],
            "meta": {
                "api_version": None,
                "billed_units": None,
                "tokens": tokens if call.reply.shape == _WITH_LENGTHS else None,
                "warnings": None,
            },
        }
        return Answer(200, body)

    def refuse(self, error: RerankError) -> Answer:
        """Write `{"detail"}`."""
        return _provider.refuse_in_detail(error)


DIALECT = XinferenceDialect()
