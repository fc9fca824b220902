"""Requests to measure with: made of words from a seed, or read from a user's file.

No request is like another, so that no server answers from memory; the same seed makes the same requests everywhere.
Documents share words with their query to different degrees, so that there is an order to find.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from rerankd.bench.words import CHINESE, ENGLISH
from rerankd.errors import InvalidRequest
from rerankd.types import JsonValue

MEDIAN_TOKENS = 150
_SIGMA = 0.65
_LEAST_TOKENS, _MOST_TOKENS = 30, 500
"""Lengths of documents without `doc_tokens`: log-normal, cut off at both ends; 5 % are under 51, 5 % over 437."""
_QUERY_TOKENS = (8, 19)
_SENTENCE_WORDS = 14
_COMMON = 40.0  # how much more often the first word is drawn than the last: between prose and a flat draw
_MOST_PLANTED = 0.12  # share of a document's words that may be its query's

CountTokens = Callable[[str], int]


@dataclass(frozen=True, slots=True)
class BenchRequest:
    """A query and its documents."""

    query: str
    documents: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Language:
    words: tuple[str, ...]
    tokens_per_word: float
    space: str
    stop: str

    def write(self, random: np.random.Generator, tokens: float, planted: Sequence[str] = ()) -> str:
        """Write prose of about `tokens`, in which some words are of `planted`."""
        count = max(1, round(tokens / self.tokens_per_word))
        weights = 1 / (np.arange(len(self.words)) + len(self.words) / _COMMON)
        drawn = random.choice(len(self.words), count, p=weights / weights.sum())
        words: list[str] = [self.words[int(i)] for i in drawn]
        share = random.uniform(0, _MOST_PLANTED) if planted and random.random() < 0.5 else 0.0
        for place in random.choice(count, math.floor(share * count), replace=False):
            words[place] = planted[int(random.integers(len(planted)))]
        sentences = [words[i : i + _SENTENCE_WORDS] for i in range(0, count, _SENTENCE_WORDS)]
        return self.space.join(self.space.join(sentence) + self.stop for sentence in sentences)


class RequestMaker:
    """Makes requests in English and Chinese by turns; each depends on the seed, its size and its number only."""

    def __init__(self, *, seed: int = 1, doc_tokens: int | None = None, count: CountTokens | None = None) -> None:
        """Set up; `doc_tokens` gives every document that length, in tokens without special ones.

        Lengths are met on average: words are counted, at the tokens per word that `count` finds (the tokens of a text;
        without it, those of a common multilingual vocabulary).
        """
        self._seed = seed
        self._doc_tokens = doc_tokens
        self._count = count
        self._languages = (
            _Language(ENGLISH, _tokens_per_word(ENGLISH, " ", count) if count else 1.2, " ", "."),
            _Language(CHINESE, _tokens_per_word(CHINESE, "", count) if count else 1.2, "", "。"),
        )

    def with_length(self, doc_tokens: int) -> "RequestMaker":
        """Return a maker of documents of that length, else like this one."""
        return RequestMaker(seed=self._seed, doc_tokens=doc_tokens, count=self._count)

    def make(self, documents: int, number: int) -> BenchRequest:
        """Make the request of that number with so many documents."""
        random = np.random.default_rng([self._seed, documents, number])
        language = self._languages[number % len(self._languages)]
        query = language.write(random, float(random.integers(*_QUERY_TOKENS)))
        asked = query.rstrip(language.stop)
        planted = asked.split() if language.space else [word for word in language.words if word in asked]
        texts = [language.write(random, self._length(random), planted) for _ in range(documents)]
        return BenchRequest(query, tuple(texts))

    def batch(self, documents: int, first: int, count: int) -> list[BenchRequest]:
        """Make `count` requests, numbered from `first`."""
        return [self.make(documents, number) for number in range(first, first + count)]

    def _length(self, random: np.random.Generator) -> float:
        if self._doc_tokens is not None:
            return float(self._doc_tokens)
        return float(np.clip(random.lognormal(math.log(MEDIAN_TOKENS), _SIGMA), _LEAST_TOKENS, _MOST_TOKENS))


def read_requests(file: Path) -> list[BenchRequest]:
    """Read JSON Lines of objects with `query` and `documents` (texts, or objects with a `text`).

    Raises:
        InvalidRequest: a line is something else; the message has its number.
    """
    found: list[BenchRequest] = []
    for number, line in enumerate(file.read_text("utf-8-sig").split("\n"), start=1):
        if line.strip():
            found.append(_request(line, number))
    if not found:
        raise InvalidRequest("the file holds no request: write one JSON object a line, with `query` and `documents`")
    return found


def _request(line: str, number: int) -> BenchRequest:
    try:
        value = cast("JsonValue", json.loads(line))
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"line {number} is not JSON: {error}") from error
    query = value.get("query") if isinstance(value, dict) else None
    documents = value.get("documents") if isinstance(value, dict) else None
    texts = [_text(document) for document in documents] if isinstance(documents, list) else []
    if not isinstance(query, str) or not texts or None in texts:
        raise InvalidRequest(f'line {number} is no request: write {{"query": "…", "documents": ["…", "…"]}}')
    return BenchRequest(query, tuple(text for text in texts if text is not None))


def _text(document: JsonValue) -> str | None:
    text = document.get("text") if isinstance(document, dict) else document
    return text if isinstance(text, str) else None


def _tokens_per_word(words: Sequence[str], space: str, count: CountTokens) -> float:
    """Measure on short pieces, which fit into any model's limit, drawn as `write` draws: common words more often."""
    random = np.random.default_rng(0)
    weights = 1 / (np.arange(len(words)) + len(words) / _COMMON)
    drawn: list[str] = [words[int(i)] for i in random.choice(len(words), 400, p=weights / weights.sum())]
    pieces = [space.join(drawn[i : i + 8]) for i in range(0, len(drawn), 8)]
    empty = count("")
    return max(0.1, sum(count(piece) - empty for piece in pieces) / len(drawn))
