"""Voyage's API and nothing but Voyage's: `/voyage/v1/rerank`. The answer is in `data`, documents are strings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from pydantic import BaseModel, ConfigDict

from rerankd.dialects import _blocks, _provider
from rerankd.dialects.base import Answer, Call, Incoming, Reply, Route, Stamp
from rerankd.dialects.reading import Count, Documents, Flag, Name, Text, count_from, documents_from, read
from rerankd.errors import RerankError
from rerankd.types import JsonValue, Ranking, RerankRequest


class VoyageRequest(BaseModel):
    """A rerank request in Voyage's words."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)

    query: Text
    """What is looked for."""
    documents: Documents
    """The candidates."""
    model: Name = ""
    """A served model's name; absent: the server's default."""
    top_k: Count = None
    """How many to return, best first; absent or 0: all."""
    return_documents: Flag = False
    """Whether the answer repeats the documents."""
    truncation: Flag = True
    """False makes a document that is too long an error instead of a cut."""


class VoyageDatum(BaseModel):
    """One place in the ranking."""

    model_config = ConfigDict(extra="forbid")

    index: int
    relevance_score: float
    document: str | None = None


class VoyageUsage(BaseModel):
    """What the request cost in tokens."""

    model_config = ConfigDict(extra="forbid")

    total_tokens: int


class VoyageResponse(BaseModel):
    """The ranking, best first."""

    model_config = ConfigDict(extra="forbid")

    object: str
    data: list[VoyageDatum]
    model: str
    usage: VoyageUsage


@dataclass(frozen=True, slots=True)
class VoyageDialect:
    """See the module."""

    name: str = "voyage"

    @property
    def routes(self) -> Sequence[Route]:
        """Voyage's one path."""
        examples = {"Voyage": {"query": _provider.QUERY, "documents": _provider.DOCUMENTS, "top_k": 2}}
        return (
            Route(
                path="/v1/rerank",
                summary="Voyage",
                request=VoyageRequest,
                response=VoyageResponse,
                examples=examples,
                aliases=("/rerank",),
                prefixed=True,
                error=_provider.DetailError,
            ),
        )

    def parse(self, incoming: Incoming) -> Call:
        """Read a body; see `VoyageRequest`."""
        wire = read(VoyageRequest, incoming.body)
        request = RerankRequest(
            model=wire.model,
            query=wire.query,
            documents=documents_from(cast("list[JsonValue]", wire.documents)),
            top_n=count_from({"top_k": wire.top_k}),
            truncate=wire.truncation,
        )
        return Call((request,), Reply(documents=wire.return_documents))

    def answer(self, call: Call, rankings: Sequence[Ranking], stamp: Stamp) -> Answer:
        """Write `data`, then what it cost."""
        del stamp  # this answer has neither id nor time
        (request,), (ranking,) = call.requests, rankings
        body: dict[str, JsonValue] = {
            "object": "list",
            "data": [
                {"index": hit.index, "relevance_score": hit.score}
                | ({"document": request.documents[hit.index].text} if call.reply.documents else {})
                for hit in ranking
            ],
            "model": ranking.model,
            "usage": {"total_tokens": _blocks.tokens_of(ranking)},
        }
        return Answer(200, body)

    def refuse(self, error: RerankError) -> Answer:
        """Write `{"detail"}`."""
        return _provider.refuse_in_detail(error)


DIALECT = VoyageDialect()
