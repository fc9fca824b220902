"""The words of this server: what a rerank is, whatever API asked for it.

Nothing here imports the rest of the package, pydantic, or an HTTP library.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import overload

JsonValue = None | bool | int | float | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"]
JsonObject = Mapping[str, JsonValue]


GIVEN_ORDER = "given-order"
"""Stands in an answer for a model, where documents were left in the order in which they came."""


class ScoreType(StrEnum):
    """What a score means, so that nobody has to guess its scale."""

    PROBABILITY = "probability"
    """After a sigmoid: between 0 and 1, the same scale in every request."""
    LOGIT = "logit"
    """What the model outputs: any real number, higher is better."""
    POSITION = "position"
    """No model has scored: the numbers only fall with the place in the order given."""


class LongDocuments(StrEnum):
    """What happens to a document that does not fit beside its query."""

    CHUNK = "chunk"
    """It is divided into overlapping chunks, each is scored."""
    TRUNCATE = "truncate"
    """Its end is cut off, and the answer says so."""
    ERROR = "error"
    """The request is refused."""


class OnDeadline(StrEnum):
    """What a caller wants when time runs out before every document is scored."""

    ERROR = "error"
    PARTIAL = "partial"
    """The ranking of those that are scored by then, and the indexes of the others."""


class Lane(StrEnum):
    """Who goes first. Neither lane ever starves the other."""

    INTERACTIVE = "interactive"
    """Somebody waits for the answer."""
    BACKGROUND = "background"
    """Nobody does: batches, evaluations. It gets what the interactive lane leaves, and a little beside it."""


class ChunkScores(StrEnum):
    """How a document's score is made of its chunks' raw scores."""

    MAX = "max"
    MEAN_TOP_2 = "mean_top_2"
    FIRST = "first"


@dataclass(frozen=True, slots=True)
class Document:
    """One candidate: its text, and the fields it came with where a caller sent an object."""

    text: str
    fields: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """One (query, document) to score."""

    query: str
    document: str


@dataclass(frozen=True, slots=True)
class RerankRequest:
    """A query, its candidate documents, and how many to return, best first.

    `model` "" means the server's default. `top_n` None means all. `raw_scores` asks for the model's own numbers
    instead of the activated scores. `truncate` False makes an over-long document an error instead of a cut.
    `long_documents`, `max_chunks_per_doc` and `overlap_tokens` None mean what the server is set to; a request can ask
    for fewer chunks, not for more. `max_tokens_per_doc` cuts every document to that many tokens first.
    `instruction` tells a model that was trained with instructions what relevance means; other models pass over it.
    `deadline_s` is how long the caller waits, in seconds; None means the server's limit, which it cannot exceed.
    `left_s` is what remains of the time for the whole call that it came in, whatever it says itself.
    `fresh` scores past the cache.
    """

    query: str
    documents: tuple[Document, ...]
    model: str = ""
    top_n: int | None = None
    raw_scores: bool = False
    truncate: bool = True
    instruction: str = ""
    long_documents: LongDocuments | None = None
    max_chunks_per_doc: int | None = None
    overlap_tokens: int | None = None
    max_tokens_per_doc: int | None = None
    deadline_s: float | None = None
    left_s: float | None = None
    on_deadline: OnDeadline = OnDeadline.ERROR
    lane: Lane = Lane.INTERACTIVE
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Ranked:
    """One place in a ranking: the document's position in the request, and its score."""

    index: int
    score: float


@dataclass(frozen=True, slots=True)
class Usage:
    """What a request cost. `tokens` counts what the model reads for all pairs, special tokens included;

    a pair answered from a cache counts as if it had been computed, so that the same request always costs the same.
    """

    tokens: int = 0
    pairs: int = 0
    cached_pairs: int = 0


@dataclass(frozen=True, slots=True)
class Timing:
    """Where a request's time went, in seconds of wall clock."""

    total_s: float = 0.0
    tokenization_s: float = 0.0
    inference_s: float = 0.0
    """From entering the scheduler's queue to the last score: waiting and computing."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A model of a cascade, and the indexes of the documents whose score is its own."""

    model: str
    documents: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Ranking(Sequence[Ranked]):
    """The ordered answer: best first, ties by index.

    `model` is the served id. `truncated` holds the indexes of the documents of which something was not read,
    `chunked` those of which several chunks were scored, `unscored` those that are missing because time ran out.
    `stages` tells which model of a cascade scored what; () where one model scored all. `fallback` tells who answered in
    place of the model that was asked for, while that loads: a model's id, or `GIVEN_ORDER`; "" where itself did.
    """

    items: tuple[Ranked, ...]
    model: str
    score_type: ScoreType
    usage: Usage = field(default_factory=Usage)
    timing: Timing = field(default_factory=Timing)
    truncated: tuple[int, ...] = ()
    chunked: tuple[int, ...] = ()
    unscored: tuple[int, ...] = ()
    stages: tuple[Stage, ...] = ()
    fallback: str = ""

    @overload
    def __getitem__(self, index: int) -> Ranked: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Ranked, ...]: ...
    def __getitem__(self, index: int | slice) -> Ranked | tuple[Ranked, ...]:
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)


