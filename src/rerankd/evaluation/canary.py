"""The canary: judged queries that the running server ranks on a schedule, so that a fall in quality shows.

It asks as a caller does, in the background lane and past the cache, and only a model that is loaded.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np

from rerankd.errors import ConfigError, InvalidRequest, RerankError
from rerankd.evaluation import sets
from rerankd.evaluation.judged import JudgedQuery
from rerankd.evaluation.judging import judgeable
from rerankd.evaluation.metrics import MRR_10, of_query
from rerankd.http.ports import Companion, Service
from rerankd.settings import CanarySettings, Settings
from rerankd.types import Caller, Document, Lane, ModelState, RerankRequest

_CALLER = Caller("canary")
_LOOK_S = 1.0
"""How often it looks whether the model is there."""

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Canary:
    """Ranks golden queries every `every_s` seconds. `least_mrr` 0 never makes the server unhealthy."""

    queries: Sequence[JudgedQuery]
    model: str
    every_s: float
    least_mrr: float
    healthy: bool = True

    @asynccontextmanager
    async def beside(self, service: Service) -> AsyncGenerator[None]:
        """Run beside a service.

        Raises:
            ModelNotFound: the model is not served.
        """
        running = asyncio.create_task(self._run(service, service.model(self.model).id))
        try:
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def _run(self, service: Service, model: str) -> None:
        service.metrics.canary_interval.labels(model).set(self.every_s)
        while True:
            if service.model(model).state is not ModelState.READY:
                await asyncio.sleep(min(_LOOK_S, self.every_s))
                continue
            outcome = "ok"
            try:
                self._take(service, model, await self.look(service, model))
            except RerankError as error:
                outcome = error.kind
                _logger.warning("the golden set was not ranked: %s", error, extra={"model": model})
            service.metrics.canary_runs.labels(model, outcome).inc()
            await asyncio.sleep(self.every_s)

    async def look(self, service: Service, model: str) -> float:
        """Rank every golden query once, one after the other; return MRR@10.

        Raises:
            RerankError: a query could not be ranked.
        """
        found: list[float] = []
        for query in self.queries:
            documents = tuple(map(Document, query.documents))
            request = RerankRequest(query.query, documents, model=model, lane=Lane.BACKGROUND, fresh=True)
            ranking = await service.rerank(request, _CALLER)
            scores = np.full(len(documents), -np.inf)
            for ranked in ranking:
                scores[ranked.index] = ranked.score
            found += of_query(query, scores, (MRR_10,))
        return float(np.mean(found))

    def _take(self, service: Service, model: str, mrr: float) -> None:
        service.metrics.canary_mrr.labels(model).set(mrr)
        service.metrics.canary_last.labels(model).set(time.time())
        well = mrr >= self.least_mrr
        if well is not self.healthy:
            say = _logger.info if well else _logger.error
            say("MRR@10 of the golden set is %.3f, and canary.min_mrr %g", mrr, self.least_mrr, extra={"model": model})
        self.healthy = well


def open_canaries(settings: Settings) -> Sequence[Companion]:
    """Read the golden set; none where it is off.

    Raises:
        ConfigError: the set cannot be read.
    """
    canary = settings.canary
    if not canary.every_s:
        return ()
    return (Canary(_queries(canary), canary.model, canary.every_s, canary.min_mrr),)


def _queries(canary: CanarySettings) -> Sequence[JudgedQuery]:
    try:
        return judgeable(sets.load(canary.golden_set) if canary.golden_set else sets.sample()).queries
    except InvalidRequest as error:
        raise ConfigError(f"canary.golden_set cannot be used: {error}") from error
