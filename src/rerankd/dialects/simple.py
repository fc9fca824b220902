"""The simple dialect: `query` and `documents` without a model on `/rerank`, answered with plain strings and scores.

Home-made clients read `results[].document` as a string and `results[].score`, or `ranked_results[]` where they send
`top_k`; Milvus reads `results[].relevance_score`. One answer serves them all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rerankd.dialects import _simple, errors
from rerankd.dialects._request import StandardRequest
from rerankd.dialects.base import Answer, Call, Incoming, Route, Stamp
from rerankd.errors import RerankError
from rerankd.types import JsonObject, Ranking

_EXAMPLE: JsonObject = {
    "query": "What is the capital of France?",
    "documents": ["Bananas are yellow.", "Paris is the capital of France."],
}


@dataclass(frozen=True, slots=True)
class SimpleDialect:
    """See the module."""

    name: str = "simple"

    @property
    def routes(self) -> Sequence[Route]:
        """One path; `/v1/rerank` under the prefix only."""
        examples = {"A query and documents": _EXAMPLE, "The best one": {**_EXAMPLE, "top_k": 1}}
        alone = Route(
            path="/rerank",
            summary="Rank documents by relevance to a query",
            request=StandardRequest,
            response=_simple.SimpleResponse,
            examples=examples,
        )
        return alone, replace(alone, path="/v1/rerank", prefixed=True)

    def parse(self, incoming: Incoming) -> Call:
        return _simple.parse(incoming)

    def answer(self, call: Call, rankings: Sequence[Ranking], stamp: Stamp) -> Answer:
        return _simple.answer(call, rankings, stamp)

    def refuse(self, error: RerankError) -> Answer:
        return errors.refuse(error)


DIALECT = SimpleDialect()
