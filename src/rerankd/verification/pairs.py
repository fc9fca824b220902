"""The fixed set of pairs: short, long, over-long, empty, emoji, code, identical, in several languages."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import cast

from rerankd.types import Pair

_CHARS_PER_TOKEN = 6
"""So that an over-long text is longer than the limit in any tokenizer's count of ordinary words."""


@dataclass(frozen=True, slots=True)
class VerificationPair:
    """A pair and what it is there to show. `fill` repeats its document until it is longer than a model's limit."""

    kind: str
    query: str
    document: str
    fill: bool

    def pair(self, max_tokens: int) -> Pair:
        """The pair for a model with this limit."""
        if not self.fill:
            return Pair(self.query, self.document)
        times = max_tokens * _CHARS_PER_TOKEN // len(self.document) + 1
        return Pair(self.query, self.document * times)


@cache
def pairs() -> Sequence[VerificationPair]:
    """Read the set that ships with the package."""
    text = (resources.files("rerankd.verification") / "pairs.json").read_text("utf-8")
    found = cast("list[dict[str, str | bool]]", json.loads(text))
    return tuple(
        VerificationPair(str(one["kind"]), str(one["query"]), str(one["document"]), bool(one.get("fill")))
        for one in found
    )
