"""Infinity's API: `object` is "rerank", documents are strings or null, and a bad body is answered 422 with a list."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from pydantic import BaseModel, ConfigDict
from pydantic.config import JsonDict

from rerankd.dialects import _blocks, errors
from rerankd.dialects.base import Answer, Call, Incoming, Reply, Route, Stamp
from rerankd.dialects.reading import Count, Documents, Flag, Name, Text, documents_from, read
from rerankd.errors import InvalidRequest, RequestTooLarge, RerankError
from rerankd.types import JsonObject, JsonValue, Ranking, RerankRequest

_UNNAMED = "default/not-specified"
_PART = re.compile(r"[^.\[\]]+")
_EXAMPLE: JsonObject = {
    "query": "What is the capital of France?",
    "documents": ["Bananas are yellow.", "Paris is the capital of France."],
    "return_documents": True,
    "raw_scores": False,
    "model": _UNNAMED,
}
_ANSWER: JsonDict = {
    "object": "rerank",
    "results": [{"relevance_score": 0.98, "index": 1, "document": "Paris is the capital of France."}],
    "model": "rerankd-zh-en",
    "usage": {"prompt_tokens": 52, "total_tokens": 52},
    "id": "infinity-7f3c",
    "created": 1795248395,
}


class InfinityRequest(BaseModel):
    """A query and documents. Unknown keys are ignored; null means absent."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)

    query: Text
    """What is looked for."""
    documents: Documents
    """The candidates."""
    return_documents: Flag = False
    """Whether the answer repeats the documents."""
    raw_scores: Flag = False
    """Answer with the model's own numbers instead of probabilities."""
    model: Name = ""
    """A served model's name; absent or `default/not-specified`: the server's default."""
    top_n: Count = None
    """How many to return, best first; absent or 0: all."""


class InfinityResult(BaseModel):
    """One place in the ranking."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    relevance_score: float
    """Between 0 and 1 unless raw scores were asked for; higher is better."""
    index: int
    """Position in the request's `documents`."""
    document: str | None
    """Null unless `return_documents` is true."""


class InfinityResponse(BaseModel):
    """The ranking, best first."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_ANSWER]})

    object: str
    results: list[InfinityResult]
    model: str
    usage: _blocks.TokenUsage
    id: str
    created: int


class InfinityProblem(BaseModel):
    """What was wrong with a body, and where."""

    model_config = ConfigDict(extra="forbid")

    loc: list[str | int]
    msg: str
    type: str


class InfinityError(BaseModel):
    """A list of problems for a bad body; one sentence, and the common form's other keys, for everything else."""

    model_config = ConfigDict(extra="allow")

    detail: list[InfinityProblem] | str


@dataclass(frozen=True, slots=True)
class InfinityDialect:
    """See the module."""

    name: str = "infinity"

    @property
    def routes(self) -> Sequence[Route]:
        """One path; `/v1/rerank` under the prefix only."""
        return (
            Route(
                path="/rerank",
                summary="Rank documents by relevance to a query",
                request=InfinityRequest,
                response=InfinityResponse,
                examples={"As infinity_client sends it": _EXAMPLE},
                aliases=("/v1/rerank",),
                error=InfinityError,
            ),
        )

    def parse(self, incoming: Incoming) -> Call:
        """Read a body; see `InfinityRequest`."""
        wire = read(InfinityRequest, incoming.body)
        request = RerankRequest(
            model="" if wire.model == _UNNAMED else wire.model,
            query=wire.query,
            documents=documents_from(cast("list[JsonValue]", wire.documents)),
            top_n=wire.top_n or None,
            raw_scores=wire.raw_scores,
        )
        return Call((request,), Reply(documents=wire.return_documents))

    def answer(self, call: Call, rankings: Sequence[Ranking], stamp: Stamp) -> Answer:
        """Write the ranking; `document` is always there, null where it was not asked for."""
        (request,), (ranking,) = call.requests, rankings
        body: dict[str, JsonValue] = {
            "object": "rerank",
            "results": [
                {
                    "relevance_score": hit.score,
                    "index": hit.index,
                    "document": request.documents[hit.index].text if call.reply.documents else None,
                }
                for hit in ranking
            ],
            "model": ranking.model,
            "usage": _blocks.usage(ranking),
            "id": f"infinity-{stamp.id}",
            "created": stamp.created,
        }
        return Answer(200, body)

    def refuse(self, error: RerankError) -> Answer:
        """Write a bad body's error as FastAPI does, for infinity_client walks through `detail`; others as usual."""
        if not isinstance(error, InvalidRequest) or (isinstance(error, RequestTooLarge) and not error.field):
            return errors.refuse(error)
        problem: dict[str, JsonValue] = {
            "loc": ["body", *_parts(error.field)],
            "msg": str(error),
            "type": error.kind,
        }
        return Answer(422, {"detail": [problem]})


def _parts(field: str) -> list[JsonValue]:
    """Take a field's name apart: "documents[0].text" is ["documents", 0, "text"]."""
    return [int(part) if part.isdecimal() else part for part in _PART.findall(field)]


DIALECT = InfinityDialect()
