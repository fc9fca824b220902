"""What whoever runs the server does to its models while it serves: fetch, load, unload, renew, take back, delete."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from rerankd.errors import ConfigError, Conflict, ModelNotFound, RerankError
from rerankd.models import carrying, inventory, renewal
from rerankd.models.loader import Loader, Report
from rerankd.models.pool import ModelPool
from rerankd.models.removal import remove
from rerankd.models.renewal import Golden, Renewal
from rerankd.models.slot import Advance
from rerankd.registry import bundle
from rerankd.registry.obtain import find
from rerankd.registry.operated import Operated
from rerankd.registry.resolve import Entry, lasting
from rerankd.types import JsonObject, ModelInfo

logger = logging.getLogger(__name__)

_AT_ONCE = 16


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """Something that takes a while: how far it is, and the task that ends with what came of it, or with an error.

    It goes on when whoever asked for it has gone; `Operator.close` ends it.
    """

    what: str
    model: str
    advance: Advance
    task: asyncio.Task[JsonObject]


class Operator:
    """Lives on the event loop of the pool. `resolve` turns a name into an entry; blocking.

    `operated`, where given, remembers which models were loaded.
    """

    def __init__(
        self,
        pool: ModelPool,
        loader: Loader,
        resolve: Callable[[str], Entry],
        *,
        golden: Golden | None = None,
        keep_revisions: int = 1,
        operated: Operated | None = None,
    ) -> None:
        self._pool = pool
        self._loader = loader
        self._resolve = resolve
        self._golden = golden
        self._keep = keep_revisions
        self._operated = operated
        self._operations: set[Operation] = set()

    async def restore(self) -> None:
        """Begin to load the models that were loaded when the server last stopped; what the settings say goes first."""
        if self._operated is None:
            return
        for id_, name in (await asyncio.to_thread(self._operated.names)).items():
            try:
                entry = await asyncio.to_thread(self._resolve, name)
            except ConfigError as error:
                logger.warning("%s was loaded when the server last stopped, and is not served: %s", id_, error)
                continue
            if not self._serves(entry):
                self._pool.add(entry)
            elif (set_ := self._pool.entry(entry.id)).reference != entry.reference:
                logger.warning(
                    "%s was loaded from elsewhere when the server last stopped: what the settings call by that name is "
                    "served",
                    set_.id,
                )
            self._pool.load(entry.id)
            logger.info("loaded again, since it was when the server last stopped", extra={"model": entry.id})

    def served(self) -> Sequence[ModelInfo]:
        """Describe the models of this process, the default first."""
        return self._pool.infos()

    async def listed(self) -> list[JsonObject]:
        """Describe every model that is known by name or lies on this machine."""
        return await asyncio.to_thread(lambda: list(inventory.items(self._loader.reach)))

    async def shown(self, name: str) -> JsonObject:
        """Tell what is known of one model: its card, its files here, what has happened to its revisions.

        Raises:
            ConfigError: the name means nothing here.
        """
        entry = await self._entry(name)
        return await asyncio.to_thread(lambda: inventory.details(entry, self._loader.reach))

    async def pull(self, name: str) -> Operation:
        """Fetch a model's files; nothing is loaded."""
        entry = await self._entry(name)

        def fetch(report: Report) -> JsonObject:
            was_here = find(entry, self._loader.reach) is not None
            size = inventory.size_of(self._loader.fetch(entry, report))
            return {"model": entry.id, "names": entry.names, "was_here": was_here, "bytes": size}

        return self._begin("pull", entry.id, Advance(), partial(self._pool.off_loop, fetch))

    async def load(self, name: str) -> Operation:
        """Load a model into memory; one that is not served yet is served from now on."""
        entry = await self._entry(name)
        if not self._serves(entry):
            self._pool.add(entry)
        advance, loading = self._pool.load(entry.id)

        async def loaded(_: Advance) -> JsonObject:
            await asyncio.shield(loading)
            info = await self._pool.wait(entry.id)
            if self._operated:
                await asyncio.to_thread(self._operated.add, entry.id, await asyncio.to_thread(lasting, entry))
            return {"model": info.id, "state": info.state.value, "memory_bytes": info.memory_bytes}

        return self._begin("load", entry.id, advance, loaded)

    async def unload(self, name: str) -> ModelInfo:
        """Take a model out of memory; its next request loads it again.

        Raises:
            ModelNotFound, Conflict: see `ModelPool.unload`.
        """
        logger.info("unload", extra={"model": name})
        info = self._pool.unload(name)
        await self._forget(info.id)
        return info

    async def update(self, name: str) -> Operation:
        """Use what the hub has now; see `ModelPool.renew`."""
        entry = await self._entry(name)
        return self._renew("update", renewal.update(entry, self._loader, golden=self._golden, keep=self._keep))

    async def rollback(self, name: str) -> Operation:
        """Use what was in use before the last update."""
        entry = await self._entry(name)
        return self._renew("rollback", renewal.rollback(entry, self._loader, keep=self._keep))

    async def remove(self, name: str) -> JsonObject:
        """Delete a model's files; one that was served by `load` is served no longer.

        Raises:
            Conflict: it is in memory, or about to be.
            DownloadFailed: it was not fetched to this store.
        """
        entry = await self._entry(name)
        if self._serves(entry):
            self._pool.remove(entry.id)
        await self._forget(entry.id)
        logger.info("rm", extra={"model": entry.id})
        freed = await asyncio.to_thread(remove, entry, self._loader.store, self._loader.reach)
        return {"model": entry.id, "bytes": freed}

    async def export(self, names: Sequence[str], file: Path) -> Operation:
        """Write models to a bundle; see `registry.bundle.export`."""
        entries = [await self._entry(name) for name in names]

        def write(report: Report) -> JsonObject:
            models = [carrying.carried(entry, self._loader, report) for entry in entries]
            return {
                "sha256": bundle.export(file, models, report),
                "models": [model.manifest.repository for model in models],
                "bytes": file.stat().st_size,
            }

        return self._begin("bundle export", ",".join(names), Advance(), partial(self._pool.off_loop, write))

    async def import_bundle(self, file: Path, sha256: str) -> Operation:
        """Check a bundle and put its models into the store; see `registry.bundle.import_bundle`. The file goes then."""

        def read(report: Report) -> JsonObject:
            try:
                manifests, digest = bundle.import_bundle(file, self._loader.store, report, sha256=sha256)
            finally:
                file.unlink(missing_ok=True)
            size = sum(manifest.size for manifest in manifests)
            return {"sha256": digest, "models": [carrying.named(manifest) for manifest in manifests], "bytes": size}

        return self._begin("bundle import", "", Advance(), partial(self._pool.off_loop, read))

    @property
    def store(self) -> Path:
        """The folder for models, where there is room for a bundle."""
        return self._loader.store.root

    async def close(self) -> None:
        """End what is under way."""
        for operation in self._operations:
            operation.task.cancel()
        await asyncio.gather(*(operation.task for operation in self._operations), return_exceptions=True)

    def _renew(self, what: str, plan: Renewal) -> Operation:
        async def renewed(advance: Advance) -> JsonObject:
            if self._serves(plan.entry):
                return asdict(await self._pool.renew(plan.entry.id, plan, advance))
            return asdict(await self._pool.off_loop(partial(renewal.renew_here, plan), advance))

        return self._begin(what, plan.entry.id, Advance(), renewed)

    def _begin(
        self, what: str, model: str, advance: Advance, work: Callable[[Advance], Coroutine[object, object, JsonObject]]
    ) -> Operation:
        if len(self._operations) >= _AT_ONCE:
            raise Conflict(f"{_AT_ONCE} operations are under way: wait until one of them is done")
        logger.info("%s", what, extra={"model": model})
        operation = Operation(what, model, advance, asyncio.create_task(work(advance)))
        self._operations.add(operation)
        operation.task.add_done_callback(partial(self._ended, operation))
        return operation

    def _ended(self, operation: Operation, task: "asyncio.Task[JsonObject]") -> None:
        self._operations.discard(operation)
        if task.cancelled():
            return
        if error := task.exception():  # looked at here, for whoever asked may have gone
            trace = None if isinstance(error, RerankError) else error
            logger.warning("%s failed: %s", operation.what, error, exc_info=trace, extra={"model": operation.model})

    async def _forget(self, id_: str) -> None:
        if self._operated:
            await asyncio.to_thread(self._operated.remove, id_)

    def _serves(self, entry: Entry) -> bool:
        return any(info.id == entry.id for info in self._pool.infos())

    async def _entry(self, name: str) -> Entry:
        """Find a served model as clients write it, else whatever the name means."""
        try:
            return self._pool.entry(name)
        except ModelNotFound:
            return await asyncio.to_thread(self._resolve, name)
