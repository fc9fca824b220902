"""A model small enough to predict: a document's raw score is how often the query's first letter stands in it."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from rerankd.engines.base import Array, Encoding
from rerankd.families.base import Work
from rerankd.metrics import Metrics
from rerankd.models.loaded import LoadedModel
from rerankd.models.loader import Report
from rerankd.models.pool import ModelPool
from rerankd.registry.resolve import Entry
from rerankd.sources.base import Reference
from rerankd.types import ModelInfo, ModelState, ScoreType

MAX_TOKENS = 20


@dataclass
class CountingEngine:
    """Counts the letters; `gate` holds it up."""

    runs: list[int] = field(default_factory=list[int])
    gate: threading.Event = field(default_factory=threading.Event)
    fail: bool = False
    max_batch_tokens: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    def run(self, batch: Sequence[Encoding]) -> Sequence[Array]:
        assert self.gate.wait(10)
        if self.fail:
            raise MemoryError("secret detail")
        self.runs += [encoding.tokens for encoding in batch]
        return [np.array([np.count_nonzero(e.ids[1:] == e.ids[0])], np.float32) for e in batch]

    def close(self) -> None:
        return


class LetterReader:
    """One token a letter, the query's first letter first, cut at 20."""

    max_tokens = MAX_TOKENS
    score_type = ScoreType.PROBABILITY

    def read(self, query: str, documents: Sequence[str]) -> Work[np.float32]:
        encodings = [self._encode(query, document) for document in documents]
        cut = tuple(i for i, document in enumerate(documents) if len(document) + 1 > MAX_TOKENS)
        tokens = [encoding.tokens for encoding in encodings]
        return Work(encodings, tokens, cut, lambda _, output: output[0], lambda kept: np.array(kept, np.float32))

    def activate(self, raw_scores: Array) -> Array:
        return np.asarray(1 / (1 + np.exp(-raw_scores)), np.float32)

    @staticmethod
    def _encode(query: str, document: str) -> Encoding:
        letters = [ord(letter) for letter in (query[:1] or " ") + document][:MAX_TOKENS]
        ids = np.array(letters, np.int64)
        return Encoding(ids, np.zeros_like(ids))


@dataclass
class FakeLoader:
    """Loads the letter model, or what `load_hook` makes of it."""

    engine: CountingEngine
    load_hook: Callable[[str], None] = lambda _: None

    def load(self, entry: Entry, report: Report) -> LoadedModel:
        report(ModelState.LOADING)
        self.load_hook(entry.id)
        info = ModelInfo(entry.id, entry.names, ModelState.READY, "letters", "fake", "fp32",
                         ScoreType.PROBABILITY, MAX_TOKENS, f"fingerprint-{entry.id}")  # fmt: skip
        return LoadedModel(info, LetterReader(), self.engine)


def entry(name: str, *aliases: str) -> Entry:
    return Entry(name, (name, *aliases), Reference("fake", name))


def pool(engine: CountingEngine, *names: str, load_hook: Callable[[str], None] = lambda _: None) -> ModelPool:
    return ModelPool([entry(name) for name in names or ("letters",)], FakeLoader(engine, load_hook).load, Metrics())
