"""Cohere's API, v1 and v2, and nothing but Cohere's: `/cohere/v1/rerank`, `/cohere/v2/rerank`.

Fields as in Cohere's SDK (cohere 5.6.2 and 7.3.1). v1 repeats documents where asked, with all their fields; v2 never.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from pydantic import BaseModel, ConfigDict, Field

from rerankd.dialects import _provider
from rerankd.dialects._blocks import ApiVersion, BilledUnits
from rerankd.dialects.base import Answer, Call, Incoming, Reply, Route, Stamp
from rerankd.dialects.reading import Count, Documents, Flag, Name, Names, Text, count_from, documents_from, read
from rerankd.errors import RerankError
from rerankd.types import Document, JsonValue, Ranking, RerankRequest

_DOCUMENTS_PER_SEARCH_UNIT = 100


class CohereRequest(BaseModel):
    """A rerank request in Cohere's words."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)

    query: Text
    """What is looked for."""
    documents: Documents
    """The candidates: strings, or objects with `text`."""
    model: Name = ""
    """A served model's name; absent: the server's default."""
    top_n: Count = None
    """How many to return, best first; absent or 0: all."""
    rank_fields: Names = Field(default_factory=list[str])
    """For documents that are objects: the fields to rank by, joined by newlines."""
    return_documents: Flag = False
    """v1 only: whether the answer repeats the documents."""
    max_chunks_per_doc: Count = None
    """v1 only: at most this many chunks of one long document are scored; absent: the server's setting."""
    max_tokens_per_doc: Count = None
    """v2 only: every document is cut to this many tokens first; absent: it is not cut."""


class CohereDocument(BaseModel):
    """A document, given back with the fields it came with."""

    model_config = ConfigDict(extra="allow")

    text: str


class CohereResult(BaseModel):
    """One place in the ranking."""

    model_config = ConfigDict(extra="forbid")

    index: int
    relevance_score: float
    document: CohereDocument | None = None


class CohereMeta(BaseModel):
    """The version that was asked for, and one search unit per 100 documents. Nothing is billed."""

    model_config = ConfigDict(extra="forbid")

    api_version: ApiVersion
    billed_units: BilledUnits


class CohereResponse(BaseModel):
    """The ranking, best first."""

    model_config = ConfigDict(extra="forbid")

    id: str
    results: list[CohereResult]
    meta: CohereMeta


@dataclass(frozen=True, slots=True)
class CohereDialect:
    """See the module."""

    name: str = "cohere"

    @property
    def routes(self) -> Sequence[Route]:
        """The paths of both versions; older SDKs leave the version out."""
        examples = {"Cohere": {**_provider.EXAMPLE, "return_documents": True}}
        return (
            Route(
                path="/v1/rerank",
                summary="Cohere v1",
                request=CohereRequest,
                response=CohereResponse,
                examples=examples,
                aliases=("/rerank",),
                prefixed=True,
                error=_provider.MessageError,
            ),
            Route(
                path="/v2/rerank",
                summary="Cohere v2",
                request=CohereRequest,
                response=CohereResponse,
                examples=examples,
                prefixed=True,
                error=_provider.MessageError,
            ),
        )

    def parse(self, incoming: Incoming) -> Call:
        """Read a body; see `CohereRequest`."""
        wire = read(CohereRequest, incoming.body)
        request = RerankRequest(
            model=wire.model,
            query=wire.query,
            documents=documents_from(cast("list[JsonValue]", wire.documents), wire.rank_fields),
            top_n=count_from({"top_n": wire.top_n}),
            max_chunks_per_doc=wire.max_chunks_per_doc,
            max_tokens_per_doc=wire.max_tokens_per_doc,
        )
        version = "2" if incoming.path.startswith("/v2/") else "1"
        return Call((request,), Reply(documents=wire.return_documents and version == "1", version=version))

    def answer(self, call: Call, rankings: Sequence[Ranking], stamp: Stamp) -> Answer:
        """Write `results`, then the version and the search units."""
        (request,), (ranking,) = call.requests, rankings
        units = math.ceil(len(request.documents) / _DOCUMENTS_PER_SEARCH_UNIT)
        body: dict[str, JsonValue] = {
            "id": stamp.id,
            "results": [
                {"index": hit.index, "relevance_score": hit.score}
                | (_document(request.documents[hit.index]) if call.reply.documents else {})
                for hit in ranking
            ],
            "meta": {"api_version": {"version": call.reply.version}, "billed_units": {"search_units": units}},
        }
        return Answer(200, body)

    def refuse(self, error: RerankError) -> Answer:
        """Write `{"message"}`."""
        return _provider.refuse_in_message(error)


def _document(document: Document) -> dict[str, JsonValue]:
    return {"document": {**(document.fields or {}), "text": document.text}}


DIALECT = CohereDialect()
