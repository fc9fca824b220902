"""llama.cpp's API and nothing but llama.cpp's: `/llamacpp/v1/rerank` and its other names.

`texts` in place of `documents` asks for TEI's bare list, as llama.cpp's server decides, too. llama.cpp answers with the
model's own numbers; here scores are probabilities, as on every other path, and `raw_scores` asks for the numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from pydantic import BaseModel, ConfigDict, Field, RootModel

from rerankd.dialects import _blocks, _provider, errors
from rerankd.dialects.base import Answer, Call, Incoming, Reply, Route, Stamp
from rerankd.dialects.reading import Count, Documents, Flag, Name, Text, count_from, documents_from, read
from rerankd.errors import InvalidRequest, RerankError
from rerankd.types import JsonValue, Ranking, RerankRequest

_BARE_LIST = "bare_list"
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    500: "server_error",
    503: "unavailable_error",
}


class LlamaCppRequest(BaseModel):
    """A rerank request in the words of llama.cpp's server."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)

    query: Text
    """What is looked for."""
    documents: Documents = Field(default_factory=list[object])
    """The candidates."""
    texts: Documents = Field(default_factory=list[object])
    """The candidates, for an answer that is a bare list."""
    model: Name = ""
    """A served model's name; absent: the server's default."""
    top_n: Count = None
    """How many to return, best first; absent or 0: all."""
    return_text: Flag = False
    """With `texts`: whether the answer repeats them."""
    raw_scores: Flag = False
    """Ours: answer with the model's own numbers, as llama.cpp does."""


class LlamaCppResult(BaseModel):
    """One place in the ranking; never with its document."""

    model_config = ConfigDict(extra="forbid")

    index: int
    relevance_score: float


class LlamaCppText(BaseModel):
    """One place in the ranking, in TEI's form."""

    model_config = ConfigDict(extra="forbid")

    index: int
    score: float
    text: str | None = None


class LlamaCppAnswer(BaseModel):
    """The ranking, best first."""

    model_config = ConfigDict(extra="forbid")

    model: str
    object: str
    usage: _blocks.TokenUsage
    results: list[LlamaCppResult]


class LlamaCppResponse(RootModel[LlamaCppAnswer | list[LlamaCppText]]):
    """An object, or a bare list for `texts`."""


class LlamaCppErrorDetails(BaseModel):
    """What went wrong."""

    model_config = ConfigDict(extra="forbid")

    code: int
    message: str
    type: str


class LlamaCppError(BaseModel):
    """An error in OpenAI's words, as far as llama.cpp speaks them."""

    model_config = ConfigDict(extra="forbid")

    error: LlamaCppErrorDetails


@dataclass(frozen=True, slots=True)
class LlamaCppDialect:
    """See the module."""

    name: str = "llamacpp"

    @property
    def routes(self) -> Sequence[Route]:
        """One path, of four names."""
        return (
            Route(
                path="/v1/rerank",
                summary="llama.cpp",
                request=LlamaCppRequest,
                response=LlamaCppResponse,
                examples={
                    "llama.cpp": _provider.EXAMPLE,
                    "llama.cpp, in TEI's words": {"query": _provider.QUERY, "texts": _provider.DOCUMENTS},
                },
                aliases=("/rerank", "/reranking", "/v1/reranking"),
                prefixed=True,
                error=LlamaCppError,
            ),
        )

    def parse(self, incoming: Incoming) -> Call:
        """Read a body; see `LlamaCppRequest`."""
        wire = read(LlamaCppRequest, incoming.body)
        if wire.documents and wire.texts:
            raise InvalidRequest("`texts` and `documents` were both sent: send one of them", field="texts")
        request = RerankRequest(
            model=wire.model,
            query=wire.query,
            documents=documents_from(cast("list[JsonValue]", wire.documents or wire.texts)),
            top_n=count_from({"top_n": wire.top_n}),
            raw_scores=wire.raw_scores,
        )
        return Call((request,), Reply(documents=wire.return_text, shape=_BARE_LIST if wire.texts else ""))

    def answer(self, call: Call, rankings: Sequence[Ranking], stamp: Stamp) -> Answer:
        """Write what it cost, then `results`; a bare list for `texts`."""
        del stamp  # this answer has neither id nor time
        (request,), (ranking,), reply = call.requests, rankings, call.reply
        if reply.shape == _BARE_LIST:
            listed: list[JsonValue] = [
                {"index": hit.index, "score": hit.score}
                | ({"text": request.documents[hit.index].text} if reply.documents else {})
                for hit in ranking
            ]
            return Answer(200, listed)
        body: dict[str, JsonValue] = {
            "model": ranking.model,
            "object": "list",
            "usage": _blocks.usage(ranking),
            "results": _provider.results(request.documents, ranking, texts=False),
        }
        return Answer(200, body)

    def refuse(self, error: RerankError) -> Answer:
        """Write `{"error": {"code", "message", "type"}}`."""
        status = errors.status_of(error)
        kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
        return Answer(status, {"error": {"code": status, "message": str(error), "type": kind}})


DIALECT = LlamaCppDialect()
