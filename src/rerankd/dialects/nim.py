"""NVIDIA NIM's API: `/v1/ranking`, and wherever else a body has `passages`.

Answers are the model's own numbers: NIM's clients (Dify, RAGFlow) take the sigmoid themselves. A passage that is too
long is cut unless `truncate` is "NONE"; NIM itself would refuse it by default.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from pydantic import BaseModel, ConfigDict

from rerankd.dialects import _blocks, errors
from rerankd.dialects._provider import DOCUMENTS, QUERY
from rerankd.dialects.base import Answer, Call, Incoming, Route, Stamp
from rerankd.dialects.reading import Count, Documents, Name, Text, count_from, documents_from, read
from rerankd.errors import RerankError
from rerankd.types import JsonObject, JsonValue, Ranking, RerankRequest

_EXAMPLE: JsonObject = {
    "model": "",
    "query": {"text": QUERY},
    "passages": [{"text": text} for text in DOCUMENTS],
    "truncate": "END",
}


class NimRequest(BaseModel):
    """A ranking request in NIM's words."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)

    query: Text
    """What is looked for: `{"text": …}`."""
    passages: Documents
    """The candidates: a list of `{"text": …}`."""
    model: Name = ""
    """A served model's name; absent: the server's default."""
    truncate: Name = "END"
    """"NONE" makes a passage that is too long an error; anything else cuts it."""
    top_n: Count = None
    """How many to return, best first; absent or 0: all. Sent by RAGFlow."""


class NimRanking(BaseModel):
    """One place in the ranking."""

    model_config = ConfigDict(extra="forbid")

    index: int
    logit: float


class NimResponse(BaseModel):
    """The ranking, best first."""

    model_config = ConfigDict(extra="forbid")

    rankings: list[NimRanking]
    usage: _blocks.TokenUsage


class NimError(BaseModel):
    """What went wrong."""

    model_config = ConfigDict(extra="forbid")

    object: str
    message: str
    detail: str
    type: str


@dataclass(frozen=True, slots=True)
class NimDialect:
    """See the module."""

    name: str = "nim"

    @property
    def routes(self) -> Sequence[Route]:
        """NIM's path, LangChain's without the version, and under the prefix also RAGFlow's and Dify's `/reranking`."""
        examples = {"NVIDIA NIM": _EXAMPLE}
        return (
            Route(
                path="/v1/ranking",
                summary="NVIDIA NIM",
                request=NimRequest,
                response=NimResponse,
                examples=examples,
                aliases=("/ranking",),
                error=NimError,
            ),
            Route(
                path="/v1/reranking",
                summary="NVIDIA NIM",
                request=NimRequest,
                response=NimResponse,
                examples=examples,
                aliases=("/reranking",),
                prefixed=True,
                error=NimError,
            ),
        )

    def parse(self, incoming: Incoming) -> Call:
        """Read a body; see `NimRequest`."""
        wire = read(NimRequest, incoming.body)
        request = RerankRequest(
            model=wire.model,
            query=wire.query,
            documents=documents_from(cast("list[JsonValue]", wire.passages), field="passages"),
            top_n=count_from({"top_n": wire.top_n}),
            raw_scores=True,
            truncate=wire.truncate.upper() != "NONE",
        )
        return Call((request,))

    def answer(self, call: Call, rankings: Sequence[Ranking], stamp: Stamp) -> Answer:
        """Write `rankings`, then what it cost."""
        del call, stamp  # the ranking says it all
        (ranking,) = rankings
        body: dict[str, JsonValue] = {
            "rankings": [{"index": hit.index, "logit": hit.score} for hit in ranking],
            "usage": _blocks.usage(ranking),
        }
        return Answer(200, body)

    def refuse(self, error: RerankError) -> Answer:
        """Write NIM's flat error; LangChain's client shows `message` and `detail`."""
        status = errors.status_of(error)
        kind = "invalid_request_error" if status < 500 else "internal_server_error"
        body: dict[str, JsonValue] = {"object": "error", "message": str(error), "detail": str(error), "type": kind}
        return Answer(status, body)


DIALECT = NimDialect()
