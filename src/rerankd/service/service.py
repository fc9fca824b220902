"""The one path from a request to a ranking, whoever asks: check, score in time, rank."""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Awaitable, Sequence
from dataclasses import replace

import numpy as np

from rerankd import phases
from rerankd.cache.base import PairScore, ScoreCache
from rerankd.errors import DeadlineExceeded, ModelNotReady, RerankError
from rerankd.metrics import Metrics
from rerankd.models.loaded import LoadedModel
from rerankd.models.pool import ModelPool
from rerankd.scheduler.scheduler import Scheduler
from rerankd.service.cascade import Cascade, merge
from rerankd.service.chunking import Chunking
from rerankd.service.limits import Limits
from rerankd.service.operator import Operator
from rerankd.service.ranking import given_order, rank
from rerankd.service.scoring import Effort, Scorer, Scores
from rerankd.service.windows import Window, score_until
from rerankd.types import (
    GIVEN_ORDER,
    Caller,
    Health,
    ModelInfo,
    ModelState,
    OnDeadline,
    Ranked,
    Ranking,
    RerankRequest,
    ScoreType,
    Stage,
    Timing,
    Usage,
)

logger = logging.getLogger(__name__)

_CHUNKING = Chunking()
_CASCADE = Cascade()
_WINDOW_PER_WORKER = 2
_PROBE_EVERY_S = 2.0
_ANSWERS = frozenset({ModelState.READY, ModelState.UNLOADED})


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
        cascade: Cascade = _CASCADE,
        while_loading: str = "",
        operator: Operator | None = None,
    ) -> None:
        """`while_loading` names the model that answers for one that is not ready yet, or is `GIVEN_ORDER`."""
        self.metrics = metrics
        self.operator = operator
        self._while_loading = while_loading
        self._pool = pool
        self._scheduler = scheduler
        self._cache = cache
        self._limits = limits
        self._cascade = cascade
        self._scorer = Scorer(scheduler, cache, metrics, chunking)
        self._draining = False
        self._recovering: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to load the models; return at once."""
        await self._pool.start()
        if self.operator:
            await self.operator.restore()
        self._recovering = asyncio.create_task(self._recover())

    async def wait_ready(self, name: str = "") -> ModelInfo:
        """Wait until a model can score ("": the default).

        Raises:
            ModelNotFound, ModelLoadError, ConfigError: it never will.
        """
        return await self._pool.wait(self._cascade.stages(name)[-1])

    @property
    def health(self) -> Health:
        """Whether requests should come: they are answered, by the default model or by another in its place."""
        if self._draining:
            return Health.DRAINING
        state = self._pool.info("").state
        if state is ModelState.FAILED:
            return Health.FAILED
        if state not in _ANSWERS and not self._stands_in():
            return Health.LOADING
        return Health.READY if self._scheduler.well else Health.UNWELL

    @property
    def beyond_help(self) -> bool:
        """Whether only a new process helps: all workers, and those that replaced them, hang."""
        return self._scheduler.beyond_help

    def drain(self) -> None:
        """Say from now on that no more requests should come; those that do are still answered."""
        self._draining = True

    def models(self) -> Sequence[ModelInfo]:
        """Describe every model, the default first."""
        return self._pool.infos()

    def model(self, name: str) -> ModelInfo:
        """Describe one model; of a cascade, the large one.

        Raises:
            ModelNotFound: none of that name.
            InvalidRequest: it is no name.
        """
        return self._pool.info(self._cascade.stages(name)[-1])

    async def rerank(self, request: RerankRequest, caller: Caller) -> Ranking:
        """Score every document against the query and order them.

        Cancelling the task frees the request's places in the queue at once.

        Raises:
            InvalidRequest, ModelNotFound, TryLater, DeadlineExceeded, EngineFailure: see `rerankd.errors`.
        """
        del caller  # limits per caller stand before this door
        self._limits.check(request)
        *fast, name = self._cascade.stages(request.model)
        usual_s = self._cascade.deadline_s if fast else self._limits.deadline_s
        limit_s = min(request.deadline_s or usual_s, request.left_s or usual_s, self._limits.deadline_s)
        until = asyncio.get_running_loop().time() + limit_s
        effort = Effort(request.lane, until)
        try:
            try:
                return await self._answered((*fast, name), request, effort, until)
            except ModelNotReady as error:
                return await self._instead((*fast, name), request, effort, until, error)
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"no answer within {limit_s:.3g} s: send fewer documents, or allow more time (X-Request-Timeout, "
                "limits.deadline_s)"
            ) from error

    async def _answered(self, names: Sequence[str], request: RerankRequest, effort: Effort, until: float) -> Ranking:
        if len(names) > 1:
            return await self._in_stages(names, request, effort, until)
        if request.on_deadline is OnDeadline.PARTIAL:
            return await self._in_part(names[0], request, effort, until)
        started = time.perf_counter()
        async with asyncio.timeout_at(until), self._pool.use(names[0]) as model:
            phases.note("load", started, time.perf_counter())
            scores = await self._scorer.score(model, request, effort)
            whole: list[Window] = [(range(len(request.documents)), scores)]
            return _ranking(model, request, whole, effort, time.perf_counter() - started)

    async def _instead(
        self, names: Sequence[str], request: RerankRequest, effort: Effort, until: float, reason: ModelNotReady
    ) -> Ranking:
        """Answer while a model asked for is made ready, where that is wanted, and say who did.

        Raises:
            ModelNotReady: it is not, or whoever should answer is not ready either; or the server is shutting down.
        """
        started, by = time.perf_counter(), self._while_loading
        waiting = [info.id for info in map(self._pool.info, names) if info.state is not ModelState.READY]
        if not by or not waiting or waiting == [by]:
            raise reason
        if by == GIVEN_ORDER:
            ranking = given_order(len(request.documents), request.top_n, time.perf_counter() - started)
        else:
            try:
                ranking = await self._answered((by,), request, effort, until)
            except ModelNotReady as error:
                raise reason from error
        self.metrics.fallbacks.labels(waiting[-1], by).inc()
        return replace(ranking, fallback=by)

    def _stands_in(self) -> bool:
        by = self._while_loading
        return bool(by) and (by == GIVEN_ORDER or self._pool.info(by).state is ModelState.READY)

    async def close(self, timeout_s: float = 10.0) -> None:
        """Fail what waits, stop the workers, free the models."""
        self._draining = True
        if self.operator:
            await self.operator.close()
        if self._recovering:
            self._recovering.cancel()
            await asyncio.gather(self._recovering, return_exceptions=True)
        await asyncio.to_thread(self._scheduler.close, timeout_s)
        await self._pool.close()
        await self._cache.close()
        self._scorer.close()

    async def _in_part(self, name: str, request: RerankRequest, effort: Effort, until: float) -> Ranking:
        """Score documents in the order they came in, and answer with those that are done in time."""
        started = time.perf_counter()
        async with contextlib.AsyncExitStack() as lent:
            async with asyncio.timeout_at(until):
                model = await lent.enter_async_context(self._pool.use(name))
            phases.note("load", started, time.perf_counter())
            done = await self._windows(model, request, range(len(request.documents)), effort, until)
            if not done:
                raise TimeoutError
            return _ranking(model, request, done, effort, time.perf_counter() - started)

    async def _in_stages(self, names: Sequence[str], request: RerankRequest, effort: Effort, until: float) -> Ranking:
        """Order all documents with the first model, then score as many of the best with the second as time allows."""
        started = time.perf_counter()
        async with contextlib.AsyncExitStack() as lent:
            async with asyncio.timeout_at(until):
                fast, large = [await lent.enter_async_context(self._pool.use(name)) for name in names]
                phases.note("load", started, time.perf_counter())
                scores = await self._scorer.score(fast, request, effort)
            everything = range(len(request.documents))
            plainly = replace(request, top_n=None, raw_scores=False)
            coarse = _ranking(fast, plainly, [(everything, scores)], effort, 0.0)
            best = [ranked.index for ranked in coarse][: self._cascade.documents or None]
            done = await self._windows(large, request, best, effort, until)
            fine = _ranking(large, replace(request, top_n=None), done, effort, time.perf_counter() - started)
            return _merged(coarse, fine, request)

    async def _windows(
        self, model: LoadedModel, request: RerankRequest, order: Sequence[int], effort: Effort, until: float
    ) -> Sequence[Window]:
        effort.until = None  # what is not done by then is left out, so nothing is refused for being late

        def score(window: Sequence[int]) -> Awaitable[Scores]:
            documents = tuple(request.documents[index] for index in window)
            return self._scorer.score(model, replace(request, documents=documents), effort)

        return await score_until(until, order, _WINDOW_PER_WORKER * self._scheduler.workers, score)

    async def _recover(self) -> None:
        """Try one pair now and then where batch after batch fails: nobody sends requests to a server that is unwell."""
        while True:
            await asyncio.sleep(_PROBE_EVERY_S)
            if self._scheduler.well:
                continue
            with contextlib.suppress(RerankError, TimeoutError):
                async with asyncio.timeout(self._limits.deadline_s), self._pool.use("") as model:
                    work = await asyncio.to_thread(model.reader.read, "well?", ["well?"])
                    await self._scheduler.run(model.engine, work.encodings, model=model.info.id, keep=work.keep)
                    logger.info("the model answers again", extra={"model": model.info.id})


def _ranking(
    model: LoadedModel, request: RerankRequest, done: Sequence[Window], effort: Effort, total_s: float
) -> Ranking:
    """Make a ranking of what was scored; the other documents of the request are `unscored`."""
    found: dict[int, PairScore] = {
        index: entry
        for window, scores in done
        for index, entry in zip(window, scores.entries, strict=True)
    }  # fmt: skip
    indexes = sorted(found)
    raw = np.array([found[index].raw for index in indexes], np.float32)
    final = raw if request.raw_scores else model.activate(raw)
    return Ranking(
        items=rank(indexes, [float(score) for score in final], request.top_n),
        model=model.info.id,
        score_type=ScoreType.LOGIT if request.raw_scores else model.info.score_type,
        usage=Usage(
            sum(entry.tokens for entry in found.values()),
            sum(scores.pairs for _, scores in done),
            sum(scores.cached for _, scores in done),
        ),
        timing=Timing(total_s, effort.tokenization_s, effort.inference_s),
        truncated=tuple(index for index in indexes if found[index].truncated),
        chunked=tuple(sorted(window[position] for window, scores in done for position in scores.chunked)),
        unscored=tuple(index for index in range(len(request.documents)) if index not in found),
    )


def _merged(coarse: Ranking, fine: Ranking, request: RerankRequest) -> Ranking:
    """Make one ranking of two stages'; where the second had no time at all, it is the first one's."""
    scored = tuple(sorted(ranked.index for ranked in fine))
    rest = tuple(sorted({ranked.index for ranked in coarse} - set(scored)))
    stages = tuple(Stage(model, part) for model, part in ((fine.model, scored), (coarse.model, rest)) if part)
    behind = {ranked.index: ranked.score for ranked in coarse}
    if scored and coarse.score_type is not ScoreType.PROBABILITY:
        behind = {index: _sigmoid(score) for index, score in behind.items()}
    items: tuple[Ranked, ...] = merge(
        {ranked.index: ranked.score for ranked in fine},
        behind,
        probabilities=fine.score_type is ScoreType.PROBABILITY,
    )
    return replace(
        fine,
        items=items[: request.top_n or None],
        model=fine.model if scored else coarse.model,
        score_type=fine.score_type if scored else coarse.score_type,
        usage=Usage(*(a + b for a, b in zip(_counts(fine.usage), _counts(coarse.usage), strict=True))),
        truncated=tuple(sorted({*fine.truncated, *(i for i in coarse.truncated if i in rest)})),
        chunked=tuple(sorted({*fine.chunked, *(i for i in coarse.chunked if i in rest)})),
        unscored=(),
        stages=stages,
    )


def _sigmoid(score: float) -> float:
    return 1 / (1 + math.exp(-max(-60.0, min(60.0, score))))


def _counts(usage: Usage) -> tuple[int, int, int]:
    return usage.tokens, usage.pairs, usage.cached_pairs
