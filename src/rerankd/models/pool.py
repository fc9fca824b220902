"""The models of this process: by name, in whatever state they are."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from rerankd.errors import ModelLoadError, ModelNotFound, ModelNotReady, RerankError
from rerankd.metrics import Metrics
from rerankd.models.loaded import LoadedModel
from rerankd.models.loader import Report
from rerankd.registry.resolve import Entry
from rerankd.types import ModelInfo, ModelState, Progress

logger = logging.getLogger(__name__)

Load = Callable[[Entry, Report], LoadedModel]
"""Makes a model ready; blocking. See `models.loader.Loader.load`."""

_LOAD_ESTIMATE_S = 5.0
_UNNAMED = frozenset({"", "default", "not-specified", "default/not-specified"})


@dataclass(slots=True, eq=False)
class _Slot:
    """One served model. Changed on the event loop only, except `state` and `progress`: the loading thread sets them."""

    entry: Entry
    state: ModelState = ModelState.RESOLVING
    progress: Progress | None = None
    model: LoadedModel | None = None
    error: RerankError | None = None
    loading: asyncio.Task[None] | None = None


class ModelPool:
    """Models registered before they load, so that readiness is honest. The first entry is the default."""

    def __init__(self, entries: Sequence[Entry], load: Load, metrics: Metrics) -> None:
        self._slots = {entry.id: _Slot(entry) for entry in entries}
        self._default = entries[0].id
        self._load_model = load
        self._metrics = metrics
        self._closing = threading.Event()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rerankd-load")

    async def start(self) -> None:
        """Begin to load every model, the default first; return at once."""
        for slot in self._slots.values():
            slot.loading = asyncio.create_task(self._load(slot))

    async def wait(self, name: str = "") -> ModelInfo:
        """Wait until a model is ready.

        Raises:
            ModelNotFound: none of that name.
            ModelLoadError, ConfigError: it failed to load.
        """
        slot = self._find(name)
        if slot.loading:
            await asyncio.shield(slot.loading)
        if slot.error:
            raise slot.error
        return self._info(slot)

    @asynccontextmanager
    async def use(self, name: str) -> AsyncGenerator[LoadedModel]:
        """Lend a model for one request.

        Raises:
            ModelNotFound: none of that name.
            ModelNotReady: it is still loading.
            ModelLoadError: it failed to load.
        """
        slot = self._find(name)
        if slot.model is None:
            raise _unready(slot)
        yield slot.model

    def infos(self) -> Sequence[ModelInfo]:
        """Describe every model, the default first."""
        return [self._info(slot) for slot in self._slots.values()]

    def info(self, name: str) -> ModelInfo:
        """Describe one model.

        Raises:
            ModelNotFound: none of that name.
        """
        return self._info(self._find(name))

    async def close(self) -> None:
        """Free the networks; a download that is under way ends at once. No request may be under way."""
        self._closing.set()
        tasks = [slot.loading for slot in self._slots.values() if slot.loading]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)
        for slot in self._slots.values():
            if slot.model:
                slot.model.engine.close()
                slot.model = None
                self._set_state(slot, ModelState.DRAINING)

    async def _load(self, slot: _Slot) -> None:
        started = time.perf_counter()
        loop = asyncio.get_running_loop()
        try:
            report = partial(self._hear, slot)
            slot.model = await loop.run_in_executor(self._thread, self._load_model, slot.entry, report)
        except RerankError as error:
            slot.error = error
            self._set_state(slot, ModelState.FAILED)
            logger.error("model failed to load: %s", error, extra={"model": slot.entry.id})
        else:
            self._set_state(slot, ModelState.READY)
            seconds = round(time.perf_counter() - started, 3)
            logger.info("model ready", extra={"model": slot.entry.id, "seconds": seconds})
        finally:
            if not slot.model and not slot.error:  # a fault of ours, or shutdown: nobody may wait for this model
                slot.error = ModelLoadError("loading ended without a model; the server's log says why")
                self._set_state(slot, ModelState.FAILED)

    def _hear(self, slot: _Slot, news: ModelState | Progress) -> None:
        """Take the loader's report, in its thread.

        Raises:
            ModelLoadError: the server is shutting down, and nobody waits for this model.
        """
        if self._closing.is_set():
            raise ModelLoadError("the server is shutting down")
        if isinstance(news, Progress):
            slot.progress = news
            return
        slot.progress = None
        self._set_state(slot, news)

    def _set_state(self, slot: _Slot, state: ModelState) -> None:
        slot.state = state
        for other in ModelState:
            self._metrics.model_state.labels(slot.entry.id, other.value).set(float(other is state))

    def _find(self, name: str) -> _Slot:
        """Match as clients write it: in any case, as "owner/name", as RAGFlow's "name___factory"."""
        wanted = name.casefold()
        if wanted in _UNNAMED:
            return self._slots[self._default]
        bare = wanted.split("___")[0]
        for candidate in (wanted, bare, bare.rsplit("/", 1)[-1]):
            for slot in self._slots.values():
                known = [known.casefold() for known in slot.entry.names]
                if candidate in known or candidate in [known.rsplit("/", 1)[-1] for known in known]:
                    return slot
        raise ModelNotFound(name, list(self._slots))

    @staticmethod
    def _info(slot: _Slot) -> ModelInfo:
        if slot.model:
            return slot.model.info
        card = slot.entry.card
        return ModelInfo(
            id=slot.entry.id,
            names=slot.entry.names,
            state=slot.state,
            family=card.family if card else "",
            max_tokens=card.max_tokens if card else 0,
            failure=str(slot.error) if slot.error else "",
            progress=slot.progress,
        )


def _unready(slot: _Slot) -> RerankError:
    if slot.error:
        return ModelLoadError(f"model {slot.entry.id!r} failed to load: {slot.error}")
    return ModelNotReady(
        f"model {slot.entry.id!r} is {slot.state.value}{_far(slot.progress)}: try again in a moment",
        retry_after_s=_LOAD_ESTIMATE_S,
    )


def _far(progress: Progress | None) -> str:
    if not progress or not progress.total_bytes:
        return ""
    share = progress.done_bytes / progress.total_bytes
    return f" ({share:.0%} of {progress.total_bytes / 1e6:,.0f} MB)"
