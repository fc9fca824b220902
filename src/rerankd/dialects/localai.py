"""LocalAI's API and nothing but LocalAI's: `/localai/v1/rerank`. Documents always come back.

LocalAI answers with the model's own numbers; here scores are probabilities, as on every other path, and `raw_scores`
asks for the numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from pydantic import BaseModel, ConfigDict

from rerankd.dialects import _blocks, _provider
from rerankd.dialects.base import Answer, Call, Incoming, Route, Stamp
from rerankd.dialects.reading import Count, Documents, Flag, Name, Text, count_from, documents_from, read
from rerankd.errors import RerankError
from rerankd.types import JsonValue, Ranking, RerankRequest


class LocalAIRequest(BaseModel):
    """A rerank request in LocalAI's words."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)

    query: Text
    """What is looked for."""
    documents: Documents
    """The candidates."""
    model: Name = ""
    """A served model's name; absent: the server's default."""
    top_n: Count = None
    """How many to return, best first; absent or 0: all."""
    raw_scores: Flag = False
    """Ours: answer with the model's own numbers, as LocalAI does."""


class LocalAIResponse(BaseModel):
    """The ranking, best first."""

    model_config = ConfigDict(extra="forbid")

    model: str
    usage: _blocks.TokenUsage
    results: list[_provider.Result]


@dataclass(frozen=True, slots=True)
class LocalAIDialect:
    """See the module."""

    name: str = "localai"

    @property
    def routes(self) -> Sequence[Route]:
        """LocalAI's one path."""
        examples = {"LocalAI": _provider.EXAMPLE}
        return (
            Route(
                path="/v1/rerank",
                summary="LocalAI",
                request=LocalAIRequest,
                response=LocalAIResponse,
                examples=examples,
                aliases=("/rerank",),
                prefixed=True,
                error=_provider.MessageError,
            ),
        )

    def parse(self, incoming: Incoming) -> Call:
        """Read a body; see `LocalAIRequest`."""
        wire = read(LocalAIRequest, incoming.body)
        request = RerankRequest(
            model=wire.model,
            query=wire.query,
            documents=documents_from(cast("list[JsonValue]", wire.documents)),
            top_n=count_from({"top_n": wire.top_n}),
            raw_scores=wire.raw_scores,
        )
        return Call((request,))

    def answer(self, call: Call, rankings: Sequence[Ranking], stamp: Stamp) -> Answer:
        """Write what it cost, then `results`."""
        del stamp  # this answer has neither id nor time
        (request,), (ranking,) = call.requests, rankings
        body: dict[str, JsonValue] = {
            "model": ranking.model,
            "usage": _blocks.usage(ranking),
            "results": _provider.results(request.documents, ranking, texts=True),
        }
        return Answer(200, body)

    def refuse(self, error: RerankError) -> Answer:
        """Write `{"message"}`."""
        return _provider.refuse_in_message(error)


DIALECT = LocalAIDialect()
