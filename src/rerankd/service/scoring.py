"""From a loaded model and a request to one raw score per document: divide, remember, read, run."""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from rerankd import phases
from rerankd.cache import off
from rerankd.cache.base import PairScore, ScoreCache, pair_key
from rerankd.engines.base import Array
from rerankd.errors import InvalidRequest
from rerankd.families.base import CausalReader, Work
from rerankd.metrics import Metrics
from rerankd.models.loaded import LoadedModel
from rerankd.scheduler.batching import BACKGROUND, Share
from rerankd.scheduler.scheduler import Scheduler
from rerankd.service.chunking import Chunking, plan
from rerankd.service.flights import Flights
from rerankd.types import Lane, LongDocuments, RerankRequest

T = TypeVar("T")

_NO_CACHE = off.CACHE.open("off://", max_bytes=0)

_CHARACTERS_PER_TOKEN = 6
"""More than a token has in ordinary text of any language: what is counted with it are fewer tokens than there are."""


@dataclass(slots=True)
class Effort:
    """What one request may take and has taken: its place among the others, when it must be done, seconds spent.

    `until` is in the event loop's time; None means that a late answer is cut short rather than refused.
    """

    lane: Lane
    until: float | None
    share: Share = field(init=False)
    tokenization_s: float = 0.0
    inference_s: float = 0.0

    def __post_init__(self) -> None:
        self.share = Share(BACKGROUND if self.lane is Lane.BACKGROUND else 1)

    def left_s(self) -> float | None:
        """Seconds until it must be done."""
        return None if self.until is None else self.until - asyncio.get_running_loop().time()


@dataclass(frozen=True, slots=True)
class Scores:
    """One entry per document; `pairs` and `cached` count what was scored for them, chunks one by one."""

    entries: Sequence[PairScore]
    pairs: int
    cached: int
    chunked: tuple[int, ...]


