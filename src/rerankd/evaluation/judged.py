"""What is judged: queries, their candidate documents, and what people said about them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JudgedQuery:
    """A query, its candidates in the order they came, and every judgement of it.

    `ids` and `documents` (texts) belong together, place by place. `judgements` is document id -> gain: 0 irrelevant,
    more is better; it also names documents that are no candidates, because recall and ideal gain count them. A document
    without an entry is unjudged and counts as irrelevant. `subset` is what results are broken down by: a language.
    """

    id: str
    query: str
    ids: tuple[str, ...]
    documents: tuple[str, ...]
    judgements: Mapping[str, float]
    subset: str = ""

    @property
    def gains(self) -> tuple[float, ...]:
        """The gain of each candidate, 0 where it is unjudged."""
        return tuple(self.judgements.get(id_, 0.0) for id_ in self.ids)


@dataclass(frozen=True, slots=True)
class JudgedSet:
    """Queries under one name. `order` says what put the candidates in order: "given", "bm25" or "none" (shuffled)."""

    name: str
    queries: Sequence[JudgedQuery]
    order: str = "given"
