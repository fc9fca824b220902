"""Jina's API and nothing but Jina's: `/jina/v1/rerank`.

Documents come back as objects, as in Jina's documentation; that the hosted service writes strings today is told, too,
and every Jina client that was run reads objects.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from pydantic import BaseModel, ConfigDict

from rerankd.dialects import _blocks, _provider
from rerankd.dialects.base import Answer, Call, Incoming, Reply, Route, Stamp
from rerankd.dialects.reading import Count, Documents, Flag, Name, Text, count_from, documents_from, read
from rerankd.errors import RerankError
from rerankd.types import JsonValue, Ranking, RerankRequest


class JinaRequest(BaseModel):
    """A rerank request in Jina's words."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)

    query: Text
    """What is looked for."""
    documents: Documents
    """The candidates: strings, or objects with `text`."""
    model: Name = ""
    """A served model's name; absent: the server's default."""
    top_n: Count = None
    """How many to return, best first; absent or 0: all."""
    return_documents: Flag = True
    """Whether the answer repeats the documents."""


class JinaResponse(BaseModel):
    """The ranking, best first."""

    model_config = ConfigDict(extra="forbid")

    model: str
    object: str
    usage: _blocks.TokenUsage
    results: list[_provider.Result]


@dataclass(frozen=True, slots=True)
class JinaDialect:
    """See the module."""

    name: str = "jina"

    @property
    def routes(self) -> Sequence[Route]:
        """Jina's one path."""
        examples = {"Jina": _provider.EXAMPLE}
        return (
            Route(
                path="/v1/rerank",
                summary="Jina",
                request=JinaRequest,
                response=JinaResponse,
                examples=examples,
                aliases=("/rerank",),
                prefixed=True,
                error=_provider.DetailError,
            ),
        )

    def parse(self, incoming: Incoming) -> Call:
        """Read a body; see `JinaRequest`."""
        wire = read(JinaRequest, incoming.body)
        request = RerankRequest(
            model=wire.model,
            query=wire.query,
            documents=documents_from(cast("list[JsonValue]", wire.documents)),
            top_n=count_from({"top_n": wire.top_n}),
        )
        return Call((request,), Reply(documents=wire.return_documents))

    def answer(self, call: Call, rankings: Sequence[Ranking], stamp: Stamp) -> Answer:
        """Write what it cost, then `results`."""
        del stamp  # this answer has neither id nor time
        (request,), (ranking,) = call.requests, rankings
        body: dict[str, JsonValue] = {
            "model": ranking.model,
            "object": "list",
            "usage": _blocks.usage(ranking),
            "results": _provider.results(request.documents, ranking, texts=call.reply.documents),
        }
        return Answer(200, body)

    def refuse(self, error: RerankError) -> Answer:
        """Write `{"detail"}`."""
        return _provider.refuse_in_detail(error)


DIALECT = JinaDialect()
