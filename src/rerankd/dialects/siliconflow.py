"""SiliconFlow's API and nothing but SiliconFlow's: `/siliconflow/v1/rerank`.

Tokens stand where the older answer has them (`tokens`) and where the newer one does (`meta`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from pydantic import BaseModel, ConfigDict

from rerankd.dialects import _blocks, _provider, errors
from rerankd.dialects.base import Answer, Call, Incoming, Reply, Route, Stamp
from rerankd.dialects.reading import Count, Documents, Flag, Name, Text, count_from, documents_from, read
from rerankd.errors import RerankError
from rerankd.types import JsonObject, JsonValue, Ranking, RerankRequest


class SiliconFlowRequest(BaseModel):
    """A rerank request in SiliconFlow's words."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)

    query: Text
    """What is looked for."""
    documents: Documents
    """The candidates; a lone string is one document."""
    model: Name = ""
    """A served model's name; absent: the server's default."""
    top_n: Count = None
    """How many to return, best first; absent or 0: all."""
    return_documents: Flag = False
    """Whether the answer repeats the documents."""
    instruction: Name = ""
    """What relevance means, for models that were trained with instructions."""
    max_chunks_per_doc: Count = None
    """At most this many chunks of one long document are scored; absent: the server's setting."""
    overlap_tokens: Count = None
    """Tokens that neighbouring chunks of a long document share; absent: the server's setting."""


class SiliconFlowUnits(BaseModel):
    """What was billed: the tokens read. The other units are always 0."""

    model_config = ConfigDict(extra="forbid")

    input_tokens: int
    output_tokens: int
    search_units: int
    classifications: int


class SiliconFlowMeta(BaseModel):
    """The newer form of the count."""

    model_config = ConfigDict(extra="forbid")

    billed_units: SiliconFlowUnits
    tokens: _blocks.CohereTokens


class SiliconFlowResponse(BaseModel):
    """The ranking, best first."""

    model_config = ConfigDict(extra="forbid")

    id: str
    results: list[_provider.Result]
    tokens: _blocks.CohereTokens
    meta: SiliconFlowMeta


class SiliconFlowError(BaseModel):
    """What went wrong; `code` is the HTTP status."""

    model_config = ConfigDict(extra="forbid")

    code: int
    message: str
    data: None


@dataclass(frozen=True, slots=True)
class SiliconFlowDialect:
    """See the module."""

    name: str = "siliconflow"

    @property
    def routes(self) -> Sequence[Route]:
        """SiliconFlow's one path."""
        examples: dict[str, JsonObject] = {"SiliconFlow": {**_provider.EXAMPLE, "return_documents": True}}
        return (
            Route(
                path="/v1/rerank",
                summary="SiliconFlow",
                request=SiliconFlowRequest,
                response=SiliconFlowResponse,
                examples=examples,
                aliases=("/rerank",),
                prefixed=True,
                error=SiliconFlowError,
            ),
        )

    def parse(self, incoming: Incoming) -> Call:
        """Read a body; see `SiliconFlowRequest`."""
        wire = read(SiliconFlowRequest, incoming.body)
        request = RerankRequest(
            model=wire.model,
            query=wire.query,
            documents=documents_from(cast("list[JsonValue]", wire.documents)),
            top_n=count_from({"top_n": wire.top_n}),
            instruction=wire.instruction,
            max_chunks_per_doc=wire.max_chunks_per_doc,
            overlap_tokens=wire.overlap_tokens,
        )
        return Call((request,), Reply(documents=wire.return_documents))

    def answer(self, call: Call, rankings: Sequence[Ranking], stamp: Stamp) -> Answer:
        """Write `results`, then what it cost, twice."""
        (request,), (ranking,) = call.requests, rankings
        tokens: JsonObject = {"input_tokens": _blocks.tokens_of(ranking), "output_tokens": 0}
        body: dict[str, JsonValue] = {
            "id": stamp.id,
            "results": _provider.results(request.documents, ranking, texts=call.reply.documents),
            "tokens": tokens,
            "meta": {"billed_units": {**tokens, "search_units": 0, "classifications": 0}, "tokens": tokens},
        }
        return Answer(200, body)

    def refuse(self, error: RerankError) -> Answer:
        """Write `{"code", "message", "data"}`; the code is the HTTP status."""
        status = errors.status_of(error)
        return Answer(status, {"code": status, "message": str(error), "data": None})


DIALECT = SiliconFlowDialect()
