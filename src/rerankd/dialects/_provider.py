"""What the providers' native dialects have in common: an example, results with documents as objects, flat errors."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from rerankd.dialects import errors
from rerankd.dialects.base import Answer
from rerankd.errors import RerankError
from rerankd.types import Document, JsonObject, JsonValue, Ranking

QUERY = "What is the capital of France?"
DOCUMENTS = ["Bananas are yellow.", "Paris is the capital of France.", "法国的首都是巴黎。"]
EXAMPLE: JsonObject = {"model": "", "query": QUERY, "documents": DOCUMENTS, "top_n": 2}
"""A request that every provider reads; the empty name is the server's default model."""


class TextDocument(BaseModel):
    """A document, given back."""

    model_config = ConfigDict(extra="forbid")

    text: str


class Result(BaseModel):
    """One place in the ranking; `document` is left out where nobody asked for it."""

    model_config = ConfigDict(extra="forbid")

    index: int
    relevance_score: float
    document: TextDocument | None = None


class DetailError(BaseModel):
    """An error as Jina, Voyage and Xinference write it."""

    model_config = ConfigDict(extra="forbid")

    detail: str


class MessageError(BaseModel):
    """An error as Cohere and LocalAI write it."""

    model_config = ConfigDict(extra="forbid")

    message: str


def results(documents: Sequence[Document], ranking: Ranking, *, texts: bool) -> list[JsonValue]:
    """Write the ranking as `Result`s, best first; `texts` says whether documents come along."""
    return [
        {"index": hit.index, "relevance_score": hit.score}
        | ({"document": {"text": documents[hit.index].text}} if texts else {})
        for hit in ranking
    ]


def refuse_in_detail(error: RerankError) -> Answer:
    """Write a `DetailError`."""
    return Answer(errors.status_of(error), {"detail": str(error)})


def refuse_in_message(error: RerankError) -> Answer:
    """Write a `MessageError`."""
    return Answer(errors.status_of(error), {"message": str(error)})
