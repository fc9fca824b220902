"""A rerank service without a model: deterministic scores, and switches for everything that can go wrong."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence

from rerankd.errors import DeadlineExceeded, ModelNotFound
from rerankd.http.ports import Service
from rerankd.metrics import Metrics
from rerankd.service.operator import Operator
from rerankd.types import (
    Caller,
    Health,
    ModelInfo,
    ModelState,
    Progress,
    Ranked,
    Ranking,
    RerankRequest,
    ScoreType,
    Timing,
    Usage,
    Verified,
)

MODEL = ModelInfo(
    id="tiny-reranker",
    names=("tiny-reranker", "example/tiny-reranker", "tiny"),
    state=ModelState.READY,
    family="cross_encoder",
    engine="fake",
    precision="fp32",
    max_tokens=512,
    fingerprint="f00d",
)


def probability(query: str, document: str) -> float:
    """Score like a model would: from the texts alone, between 0 and 1, best where words are shared."""
    words = set(query.lower().strip("?.").split())
    shared = len(words & set(document.lower().strip("?.").split())) / max(1, len(words))
    noise = int.from_bytes(hashlib.sha256(f"{query}\0{document}".encode()).digest()[:4], "big") / 2**32
    return 0.05 + 0.8 * shared + 0.1 * noise


def rank(request: RerankRequest) -> Ranking:
    """Order a request's documents; raw scores are the same numbers times ten."""
    factor = 10.0 if request.raw_scores else 1.0
    scored = [
        Ranked(index, factor * probability(request.query, document.text))
        for index, document in enumerate(request.documents)
    ]
    ordered = sorted(scored, key=lambda hit: (-hit.score, hit.index))[: request.top_n]
    return Ranking(
        items=tuple(ordered),
        model=MODEL.id,
        score_type=ScoreType.LOGIT if request.raw_scores else ScoreType.PROBABILITY,
        usage=Usage(tokens=sum(3 + len(document.text) for document in request.documents), pairs=len(scored)),
        timing=Timing(total_s=0.002, tokenization_s=0.001, inference_s=0.001),
        truncated=tuple(i for i, document in enumerate(request.documents) if len(document.text) > 10_000),
    )


class FakeService:
    """Remembers what it was asked. `failure` is raised, `hold` waited for, before an answer."""

    def __init__(self, *, state: ModelState = ModelState.READY) -> None:
        self.metrics = Metrics()
        self.state = state
        self.failure: Exception | None = None
        self.hold: asyncio.Event | None = None
        self.asked: list[tuple[RerankRequest, Caller]] = []
        self.waiting = 0
        self.cancelled = 0
        self.log: list[str] = []
        self.verified: Verified | None = None
        self.updating: ModelState | None = None
        self.draining = False
        self.change: Callable[[Ranking], Ranking] = lambda ranking: ranking
        self.beyond_help = False
        self.operator: Operator | None = None

    @property
    def health(self) -> Health:
        if self.draining:
            return Health.DRAINING
        if self.state is ModelState.FAILED:
            return Health.FAILED
        return Health.READY if self.state is ModelState.READY else Health.LOADING

    def drain(self) -> None:
        self.draining = True

    async def rerank(self, request: RerankRequest, caller: Caller) -> Ranking:
        self.asked.append((request, caller))
        self.model(request.model)
        if self.failure is not None:
            raise self.failure
        if self.hold is not None:
            await self._wait(self.hold, min(request.deadline_s or 30, request.left_s or 30))
        return self.change(rank(request))

    async def _wait(self, hold: asyncio.Event, limit_s: float) -> None:
        self.waiting += 1
        try:
            async with asyncio.timeout(limit_s):
                await hold.wait()
        except TimeoutError as error:
            raise DeadlineExceeded(f"no answer within {limit_s:g} s") from error
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.waiting -= 1

    def models(self) -> Sequence[ModelInfo]:
        return (self.model(""),)

    def model(self, name: str) -> ModelInfo:
        if name and name not in MODEL.names:
            raise ModelNotFound(name, [MODEL.id])
        return ModelInfo(
            id=MODEL.id,
            names=MODEL.names,
            state=self.state,
            family=MODEL.family,
            engine=MODEL.engine,
            precision=MODEL.precision,
            max_tokens=MODEL.max_tokens,
            fingerprint=MODEL.fingerprint,
            failure="the file is cut off" if self.state is ModelState.FAILED else "",
            verified=self.verified,
            updating=self.updating,
            progress=Progress(1, 4) if self.updating else None,
        )

    async def start(self) -> None:
        self.log.append("start")

    async def close(self) -> None:
        self.log.append("close")


_: type[Service] = FakeService