class Health(StrEnum):
    """Whether a server answers, and if not, what it waits for."""

    READY = "ready"
    LOADING = "loading"
    FAILED = "failed"
    """The default model cannot be loaded."""
    POOR = "poor"
    """It ranks a golden set worse than it is set to."""
    UNWELL = "unwell"
    """Batch after batch fails; it tries by itself until one succeeds."""
    DRAINING = "draining"
    """It is stopping: what is in flight is finished, nothing new should come."""


class ModelState(StrEnum):
    """Where a model is between its name and its first score."""

    UNLOADED = "unloaded"
    """Its first request, or the next one, loads it."""
    RESOLVING = "resolving"
    DOWNLOADING = "downloading"
    CONVERTING = "converting"
    LOADING = "loading"
    WARMING = "warming"
    JUDGING = "judging"
    """A newer revision is compared with the one in use."""
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a download has come, in bytes. `total_bytes` is 0 while it is not known."""

    done_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Verified:
    """A certificate in short: how far our scores were from the reference's at most, over the fixed pairs."""

    max_abs_diff: float
    reference: str
    precision: str


@dataclass(frozen=True, slots=True)
class GoldenScores:
    """How scores that others published for this model compared with ours when it was loaded.

    `difference` is that of the pair which is nearest to what is `allowed` for it, or furthest beyond; `sources` are the
    files that the scores were read in.
    """

    agree: bool
    pairs: int
    difference: float
    allowed: float
    sources: tuple[str, ...]

    def facts(self) -> JsonObject:
        """For an answer."""
        return {
            "agree": self.agree,
            "pairs": self.pairs,
            "difference": round(self.difference, 6),
            "allowed": round(self.allowed, 6),
            "sources": list(self.sources),
        }


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What callers may know about a served model.

    `id` has no "/" in it (some clients forbid it); `names` are all the names that reach it, `id` first.
    `max_tokens` is the longest input, query and document together, in tokens. `progress` is there while its files are
    fetched, `verified` where a certificate of `rerankd verify` matches the files, the precision and the engine of this
    very model. `memory_bytes` is what its weights take (0: not known yet), `in_flight` how many requests use it now.
    `revision` names the snapshot of its repository ("" for a folder of one's own); `updating` is the state of a newer
    one that is being made ready beside it, and `progress` is then its.
    `precision_reason` says why it is this precision; `agreement` holds what was measured of int8 against fp32, {} where
    nothing was.
    """

    id: str
    names: tuple[str, ...]
    state: ModelState
    family: str = ""
    engine: str = ""
    precision: str = ""
    score_type: ScoreType = ScoreType.PROBABILITY
    max_tokens: int = 0
    fingerprint: str = ""
    failure: str = ""
    progress: Progress | None = None
    verified: Verified | None = None
    golden: GoldenScores | None = None
    """Known scores of its card, where it has some."""
    memory_bytes: int = 0
    in_flight: int = 0
    revision: str = ""
    updating: ModelState | None = None
    precision_reason: str = ""
    agreement: JsonObject = field(default_factory=dict[str, JsonValue])
    score_from: str = ""
    """How scores come from what the network outputs, such as "sigmoid(raw)"."""


class Scope(StrEnum):
    """What a key opens."""

    RERANK = "rerank"
    """Ranking, and what tells about the models."""
    METRICS = "metrics"
    """`/metrics`, where it is closed (`auth.open_metrics`)."""
    ADMIN = "admin"
    """Whatever changes the server. Never without a key."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, after authentication. `name` is safe to log; the key itself never comes this far.

    `anonymous`: no key was asked for, so that the name says nothing about who it is. `limits` are its own, as people
    write them ("600 requests/minute").
    """

    name: str = "anonymous"
    scopes: frozenset[Scope] = frozenset({Scope.RERANK, Scope.METRICS})
    anonymous: bool = True
    limits: tuple[str, ...] = ()


class Unit(StrEnum):
    """What a caller's use is counted in: calls, documents to score, tokens that were read."""

    REQUESTS = "requests"
    PAIRS = "pairs"
    TOKENS = "tokens"
