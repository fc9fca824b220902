"""The family contract: texts to encodings, network outputs to raw scores. A family never runs a network itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from rerankd.engines.base import Array, Encoding
from rerankd.types import JsonValue, ScoreType

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A model's files on disk: the folder, its `config.json`, and the names of all its files (relative, with "/")."""

    folder: Path
    config: Mapping[str, JsonValue]
    files: frozenset[str]


@dataclass(frozen=True, slots=True)
class Work(Generic[K]):
    """One request, read: the forward passes it needs, and how their outputs become raw scores.

    `tokens` holds, per document, what its pair costs in usage: query, document and special tokens, whether they had to
    be computed or were still known. `truncated` holds the indexes of documents that did not fit.

    `keep(i, output)` makes of encoding i's output what is needed later; it is called in the worker thread as soon as
    the output is there, once per encoding, in any order, so that token states of a thousand documents do not pile up
    in full precision. `finish` takes what was kept, in the order of the encodings, and returns raw scores of shape
    `(documents,)`. Both compute and are called off the event loop.
    """

    encodings: Sequence[Encoding]
    tokens: Sequence[int]
    truncated: tuple[int, ...]
    keep: Callable[[int, Array], K]
    finish: Callable[[Sequence[K]], Array]

    def score(self, outputs: Sequence[Array]) -> Array:
        """Keep and finish in one go, for whoever has run the network itself: one output per encoding, in order."""
        return self.finish([self.keep(i, output) for i, output in enumerate(outputs)])


class Reader(Protocol):
    """A family opened for one model. Thread-safe; every method computes and is called off the event loop."""

    @property
    def max_tokens(self) -> int:
        """The longest input in tokens, special tokens included."""
        ...

    @property
    def score_type(self) -> ScoreType:
        """What `activate` returns."""
        ...

    def read(self, query: str, documents: Sequence[str]) -> Work[Any]:
        """Tokenise one request. Any text is accepted, empty ones too."""
        ...

    def activate(self, raw_scores: Array) -> Array:
        """Raw scores to scores, element by element, never normalised over a request."""
        ...


@dataclass(frozen=True, slots=True)
class Splitting:
    """How a long document is divided: tokens that neighbouring pieces share, the most pieces, and (None: no limit) how

    many tokens of the document are looked at.
    """

    overlap_tokens: int
    max_pieces: int
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Pieces:
    """A document's pieces in order, at least one, and whether some of the document is in none of them."""

    texts: tuple[str, ...]
    cut: bool


@runtime_checkable
class SplittingReader(Reader, Protocol):
    """A reader that can divide what is too long for it; another one's long documents are cut."""

    def split(self, query: str, document: str, splitting: Splitting) -> Pieces:
        """Divide a document so that each piece fits beside the query; one that fits whole is its own only piece."""
        ...


@runtime_checkable
class CausalReader(Reader, Protocol):
    """A reader of a language model: only engines that run such models from their weights can serve it."""

    @property
    def answers(self) -> tuple[int, ...]:
        """The tokens whose logits after the last token are a pair's output; () where the model has one label."""
        ...

    def instructed(self, instruction: str) -> "CausalReader":
        """The same reader with an instruction for its model; itself where the model knows none."""
        ...


class Family(Protocol):
    """What a family module exports as `FAMILY`."""

    def recognises(self, snapshot: Snapshot) -> bool:
        """Tell whether these files are this family's, from `config.json` and the file names alone."""
        ...

    def open(self, snapshot: Snapshot, *, max_tokens: int | None, cache_bytes: int) -> Reader:
        """Read tokenizer and configuration.

        `max_tokens` lowers the model's own limit. `cache_bytes` bounds what the reader may keep between requests.

        Raises:
            UnsupportedModel: the files are of this family and cannot give one score per pair.
        """
        ...