class Scorer:
    """Scores documents with any model. Lives on one event loop; the arithmetic runs beside it."""

    def __init__(self, scheduler: Scheduler, cache: ScoreCache, metrics: Metrics, chunking: Chunking) -> None:
        self._scheduler = scheduler
        self._cache = cache
        self._metrics = metrics
        self._chunking = chunking
        self._flights = Flights()
        # Tokenising and late-interaction arithmetic: two threads keep one giant request from holding up the others.
        self._texts = ThreadPoolExecutor(max_workers=2, thread_name_prefix="rerankd-text")

    def close(self) -> None:
        """Drop what waits to be read."""
        self._texts.shutdown(wait=False, cancel_futures=True)

    async def score(self, model: LoadedModel, request: RerankRequest, effort: Effort) -> Scores:
        """Score every document of a request.

        Raises:
            InvalidRequest: a document had to be cut, and that was forbidden.
            RequestTooLarge, Overloaded, ModelNotReady, EngineFailure: see `Scheduler.run`.
        """
        query = request.query
        model = _instructed(model, request.instruction)
        cache = _NO_CACHE if request.fresh else self._cache
        if isinstance(cache, off.Off):
            # No score can be remembered, so that what will be refused needs no looking into. (A full queue then refuses
            # what another request is just running, too: to know that, every text would have to be looked into.)
            self._check(model, {document.text for document in request.documents}, effort, request.max_tokens_per_doc)
        began = time.perf_counter()
        planned = await self._off_loop(lambda: plan(model.reader, request, self._chunking))
        planned_at = time.perf_counter()
        effort.tokenization_s += planned_at - began
        phases.note("tokenise", began, planned_at)
        texts = planned.texts
        keys = await self._off_loop(lambda: [pair_key(model.info.fingerprint, query, text) for text in texts])
        with phases.phase("cache"):
            remembered = await cache.get(keys)
        known = {key: entry for key, entry in zip(keys, remembered, strict=True) if entry}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        fresh: dict[bytes, PairScore] = {}
        ran = 0
        while left := {key: text for key, text in missing.items() if key not in fresh}:
            # Again only where another request, which was running the same pairs, ended without their scores.
            found, own = await self._fly(model, query, left, effort, cache)
            fresh |= found
            ran += own
        if not request.truncate or (request.long_documents or self._chunking.long_documents) is LongDocuments.ERROR:
            _refuse_cut(known | fresh, model.info.max_tokens)
        self._metrics.pairs.labels(model.info.id, "network").inc(ran)
        self._metrics.pairs.labels(model.info.id, "cache").inc(len(keys) - ran)
        entries = planned.combine([known.get(key) or fresh[key] for key in keys])
        return Scores(entries, pairs=len(keys), cached=len(keys) - ran, chunked=planned.chunked)

    async def _fly(
        self, model: LoadedModel, query: str, missing: Mapping[bytes, str], effort: Effort, cache: ScoreCache
    ) -> tuple[dict[bytes, PairScore], int]:
        """Run what nobody runs, wait for what others run. Returns the scores found and how many were run here."""
        boarding = self._flights.board(missing)
        fresh: dict[bytes, PairScore] = {}
        try:
            if boarding.own:
                fresh = await self._compute(model, query, {key: missing[key] for key in boarding.own}, effort)
                await cache.put(fresh)
        finally:
            self._flights.land(boarding, fresh)
        if not boarding.shared:
            return fresh, len(fresh)
        with phases.phase("queue"):
            landed = {key: await asyncio.shield(landing) for key, landing in boarding.shared.items()}
        return fresh | {key: score for key, score in landed.items() if score}, len(fresh)

    async def _compute(
        self, model: LoadedModel, query: str, missing: Mapping[bytes, str], effort: Effort
    ) -> dict[bytes, PairScore]:
        """Run the pairs nobody has scored yet: the same text is run once."""
        texts = list(missing.values())
        self._check(model, texts, effort)
        began = time.perf_counter()
        work = await self._off_loop(lambda: model.reader.read(query, texts))
        read = time.perf_counter()
        phases.note("tokenise", began, read)
        raw = await self._run(model, work, effort, read)
        effort.tokenization_s += read - began
        effort.inference_s += time.perf_counter() - read
        cut = set(work.truncated)
        return {
            key: PairScore(float(raw[i]), work.tokens[i], i in cut)
            for i, key in enumerate(missing)
        }  # fmt: skip

    def _check(self, model: LoadedModel, texts: Collection[str], effort: Effort, most: int | None = None) -> None:
        """Refuse now what will not fit, or an overloaded server spends its time on reading what it refuses.

        `most` tokens of each text are read where that is said; never more than the model's limit in one sequence.
        """
        most = min(most or model.reader.max_tokens, model.reader.max_tokens)
        least = sum(min(len(text) // _CHARACTERS_PER_TOKEN, most) for text in texts)
        background = effort.share.weight > 1
        self._scheduler.check(
            least, model=model.info.id, background=background, within_s=effort.left_s(), bound=model.bound
        )  # fmt: skip

    async def _run(self, model: LoadedModel, work: Work[Any], effort: Effort, began: float) -> Array:
        """Wait for the workers and score; how long each took is noted, also where it ends in an error."""
        turns: list[float] = []
        try:
            kept = await self._scheduler.run(
                model.engine,
                work.encodings,
                model=model.info.id,
                keep=work.keep,
                share=effort.share,
                within_s=effort.left_s(),
                on_start=turns.append,
                bound=model.bound,
            )
            return await self._off_loop(lambda: work.finish(kept))
        finally:
            ended = time.perf_counter()
            first = turns[0] if turns else ended
            phases.note("queue", began, first)
            phases.note("score", first, ended)

    async def _off_loop(self, compute: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._texts, compute)


def _instructed(model: LoadedModel, instruction: str) -> LoadedModel:
    """The same model with an instruction, which is a part of what names its scores; itself where it knows none."""
    if not instruction or not isinstance(model.reader, CausalReader):
        return model
    reader = model.reader.instructed(instruction)
    if reader is model.reader:
        return model
    info = replace(model.info, fingerprint=f"{model.info.fingerprint}\0{instruction}")
    return replace(model, info=info, reader=reader)


def _refuse_cut(scores: Mapping[bytes, PairScore], max_tokens: int) -> None:
    """A caller that forbids cutting gets an error instead of a score for half a document."""
    if any(score.truncated for score in scores.values()):
        raise InvalidRequest(
            f"a query and document together are longer than the model's {max_tokens} tokens, and truncation was "
            "forbidden: shorten the document, or allow truncation"
        )
