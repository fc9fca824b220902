"""Five hundred faults at random: every caller gets the right score or an error, none waits for ever."""

import asyncio
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from long_runs import told
from rerankd.assembly import open_cache
from rerankd.engines.base import Array, Encoding, Engine
from rerankd.errors import EngineFailure, RerankError
from rerankd.metrics import Metrics
from rerankd.models.loaded import LoadedModel
from rerankd.models.loader import Loader, Report
from rerankd.models.pool import ModelPool
from rerankd.registry.resolve import Entry, resolve
from rerankd.registry.store import Store
from rerankd.scheduler.scheduler import Scheduler
from rerankd.service.limits import Limits
from rerankd.service.service import RerankService
from rerankd.types import Caller, Document, LongDocuments, RerankRequest
from tiny import tiny_bert

FAULTS = 500
HANG_S = 0.1
KINDS = ("exception", "memory", "rows", "nothing", "hang")
WORDS = ["rerank", "人工智能", "query", "文档", "a", "the", "模型", "memory", "数据", "growth"]


@dataclass
class Faulty:
    """A real engine that fails now and then, in every way that engines fail."""

    engine: Engine
    dice: random.Random = field(default_factory=lambda: random.Random(5))
    share: float = 0.0
    happened: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    released: threading.Event = field(default_factory=threading.Event)
    max_batch_tokens: int = 200

    def run(self, batch: Sequence[Encoding]) -> Sequence[Array]:
        outputs = self.engine.run(batch)
        if self.dice.random() >= self.share:
            return outputs
        kind = self.dice.choices(KINDS, weights=(4, 4, 4, 4, 1))[0]
        self.happened[kind] += 1
        if kind == "exception":
            raise ValueError("a secret of the engine")
        if kind == "memory":
            raise MemoryError
        if kind == "rows":
            return [*outputs, outputs[0]]
        if kind == "nothing":
            return []
        self.released.wait(20 * HANG_S)  # given up long before, and what it brings then is nobody's
        return [np.full_like(output, 1e9) for output in outputs]

    def close(self) -> None:
        self.engine.close()


@dataclass
class Outcomes:
    """`truth` is the same model with an engine that never fails, asked directly."""

    truth: LoadedModel
    right: int = 0
    wrong: list[str] = field(default_factory=list[str])
    errors: dict[str, int] = field(default_factory=dict[str, int])


def requests(seed: int) -> RerankRequest:
    dice = random.Random(seed)
    texts = [" ".join(dice.choices(WORDS, k=dice.randint(1, 40))) for _ in range(dice.choice([1, 2, 5, 20]))]
    return RerankRequest(f"{dice.choice(WORDS)} {seed}", tuple(map(Document, texts)), raw_scores=True,
                         long_documents=LongDocuments.TRUNCATE)  # fmt: skip


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_five_hundred_faults_give_no_wrong_score_and_leave_nobody_waiting(tmp_path: Path) -> None:
    folder = tiny_bert(tmp_path / "model")
    loader = Loader(Store(tmp_path / "store"))
    faulty: list[Faulty] = []

    def load(model: Entry, report: Report) -> LoadedModel:
        loaded = loader.load(model, report)
        faulty.append(Faulty(loaded.engine))
        return replace(loaded, engine=faulty[-1])

    service = RerankService(
        pool=ModelPool([resolve(f"letters={folder}")], load, Metrics()),
        scheduler=Scheduler(workers=2, hang_s=HANG_S),
        cache=open_cache("off://", 0),
        limits=Limits(deadline_s=20),
        metrics=Metrics(),
    )
    await service.start()
    await service.wait_ready()
    engine = faulty[0]
    truth = loader.load(resolve(f"letters={folder}"), lambda _: None)
    outcomes = Outcomes(truth)
    try:
        engine.share = 0.2
        started = time.perf_counter()
        next_seed = iter(range(10**6))

        async def client() -> None:
            while sum(engine.happened.values()) < FAULTS:
                await one(service, next(next_seed), outcomes)

        async with asyncio.timeout(100):
            await asyncio.gather(*(client() for _ in range(8)))
        took = time.perf_counter() - started
        engine.share = 0.0
        engine.released.set()
        recovering = time.perf_counter()
        async with asyncio.timeout(20):
            await one(service, 0, outcomes)
        recovered = time.perf_counter() - recovering
        told(
            f"faults: {sum(engine.happened.values())} in {took:.1f} s ({engine.happened}); {outcomes.right} requests "
            f"right, {outcomes.errors} refused, {len(outcomes.wrong)} wrong; the first request after them took "
            f"{recovered:.2f} s"
        )
        assert outcomes.wrong == []
        assert outcomes.right > 0
        assert set(outcomes.errors) <= {EngineFailure.kind}
        assert outcomes.errors
    finally:
        engine.released.set()
        await service.close()


async def one(service: RerankService, seed: int, outcomes: Outcomes) -> None:
    asked = requests(seed)
    try:
        ranking = await service.rerank(asked, Caller())
    except RerankError as error:
        if "secret" in str(error):
            outcomes.wrong.append(str(error))
        outcomes.errors[error.kind] = outcomes.errors.get(error.kind, 0) + 1
        return
    work = outcomes.truth.reader.read(asked.query, [document.text for document in asked.documents])
    expected = work.score(outcomes.truth.engine.run(work.encodings))
    found = {hit.index: hit.score for hit in ranking}
    if len(found) == len(expected) and all(abs(found[i] - score) < 1e-4 for i, score in enumerate(expected)):
        outcomes.right += 1
    else:
        outcomes.wrong.append(asked.query)
