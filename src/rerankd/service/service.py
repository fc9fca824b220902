"""The one path from a request to a ranking, whoever asks: check, remember, read, run, rank."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from rerankd.cache.base import PairScore, ScoreCache, pair_key
from rerankd.errors import DeadlineExceeded, InvalidRequest
from rerankd.families.base import CausalReader
from rerankd.metrics import Metrics
from rerankd.models.loaded import LoadedModel
from rerankd.models.pool import ModelPool
from rerankd.scheduler.scheduler import Scheduler
from rerankd.service.chunking import Chunking, plan
from rerankd.service.flights import Flights
from rerankd.service.limits import Limits
from rerankd.service.ranking import rank
from rerankd.types import Caller, LongDocuments, ModelInfo, ModelState, Ranking, RerankRequest, ScoreType, Timing, Usage

T = TypeVar("T")

_CHUNKING = Chunking()


@dataclass(slots=True)
class _Clock:
    """Seconds spent so far, by what they were spent on."""

    tokenization_s: float = 0.0
    inference_s: float = 0.0


class RerankService:
    """Models, a scheduler, a cache and limits, behind three verbs. Lives on one event loop."""

    def __init__(
        self,
        *,
        pool: ModelPool,
        scheduler: Scheduler,
        cache: ScoreCache,
        limits: Limits,
        metrics: Metrics,
        chunking: Chunking = _CHUNKING,
    ) -> None:
        self.metrics = metrics
        self._pool = pool
        self._scheduler = scheduler
        self._cache = cache
        self._limits = limits
        self._chunking = chunking
        self._flights = Flights()
        # Tokenising and late-interaction arithmetic: two threads keep one giant request from holding up the others.
        self._texts = ThreadPoolExecutor(max_workers=2, thread_name_prefix="rerankd-text")

    async def start(self) -> None:
        """Begin to load the models; return at once."""
        await self._pool.start()

    async def wait_ready(self, name: str = "") -> ModelInfo:
        """Wait until a model can score ("": the default).

        Raises:
            ModelNotFound, ModelLoadError, ConfigError: it never will.
        """
        return await self._pool.wait(name)

    @property
    def ready(self) -> bool:
        """Whether the default model can score: it is loaded, or its next request loads it."""
        return self._pool.info("").state in {ModelState.READY, ModelState.UNLOADED}

    def models(self) -> Sequence[ModelInfo]:
        """Describe every model, the default first."""
        return self._pool.infos()

    def model(self, name: str) -> ModelInfo:
        """Describe one model.

        Raises:
            ModelNotFound: none of that name.
        """
        return self._pool.info(name)

    async def rerank(self, request: RerankRequest, caller: Caller) -> Ranking:
        """Score every document against the query and order them.

        Cancelling the task frees the request's places in the queue at once.

        Raises:
            InvalidRequest, ModelNotFound, TryLater, DeadlineExceeded, EngineFailure: see `rerankd.errors`.
        """
        del caller  # limits per caller come with keys; every path carries the caller already
        self._limits.check(request)
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._limits.deadline_s), self._pool.use(request.model) as model:
                clock = _Clock()
                scores = await self._score(model, request, clock)
                return _ranking(model, request, scores, clock, time.perf_counter() - started)
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"no answer within {self._limits.deadline_s:g} s: send fewer documents, or raise limits.deadline_s"
            ) from error

    async def close(self, timeout_s: float = 10.0) -> None:
        """Fail what waits, stop the workers, free the models."""
        await asyncio.to_thread(self._scheduler.close, timeout_s)
        await self._pool.close()
        await self._cache.close()
        self._texts.shutdown(wait=False, cancel_futures=True)

    async def _score(self, model: LoadedModel, request: RerankRequest, clock: _Clock) -> "_Scores":
        query = request.query
        model = _instructed(model, request.instruction)
        began = time.perf_counter()
        planned = await self._off_loop(lambda: plan(model.reader, request, self._chunking))
        clock.tokenization_s = time.perf_counter() - began
        texts = planned.texts
        keys = await self._off_loop(lambda: [pair_key(model.info.fingerprint, query, text) for text in texts])
        known = {key: entry for key, entry in zip(keys, await self._cache.get(keys), strict=True) if entry}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        fresh: dict[bytes, PairScore] = {}
        ran = 0
        while left := {key: text for key, text in missing.items() if key not in fresh}:
            # Again only where another request, which was running the same pairs, ended without their scores.
            found, own = await self._fly(model, query, left, clock)
            fresh |= found
            ran += own
        if not request.truncate or (request.long_documents or self._chunking.long_documents) is LongDocuments.ERROR:
            _refuse_cut(known | fresh, model.info.max_tokens)
        self.metrics.pairs.labels(model.info.id, "network").inc(ran)
        self.metrics.pairs.labels(model.info.id, "cache").inc(len(keys) - ran)
        entries = planned.combine([known.get(key) or fresh[key] for key in keys])
        self.metrics.truncated.labels(model.info.id).inc(sum(entry.truncated for entry in entries))
        self.metrics.chunked.labels(model.info.id).inc(len(planned.chunked))
        return _Scores(entries, pairs=len(keys), cached=len(keys) - ran, chunked=planned.chunked)

    async def _fly(
        self, model: LoadedModel, query: str, missing: Mapping[bytes, str], clock: _Clock
    ) -> tuple[dict[bytes, PairScore], int]:
        """Run what nobody runs, wait for what others run. Returns the scores found and how many were run here."""
        boarding = self._flights.board(missing)
        fresh: dict[bytes, PairScore] = {}
        try:
            if boarding.own:
                fresh = await self._compute(model, query, {key: missing[key] for key in boarding.own}, clock)
                await self._cache.put(fresh)
        finally:
            self._flights.land(boarding, fresh)
        landed = {key: await asyncio.shield(landing) for key, landing in boarding.shared.items()}
        return fresh | {key: score for key, score in landed.items() if score}, len(fresh)

    async def _compute(
        self, model: LoadedModel, query: str, missing: Mapping[bytes, str], clock: _Clock
    ) -> dict[bytes, PairScore]:
        """Run the pairs nobody has scored yet: the same text is run once."""
        texts = list(missing.values())
        began = time.perf_counter()
        work = await self._off_loop(lambda: model.reader.read(query, texts))
        read = time.perf_counter()
        kept = await self._scheduler.run(model.engine, work.encodings, model=model.info.id, keep=work.keep)
        raw = await self._off_loop(lambda: work.finish(kept))
        clock.tokenization_s += read - began
        clock.inference_s += time.perf_counter() - read
        cut = set(work.truncated)
        return {
            key: PairScore(float(raw[i]), work.tokens[i], i in cut)
            for i, key in enumerate(missing)
        }  # fmt: skip

    async def _off_loop(self, compute: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._texts, compute)


@dataclass(frozen=True, slots=True)
class _Scores:
    """One entry per document; `pairs` and `cached` count what was scored for them, chunks one by one."""

    entries: Sequence[PairScore]
    pairs: int
    cached: int
    chunked: tuple[int, ...]


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


def _ranking(model: LoadedModel, request: RerankRequest, scores: _Scores, clock: _Clock, total_s: float) -> Ranking:
    raw = np.array([entry.raw for entry in scores.entries], np.float32)
    final = raw if request.raw_scores else model.reader.activate(raw)
    return Ranking(
        items=rank([float(score) for score in final], request.top_n),
        model=model.info.id,
        score_type=ScoreType.LOGIT if request.raw_scores else model.info.score_type,
        usage=Usage(sum(entry.tokens for entry in scores.entries), scores.pairs, scores.cached),
        timing=Timing(total_s, clock.tokenization_s, clock.inference_s),
        truncated=tuple(i for i, entry in enumerate(scores.entries) if entry.truncated),
        chunked=scores.chunked,
    )
