"""BM25 (Robertson & Zaragoza 2009, in Lucene's form) over documents in Chinese and other languages, by bm25s."""

import logging
from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from rerankd.evaluation.words import words

K1 = 1.2
B = 0.75
_NO_WORD = ""

Floats = NDArray[np.float32]


class Bm25:
    """An index of documents, by their places. It keeps words, not texts.

    That is 8 bytes per distinct word of each document, and about 55 while it is built.
    """

    def __init__(self, index: Any, vocabulary: dict[str, int], count: int) -> None:
        self._index = index
        self._vocabulary = vocabulary
        self._count = count

    @classmethod
    def build(cls, documents: Iterable[str]) -> Self:
        """Index documents; they are read once, one at a time."""
        import bm25s
        from bm25s.tokenization import Tokenized

        # On import it asks for its own debugging messages, which then stand in everybody's log.
        logging.getLogger("bm25s").setLevel(logging.WARNING)
        vocabulary = {_NO_WORD: 0}
        ids = [array("i", (vocabulary.setdefault(word, len(vocabulary)) for word in words(text))) for text in documents]
        index: Any = bm25s.BM25(method="lucene", k1=K1, b=B, csc_backend="numpy")
        if any(ids):
            index.index(Tokenized(ids=ids, vocab=vocabulary), show_progress=False)  # pyright: ignore[reportArgumentType]
        else:
            index = None
        return cls(index, vocabulary, len(ids))

    def __len__(self) -> int:
        return self._count

    def scores(self, query: str) -> Floats:
        """Score every document, shape `(documents,)`; 0 where no word is shared."""
        ids = [self._vocabulary[word] for word in words(query) if word in self._vocabulary]
        if self._index is None or not ids:
            return np.zeros(self._count, np.float32)
        return np.asarray(self._index.get_scores_from_ids(ids), np.float32)

    def scores_of(self, query: str, places: Sequence[int]) -> Floats:
        """Score the documents at these places."""
        return self.scores(query)[np.asarray(places, np.int64)]

    def top(self, query: str, k: int) -> list[int]:
        """Return the places of the best `k` documents that share a word with the query, best first, ties by place."""
        scores = self.scores(query)
        found = np.flatnonzero(scores > 0)
        if len(found) > k:
            least = np.partition(scores[found], -k)[-k]
            found = found[scores[found] >= least]
        order = np.argsort(-scores[found], kind="stable")[:k]
        return [int(place) for place in found[order]]
