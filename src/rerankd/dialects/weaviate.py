"""Weaviate's reranker container: the simple dialect with `property`, `scores` in input order, and errors as strings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from pydantic import BaseModel, ConfigDict

from rerankd.dialects import _simple, errors
from rerankd.dialects._request import StandardRequest
from rerankd.dialects.base import Answer, Call, Incoming, Route, Stamp
from rerankd.errors import RerankError
from rerankd.types import JsonObject, JsonValue, Ranking

_EXAMPLE: JsonObject = {
    "query": "What is the capital of France?",
    "documents": ["Bananas are yellow.", "Paris is the capital of France."],
    "property": "",
}


class WeaviateError(BaseModel):
    """What went wrong, in one sentence, three times."""

    model_config = ConfigDict(extra="forbid")

    detail: str
    message: str
    error: str


@dataclass(frozen=True, slots=True)
class WeaviateDialect:
    """See the module."""

    name: str = "weaviate"

    @property
    def routes(self) -> Sequence[Route]:
        """The one path that reranker-transformers has."""
        return (
            Route(
                path="/rerank",
                summary="Score documents in input order",
                request=StandardRequest,
                response=_simple.SimpleResponse,
                error=WeaviateError,
                examples={"As reranker-transformers sends it": _EXAMPLE},
            ),
        )

    def parse(self, incoming: Incoming) -> Call:
        """Read a body; `scores` are written whether `property` was sent or not."""
        call = _simple.parse(incoming)
        return replace(call, reply=replace(call.reply, input_order_scores=True))

    def answer(self, call: Call, rankings: Sequence[Ranking], stamp: Stamp) -> Answer:
        return _simple.answer(call, rankings, stamp)

    def refuse(self, error: RerankError) -> Answer:
        """Write an error; Weaviate's Go struct takes nothing but a string for `error`."""
        plain = errors.refuse(error)
        body: dict[str, JsonValue] = {**cast("Mapping[str, JsonValue]", plain.body), "error": str(error)}
        return Answer(plain.status, body, plain.headers)


DIALECT = WeaviateDialect()
