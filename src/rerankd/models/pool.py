"""The models of this process: by name, in whatever state they are."""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

from rerankd.engines.base import Engine
from rerankd.errors import ModelLoadError, ModelNotFound, ModelNotReady, RerankError
from rerankd.machine import give_back_memory
from rerankd.metrics import Metrics
from rerankd.models.loaded import LoadedModel
from rerankd.models.loader import Report
from rerankd.models.residence import Counted, Policy, Resident, idle, surplus
from rerankd.registry.resolve import Entry
from rerankd.types import ModelInfo, ModelState, Progress

logger = logging.getLogger(__name__)

Load = Callable[[Entry, Report], LoadedModel]
"""Makes a model ready; blocking. See `models.loader.Loader.load`."""

_LOAD_ESTIMATE_S = 5.0
_LOOK_EVERY_S = 5.0
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
    last_used: float = 0.0
    in_flight: int = 0
    memory_bytes: int = 0
    """What it took when it was last loaded; 0: it never was."""


class ModelPool:
    """Models registered before they load, so that readiness is honest. The first entry is the default."""

    def __init__(self, entries: Sequence[Entry], load: Load, metrics: Metrics, policy: Policy | None = None) -> None:
        self._slots = {entry.id: _Slot(entry) for entry in entries}
        self._default = entries[0].id
        self._load_model = load
        self._metrics = metrics
        self._policy = policy or Policy()
        self._closing = threading.Event()
        self._watch: asyncio.Task[None] | None = None
        self._frees: set[asyncio.Future[None]] = set()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rerankd-load")

    async def start(self) -> None:
        """Begin to load what is to be loaded at the start, the default first; return at once."""
        for slot in self._slots.values():
            wanted = self._policy.preload == "all" or (self._policy.preload == "default" and self._is_default(slot))
            if wanted:
                self._begin(slot)
            else:
                self._set_state(slot, ModelState.UNLOADED)
        if self._policy.idle_s:
            self._watch = asyncio.create_task(self._unload_idle())

    async def wait(self, name: str = "") -> ModelInfo:
        """Load a model if it is not, and wait until it is ready.

        Raises:
            ModelNotFound: none of that name.
            ModelLoadError, ConfigError: it failed to load.
        """
        slot = self._find(name)
        if slot.model is None and not slot.error:
            await asyncio.shield(self._begin(slot))
        if slot.error:
            raise slot.error
        return self._info(slot)

    @asynccontextmanager
    async def use(self, name: str) -> AsyncGenerator[LoadedModel]:
        """Lend a model for one request; it is not unloaded meanwhile.

        A model that is not loaded begins to be. One that was loaded before comes back in a moment: the request waits
        for it. One that never was may have to be fetched and converted: the request is refused.

        Raises:
            ModelNotFound: none of that name.
            ModelNotReady: it is still loading.
            ModelLoadError: it failed to load.
        """
        slot = self._find(name)
        model = slot.model or await self._reloaded(slot)
        slot.in_flight += 1
        try:
            yield model
        finally:
            slot.in_flight -= 1
            slot.last_used = time.monotonic()
            self._make_room(0)

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
        if self._watch:
            tasks.append(self._watch)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *self._frees, return_exceptions=True)
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)
        for slot in self._slots.values():
            model, slot.model = slot.model, None
            if model:
                self._set_state(slot, ModelState.DRAINING)
                await asyncio.to_thread(model.engine.close)

    def _begin(self, slot: _Slot) -> "asyncio.Task[None]":
        """Load a model, unless that is under way."""
        if slot.loading is None or slot.loading.done():
            self._set_state(slot, ModelState.RESOLVING)
            slot.loading = asyncio.create_task(self._load(slot))
        return slot.loading

    async def _reloaded(self, slot: _Slot) -> LoadedModel:
        if slot.error:
            raise _unready(slot)
        loading = self._begin(slot)
        if slot.memory_bytes:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._policy.reload_wait_s):
                    await asyncio.shield(loading)
        if slot.model is None:
            raise _unready(slot)
        return slot.model

    async def _load(self, slot: _Slot) -> None:
        started = time.perf_counter()
        loop = asyncio.get_running_loop()
        self._metrics.model_loads.labels(slot.entry.id).inc()
        try:
            self._make_room(slot.memory_bytes, slot.entry.id)
            report = partial(self._hear, slot)
            model = await loop.run_in_executor(self._thread, self._load_model, slot.entry, report)
            slot.model = replace(model, engine=Counted(model.engine))
        except RerankError as error:
            slot.error = error
            self._set_state(slot, ModelState.FAILED)
            logger.error("model failed to load: %s", error, extra={"model": slot.entry.id})
        else:
            slot.last_used, slot.memory_bytes = time.monotonic(), max(1, slot.model.memory_bytes)
            self._metrics.model_memory.labels(slot.entry.id).set(slot.memory_bytes)
            self._set_state(slot, ModelState.READY)
            self._make_room(0, slot.entry.id)
            seconds = round(time.perf_counter() - started, 3)
            logger.info("model ready", extra={"model": slot.entry.id, "seconds": seconds})
        finally:
            if not slot.model and not slot.error:  # a fault of ours, or shutdown: nobody may wait for this model
                slot.error = ModelLoadError("loading ended without a model; the server's log says why")
                self._set_state(slot, ModelState.FAILED)

    def _make_room(self, incoming_bytes: int, *keep: str) -> None:
        """Unload what the budget has no room for, beside `keep`."""
        for name in surplus(self._residents(), incoming_bytes, self._policy, keep):
            self._unload(self._slots[name], "memory")

    async def _unload_idle(self) -> None:
        """Look now and then for models that nobody has asked for long enough."""
        while True:
            await asyncio.sleep(min(_LOOK_EVERY_S, self._policy.idle_s / 2))
            for name in idle(self._residents(), time.monotonic(), self._policy):
                self._unload(self._slots[name], "idle")

    def _residents(self) -> list[Resident]:
        return [
            Resident(slot.entry.id, slot.memory_bytes, slot.last_used, slot.in_flight)
            for slot in self._slots.values()
            if slot.model
        ]

    def _unload(self, slot: _Slot, reason: str) -> None:
        """Take a model away from new requests at once; its memory is freed in the loading thread."""
        model, slot.model = slot.model, None
        if model is None:
            return
        self._set_state(slot, ModelState.UNLOADED)
        self._metrics.model_unloads.labels(slot.entry.id, reason).inc()
        self._metrics.model_memory.labels(slot.entry.id).set(0)
        logger.info("model unloaded", extra={"model": slot.entry.id, "reason": reason})
        free = asyncio.get_running_loop().run_in_executor(self._thread, _free, model.engine)
        self._frees.add(free)
        free.add_done_callback(self._frees.discard)

    def _is_default(self, slot: _Slot) -> bool:
        return slot.entry.id == self._default

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
            return replace(slot.model.info, memory_bytes=slot.memory_bytes, in_flight=slot.in_flight)
        card = slot.entry.card
        return ModelInfo(
            id=slot.entry.id,
            names=slot.entry.names,
            state=slot.state,
            family=card.family if card else "",
            max_tokens=card.max_tokens if card else 0,
            failure=str(slot.error) if slot.error else "",
            progress=slot.progress,
            memory_bytes=slot.memory_bytes,
        )


def _free(engine: Engine) -> None:
    engine.close()
    give_back_memory()


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
