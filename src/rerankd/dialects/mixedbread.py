"""Mixedbread's API: `/v1/reranking` and wherever else a body has `input` in place of `documents`.

Fields as in Mixedbread's SDK (mixedbread 0.54.0, `types/rerank_response.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from pydantic import BaseModel, ConfigDict, Field

from rerankd.dialects import _blocks, _provider, errors
from rerankd.dialects.base import Answer, Call, Incoming, Reply, Route, Stamp
from rerankd.dialects.reading import Count, Documents, Flag, Name, Names, Text, count_from, documents_from, read
from rerankd.errors import RerankError
from rerankd.types import Document, JsonObject, JsonValue, Ranking, RerankRequest

_EXAMPLE: JsonObject = {"query": _provider.QUERY, "input": _provider.DOCUMENTS, "top_k": 2, "return_input": True}


class MixedbreadRequest(BaseModel):
    """A rerank request in Mixedbread's words. `rewrite_query` is read past."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)

    query: Text
    """What is looked for."""
    input: Documents
    """The candidates: strings, or objects with `text`."""
    model: Name = ""
    """A served model's name; absent: the server's default."""
    top_k: Count = None
    """How many to return, best first; absent or 0: all."""
    return_input: Flag = False
    """Whether the answer repeats the candidates, as they came."""
    rank_fields: Names = Field(default_factory=list[str])
    """For candidates that are objects: the fields to rank by, joined by newlines."""


class MixedbreadDatum(BaseModel):
    """One place in the ranking."""

    model_config = ConfigDict(extra="forbid")

    index: int
    score: float
    input: str | dict[str, object] | None = None
    object: str


class MixedbreadUsage(BaseModel):
    """What the request cost in tokens."""

    model_config = ConfigDict(extra="forbid")

    prompt_tokens: int
    total_tokens: int
    completion_tokens: int


class MixedbreadResponse(BaseModel):
    """The ranking, best first."""

    model_config = ConfigDict(extra="forbid")

    usage: MixedbreadUsage
    model: str
    data: list[MixedbreadDatum]
    object: str
    top_k: int
    return_input: bool


@dataclass(frozen=True, slots=True)
class MixedbreadDialect:
    """See the module."""

    name: str = "mixedbread"

    @property
    def routes(self) -> Sequence[Route]:
        """Mixedbread's path; `/v1/reranking` with `documents` is the standard dialect's."""
        return (
            Route(
                path="/v1/reranking",
                summary="Mixedbread",
                request=MixedbreadRequest,
                response=MixedbreadResponse,
                examples={"Mixedbread": _EXAMPLE},
                aliases=("/reranking", "/v1/rerank", "/rerank"),
                prefixed=True,
            ),
        )

    def parse(self, incoming: Incoming) -> Call:
        """Read a body; see `MixedbreadRequest`."""
        wire = read(MixedbreadRequest, incoming.body)
        request = RerankRequest(
            model=wire.model,
            query=wire.query,
            documents=documents_from(cast("list[JsonValue]", wire.input), wire.rank_fields, field="input"),
            top_n=count_from({"top_k": wire.top_k}),
        )
        return Call((request,), Reply(documents=wire.return_input))

    def answer(self, call: Call, rankings: Sequence[Ranking], stamp: Stamp) -> Answer:
        """Write what it cost, then `data`."""
        del stamp  # this answer has neither id nor time
        (request,), (ranking,) = call.requests, rankings
        body: dict[str, JsonValue] = {
            "usage": {**_blocks.usage(ranking), "completion_tokens": 0},
            "model": ranking.model,
            "data": [
                {"index": hit.index, "score": hit.score}
                | (_input(request.documents[hit.index]) if call.reply.documents else {})
                | {"object": "rank_result"}
                for hit in ranking
            ],
            "object": "list",
            "top_k": request.top_n or len(request.documents),
            "return_input": call.reply.documents,
        }
        return Answer(200, body)

    def refuse(self, error: RerankError) -> Answer:
        """Write an error in the form that most clients read: Mixedbread's own is not documented."""
        return errors.refuse(error)


def _input(document: Document) -> dict[str, JsonValue]:
    return {"input": document.text if document.fields is None else document.fields}


DIALECT = MixedbreadDialect()
