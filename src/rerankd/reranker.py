"""The in-process library: the server's own path from a request to a ranking, without the server."""

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from rerankd.assembly import assemble
from rerankd.service.service import RerankService
from rerankd.settings import Settings
from rerankd.types import Caller, Document, ModelInfo, Ranking, RerankRequest

T = TypeVar("T")

_LIBRARY = Caller("library")


class AsyncReranker:
    """A reranker for asyncio programs.

        async with AsyncReranker() as reranker:
            ranking = await reranker.rank(query, documents, top_n=3)

    `model` is a catalog name or a folder; "" is the model that ships with rerankd. `settings` replaces the defaults
    (settings files and environment variables are the server's, not the library's).
    """

    def __init__(self, model: str = "", *, settings: Settings | None = None) -> None:
        self._settings = _with_model(settings or Settings(), model)
        self._service: RerankService | None = None

    async def __aenter__(self) -> Self:
        """Load the model.

        Raises:
            ConfigError, ModelLoadError: it cannot be loaded.
        """
        service = assemble(self._settings)
        await service.start()
        try:
            await service.wait_ready()
        except BaseException:
            await service.close()
            raise
        self._service = service
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:  # fmt: skip
        await self.close()

    async def close(self) -> None:
        """Stop the workers and free the model. May be called twice."""
        service, self._service = self._service, None
        if service:
            await service.close()

    async def rank(
        self, query: str, documents: Sequence[str | Document], *, top_n: int | None = None, raw_scores: bool = False,
        instruction: str = "",
    ) -> Ranking:  # fmt: skip
        """Order documents by their relevance to the query, best first; inputs are not changed.

        `instruction` tells a model that was trained with instructions what relevance means; others pass over it.

        Raises:
            InvalidRequest: no documents, too many, or a negative `top_n`.
            EngineFailure: the model failed.
        """
        read = tuple(Document(text) if isinstance(text, str) else text for text in documents)
        request = RerankRequest(
            query=query, documents=read, top_n=top_n, raw_scores=raw_scores, instruction=instruction
        )
        return await self._open().rerank(request, _LIBRARY)

    async def score(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Score (query, document) pairs, order kept. Pairs with the same query are scored together."""
        scores = [0.0] * len(pairs)
        for query, positions in _by_query(pairs).items():
            ranking = await self.rank(query, [pairs[i][1] for i in positions])
            for ranked in ranking:
                scores[positions[ranked.index]] = ranked.score
        return scores

    @property
    def info(self) -> ModelInfo:
        """The model: limits, precision, what its scores mean."""
        return self._open().model("")

    def _open(self) -> RerankService:
        if self._service is None:
            raise RuntimeError("this reranker is closed: use it inside its `with` block")
        return self._service


class Reranker:
    """A reranker for ordinary programs; thread-safe. The model is loaded when the object is made.

    with Reranker() as reranker:
        for hit in reranker.rank(query, documents, top_n=3):
            print(hit.score, documents[hit.index])
    """

    def __init__(self, model: str = "", *, settings: Settings | None = None) -> None:
        """Load a model; see `AsyncReranker` for the arguments.

        Raises:
            ConfigError, ModelLoadError: it cannot be loaded.
        """
        self._inner = AsyncReranker(model, settings=settings)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rerankd-loop", daemon=True)
        self._thread.start()
        try:
            self._wait(self._inner.__aenter__())
        except BaseException:
            self._stop()
            raise

    def rank(
        self, query: str, documents: Sequence[str | Document], *, top_n: int | None = None, raw_scores: bool = False,
        instruction: str = "",
    ) -> Ranking:  # fmt: skip
        """Order documents by their relevance to the query, best first; see `AsyncReranker.rank`."""
        return self._wait(self._inner.rank(query, documents, top_n=top_n, raw_scores=raw_scores,
                                           instruction=instruction))  # fmt: skip

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Score (query, document) pairs, order kept."""
        return self._wait(self._inner.score(pairs))

    @property
    def info(self) -> ModelInfo:
        """The model: limits, precision, what its scores mean."""
        return self._inner.info

    def close(self) -> None:
        """Stop the threads and free the model. May be called twice."""
        if self._thread.is_alive():
            self._wait(self._inner.close())
            self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        self.close()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        if not self._thread.is_alive():
            work.close()
            raise RuntimeError("this reranker is closed: use it inside its `with` block")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl-C in the caller's thread gives the queue places back
            raise

    def _stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._loop.shutdown_default_executor(), self._loop).result(timeout=10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        if not self._thread.is_alive():
            self._loop.close()


def _with_model(settings: Settings, model: str) -> Settings:
    if not model:
        return settings
    return settings.model_copy(update={"models": settings.models.model_copy(update={"default": model})})


def _by_query(pairs: Sequence[tuple[str, str]]) -> dict[str, list[int]]:
    positions: dict[str, list[int]] = {}
    for i, (query, _) in enumerate(pairs):
        positions.setdefault(query, []).append(i)
    return positions
