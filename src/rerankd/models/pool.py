"""The models of this process: by name, in whatever state they are."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TypeVar

from rerankd.errors import Conflict, ModelLoadError, RerankError
from rerankd.metrics import Metrics
from rerankd.models.loaded import LoadedModel
from rerankd.models.loader import Report
from rerankd.models.renewal import Outcome, Renewal
from rerankd.models.residence import Counted, Policy, Resident, idle, surplus
from rerankd.models.slot import Advance, Lent, Slot, find
from rerankd.models.threads import Threads
from rerankd.registry.resolve import Entry
from rerankd.types import ModelInfo, ModelState, Progress

logger = logging.getLogger(__name__)

T = TypeVar("T")

Load = Callable[[Entry, Report], LoadedModel]
"""Makes a model ready; blocking. See `models.loader.Loader.load`."""

Fetch = Callable[[Entry, Report], object]
"""Brings a model's files here, so that `Load` finds them; blocking, and for as long as a download takes."""

_LOOK_EVERY_S = 5.0


class ModelPool:
    """Models registered before they load, so that readiness is honest. The first entry is the default."""

    def __init__(
        self, entries: Sequence[Entry], load: Load, metrics: Metrics, policy: Policy | None = None, *,
        fetch: Fetch | None = None,
    ) -> None:  # fmt: skip
        self._slots = {entry.id: Slot(entry) for entry in entries}
        self._default = entries[0].id
        self._load_model = load
        self._fetch_files = fetch
        self._metrics = metrics
        self._policy = policy or Policy()
        self._threads = Threads()
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to load what is to be loaded at the start, the default first; return at once."""
        for slot in self._slots.values():
            is_default = slot.entry.id == self._default
            wanted = self._policy.preload == "all" or (self._policy.preload == "default" and is_default)
            if wanted or slot.entry.id in self._policy.always:
                self._begin(slot)
            else:
                self._set_state(slot, ModelState.UNLOADED)
        if self._policy.idle_s:
            self._watch = asyncio.create_task(self._unload_idle())

    async def wait(self, name: str = "") -> ModelInfo:
        """Wait until a model is ready, loading it if nobody has yet.

        Raises:
            ModelNotFound: none of that name.
            ModelLoadError, ConfigError: it failed to load.
        """
        slot = self._find(name)
        if slot.current is None and not slot.error:
            await asyncio.shield(self._begin(slot))
        if slot.error:
            raise slot.error
        return slot.info()

    @asynccontextmanager
    async def use(self, name: str) -> AsyncGenerator[LoadedModel]:
        """Lend a model for one request; it is neither unloaded nor replaced under it.

        A model that is not loaded begins to be. One that was loaded before comes back in a moment: the request waits
        for it. One that never was may have to be fetched and converted: the request is refused.

        Raises:
            ModelNotFound: none of that name.
            ModelNotReady: it is still loading.
            ModelLoadError: it failed to load.
        """
        slot = self._find(name)
        lent = slot.current or await self._reloaded(slot)
        with self._lending(slot, lent) as model:
            yield model

    def infos(self) -> Sequence[ModelInfo]:
        """Describe every model, the default first."""
        return [slot.info() for slot in self._slots.values()]

    def info(self, name: str) -> ModelInfo:
        """Describe one model.

        Raises:
            ModelNotFound: none of that name.
        """
        return self._find(name).info()

    def entry(self, name: str) -> Entry:
        """Return what a name was registered for.

        Raises:
            ModelNotFound: none of that name.
        """
        return self._find(name).entry

    def add(self, entry: Entry) -> None:
        """Serve one more model; its first request, or `load`, loads it.

        Raises:
            Conflict: another model has its id.
        """
        if entry.id in self._slots:
            raise Conflict(f"a model called {entry.id!r} is served already: write NAME=MODEL for another name")
        slot = self._slots[entry.id] = Slot(entry)
        self._set_state(slot, ModelState.UNLOADED)

    def remove(self, name: str) -> None:
        """Serve a model no longer.

        Raises:
            ModelNotFound: none of that name.
            Conflict: it is loaded, or about to be, or the default.
        """
        slot = self._find(name)
        if slot.current or slot.retiring or slot.renewal or _is_loading(slot) or slot.entry.id == self._default:
            raise Conflict(f"model {slot.entry.id!r} is in use: unload it first (the default model always stays)")
        del self._slots[slot.entry.id]

    def load(self, name: str) -> "tuple[Advance, asyncio.Task[None]]":
        """Begin to load a model, also one that has failed; return how far that is, and what ends when it is done."""
        slot = self._find(name)
        slot.error = None
        return slot.advance, (asyncio.create_task(_nothing()) if slot.current else self._begin(slot))

    def unload(self, name: str) -> ModelInfo:
        """Take a model out of memory, once the requests that use it are answered; its next request loads it again.

        Raises:
            ModelNotFound: none of that name.
            Conflict: it is being loaded or renewed.
        """
        slot = self._find(name)
        if slot.renewal or _is_loading(slot):
            raise Conflict(f"model {slot.entry.id!r} is being made ready: try again when that is done")
        self._unload(slot, "asked")
        return slot.info()

    async def renew(self, name: str, renewal: Renewal, advance: Advance) -> Outcome:
        """Put another revision in the place of the one in use: no request fails, none meets a half-loaded model.

        Requests under way end with the old network, which is freed when the last one has. Where anything fails before
        the new one is ready, the old one stays. `advance` hears how far it is.

        Raises:
            ModelNotFound: none of that name.
            Conflict: it is being renewed already.
            ModelLoadError: the new revision cannot be fetched or made ready, or is judged worse.
        """
        slot = self._find(name)
        if slot.renewal:
            raise Conflict(f"model {slot.entry.id!r} is being renewed already: wait until that is done")
        slot.renewal = advance
        outcome = None
        try:
            outcome = await self._renewed(slot, renewal, self._threads.reporting(advance.hear))
            return outcome
        finally:
            slot.renewal = None
            how = outcome.how if outcome else "failed"
            self._metrics.model_renewals.labels(slot.entry.id, how.replace(" ", "_")).inc()

    async def off_loop(self, work: Callable[[Report], T], advance: Advance) -> T:
        """Do what takes as long as a download, beside everything else; shutting down ends it."""
        return await self._threads.fetch(partial(work, self._threads.reporting(advance.hear)))

    async def close(self) -> None:
        """Free the networks; a download that is under way ends at once. No request may be under way."""
        self._threads.closing()
        tasks = [slot.loading for slot in self._slots.values() if slot.loading]
        if self._watch:
            tasks.append(self._watch)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._threads.close()
        for slot in self._slots.values():
            lent, slot.current = slot.current, None
            if lent:
                self._set_state(slot, ModelState.DRAINING)
                await asyncio.to_thread(lent.model.engine.close)

    def _begin(self, slot: Slot) -> "asyncio.Task[None]":
        """Load a model, unless that is under way."""
        if slot.loading is None or slot.loading.done():
            self._set_state(slot, ModelState.RESOLVING)
            slot.loading = asyncio.create_task(self._load(slot))
        return slot.loading

    async def _reloaded(self, slot: Slot) -> Lent:
        if slot.error:
            raise slot.unready()
        loading = self._begin(slot)
        if slot.memory_bytes:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._policy.reload_wait_s):
                    await asyncio.shield(loading)
        if slot.current is None:
            raise slot.unready()
        return slot.current

    async def _load(self, slot: Slot) -> None:
        started, turn = time.perf_counter(), slot.turn
        self._metrics.model_loads.labels(slot.entry.id).inc()
        report = self._threads.reporting(partial(self._hear, slot))
        try:
            if self._fetch_files:
                await self._threads.fetch(partial(self._fetch_files, slot.entry, report))
            self._set_state(slot, ModelState.LOADING)  # also while another model has the thread that loads
            self._make_room(slot.memory_bytes, slot.entry.id)
            model = await self._threads.load(partial(self._load_model, slot.entry, report))
        except RerankError as error:
            if slot.turn == turn:
                slot.error = error
                self._set_state(slot, ModelState.FAILED)
            logger.error("model failed to load: %s", error, extra={"model": slot.entry.id})
        else:
            self._install(slot, Lent(_counted(model)), unless_after=turn)
            seconds = round(time.perf_counter() - started, 3)
            logger.info("model ready", extra={"model": slot.entry.id, "seconds": seconds})
        finally:
            if not slot.current and not slot.error:  # a fault of ours, or shutdown: nobody may wait for this model
                slot.error = ModelLoadError("loading ended without a model; the server's log says why")
                self._set_state(slot, ModelState.FAILED)

    async def _renewed(self, slot: Slot, renewal: Renewal, report: Report) -> Outcome:
        if slot.loading:
            await asyncio.shield(slot.loading)
        folder = await self._threads.fetch(partial(renewal.choose, report))
        if renewal.is_the_same(folder, slot.current.model if slot.current else None):
            return renewal.unchanged(folder)
        if renewal.golden and not slot.current and not slot.error:  # what it is to be judged against
            await asyncio.shield(self._begin(slot))
        self._make_room(slot.memory_bytes, slot.entry.id)
        candidate = Lent(_counted(await self._threads.load(partial(renewal.load, folder, report))))
        adopted = False
        try:
            with contextlib.ExitStack() as stack:
                old = stack.enter_context(self._lending(slot, slot.current)) if slot.current else None
                conclude = partial(renewal.conclude, folder, old, candidate.model, report)
                outcome = await self._threads.fetch(conclude)
            adopted = outcome.how != "unchanged"
        finally:
            if not adopted:
                self._threads.free(candidate.model.engine)
        if adopted:
            self._install(slot, candidate)
            logger.info("model %s", outcome.how, extra={"model": slot.entry.id, "revision": outcome.after})
        return outcome

    def _install(self, slot: Slot, fresh: Lent, *, unless_after: int | None = None) -> None:
        """Give a network to all requests from now on. One that was overtaken by another (`unless_after`) is freed."""
        if unless_after is not None and slot.turn != unless_after and slot.current:
            self._threads.free(fresh.model.engine)
            return
        slot.turn += 1
        if slot.current:
            self._retire(slot, slot.current)
        slot.current, slot.error = fresh, None
        slot.last_used, slot.memory_bytes = time.monotonic(), max(1, fresh.model.memory_bytes)
        self._metrics.model_memory.labels(slot.entry.id).set(slot.memory_bytes)
        self._set_state(slot, ModelState.READY)
        if 0 < self._policy.memory_bytes < slot.memory_bytes:
            logger.warning(
                "%s takes %.0f MB, more than the whole budget of %.0f MB (models.memory_mb): it is unloaded after its "
                "requests and loaded again for the next",
                slot.entry.id,
                slot.memory_bytes / 1e6,
                self._policy.memory_bytes / 1e6,
            )
        self._make_room(0, slot.entry.id)

    @contextlib.contextmanager
    def _lending(self, slot: Slot, lent: Lent) -> Generator[LoadedModel]:
        lent.in_flight += 1
        try:
            yield lent.model
        finally:
            lent.in_flight -= 1
            slot.last_used = time.monotonic()
            if lent.retired and not lent.in_flight:
                slot.retiring.remove(lent)
                self._threads.free(lent.model.engine)
            self._make_room(0)

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
        """Describe what is in memory; a network that is being replaced counts until its last request is answered."""
        found: list[Resident] = []
        for slot in self._slots.values():
            pinned = slot.entry.options.pinned or slot.renewal is not None
            if lent := slot.current:
                size = slot.memory_bytes
                found.append(Resident(slot.entry.id, size, slot.last_used, lent.in_flight, pinned=pinned))
            found += [Resident("", lent.model.memory_bytes, slot.last_used, 1) for lent in slot.retiring]
        return found

    def _unload(self, slot: Slot, reason: str) -> None:
        """Take a model away from new requests at once."""
        lent, slot.current = slot.current, None
        if lent is None:
            return
        self._set_state(slot, ModelState.UNLOADED)
        self._metrics.model_unloads.labels(slot.entry.id, reason).inc()
        self._metrics.model_memory.labels(slot.entry.id).set(0)
        logger.info("model unloaded", extra={"model": slot.entry.id, "reason": reason})
        self._retire(slot, lent)

    def _retire(self, slot: Slot, lent: Lent) -> None:
        lent.retired = True
        if lent.in_flight:
            slot.retiring.append(lent)
        else:
            self._threads.free(lent.model.engine)

    def _hear(self, slot: Slot, news: ModelState | Progress) -> None:
        if isinstance(news, ModelState):
            self._set_state(slot, news)
        else:
            slot.advance.hear(news)

    def _set_state(self, slot: Slot, state: ModelState) -> None:
        slot.advance.hear(state)
        for other in ModelState:
            self._metrics.model_state.labels(slot.entry.id, other.value).set(float(other is state))

    def _find(self, name: str) -> Slot:
        return find(list(self._slots.values()), name)


def _is_loading(slot: Slot) -> bool:
    return slot.loading is not None and not slot.loading.done()


def _counted(model: LoadedModel) -> LoadedModel:
    return replace(model, engine=Counted(model.engine))


async def _nothing() -> None:
    return
