"""Settings to a running service: the only module that knows every class."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from rerankd import machine, plugins
from rerankd.cache._tiers import Tiers
from rerankd.cache.base import CacheFactory, OutOfProcess, ScoreCache
from rerankd.engines._torch_devices import devices
from rerankd.errors import ConfigError, InvalidRequest
from rerankd.metrics import Metrics
from rerankd.models.loader import Loader
from rerankd.models.pool import ModelPool
from rerankd.models.renewal import Golden, Ndcg
from rerankd.models.residence import Policy
from rerankd.registry import options
from rerankd.registry.operated import Operated
from rerankd.registry.resolve import Entry, resolve
from rerankd.registry.store import Store
from rerankd.scheduler.scheduler import Scheduler
from rerankd.service.cascade import Cascade
from rerankd.service.chunking import Chunking
from rerankd.service.limits import Limits
from rerankd.service.operator import Operator
from rerankd.service.service import RerankService
from rerankd.settings import Settings
from rerankd.sources.base import Access
from rerankd.types import GIVEN_ORDER, ChunkScores, LongDocuments

_MIB = 1 << 20
_ALSO_REDIS = {"rediss": "redis", "unix": "redis"}
_BUNDLED = "rerankd-zh-en"
_TRUE = frozenset({"1", "ON", "YES", "TRUE"})


def assemble(
    settings: Settings, *, measure: Callable[[Path], Ndcg] | None = None, remember: bool = False
) -> RerankService:
    """Build the service; no model is loaded yet. `measure` opens `models.golden_set`, for renewals.

    With `remember`, a server's: what is loaded into it while it serves is loaded again at its next start.

    Raises:
        ConfigError: a model's name or the cache's URL means nothing here.
    """
    metrics = Metrics()
    metrics.watch_devices(devices)
    loader = make_loader(settings)
    limits = Limits(
        max_documents=settings.limits.max_documents,
        max_query_chars=settings.limits.max_query_chars,
        deadline_s=settings.limits.deadline_s,
    )
    chunking = Chunking(
        long_documents=LongDocuments(settings.limits.long_documents),
        chunk_scores=ChunkScores(settings.limits.chunk_scores),
        max_chunks_per_doc=settings.limits.max_chunks_per_doc,
        overlap_tokens=settings.limits.overlap_tokens,
    )
    entries = _entries(settings)
    pool = ModelPool(entries, loader.load, metrics, _policy(settings, entries), fetch=loader.fetch)
    operator = Operator(
        pool,
        loader,
        lambda name: configured(resolve(name), settings),
        golden=golden(settings, measure),
        keep_revisions=settings.models.keep_revisions,
        operated=_operated(settings, loader.store) if remember else None,
    )
    cache = open_cache(settings.cache.url, int(settings.cache.max_mb * _MIB))
    scheduling = settings.scheduling
    scheduler = Scheduler(
        workers=_workers(settings), queue_tokens=scheduling.queue_tokens, hang_s=scheduling.hang_s, metrics=metrics
    )
    return RerankService(
        pool=pool, scheduler=scheduler, cache=cache, limits=limits, chunking=chunking, cascade=_cascade(settings),
        metrics=metrics, while_loading=_stand_in(settings), operator=operator,
    )  # fmt: skip


def _operated(settings: Settings, store: Store) -> Operated | None:
    """Say where is written down what was loaded: by port, since servers may share a store; a free port is none."""
    if not settings.models.restore or not settings.server.port:
        return None
    return Operated(store.root / "operated" / f"port-{settings.server.port}.json")


def make_loader(settings: Settings) -> Loader:
    """Say how models are made ready."""
    store = Store(settings.models.store)
    return Loader(
        store=store,
        access=open_access(settings, store),
        prefer=settings.models.first_hub,
        engine=settings.models.engine,
        max_tokens=settings.models.max_tokens,
        document_cache_bytes=int(settings.models.document_cache_mb * _MIB),
        precision=settings.models.precision,
        check_golden=settings.models.check_golden,
    )


def configured(entry: Entry, settings: Settings) -> Entry:
    """Give a model what is set for it alone; no model gets more threads than there are workers.

    Raises:
        ConfigError: `models.options` cannot be read.
    """
    known = {name.casefold() for name in (entry.id, *entry.names)}
    for name, found in options.read(settings.models.options).items():
        if name.casefold() in known:
            workers = _workers(settings)
            return replace(entry, options=replace(found, threads=min(found.threads, workers)))
    return entry


def _workers(settings: Settings) -> int:
    scheduling = settings.scheduling
    return machine.worker_threads(
        machine.usable_cores(), workers=scheduling.workers, reserved_cores=scheduling.reserved_cores
    )


def golden(settings: Settings, measure: Callable[[Path], Ndcg] | None) -> Golden | None:
    """Say what a newer revision is judged by; None where nothing is set.

    Raises:
        RerankError: the golden set cannot be read.
    """
    if settings.models.golden_set is None or measure is None:
        return None
    return Golden(measure(settings.models.golden_set), settings.models.golden_margin)


def open_access(settings: Settings, store: Store, environ: Mapping[str, str] = os.environ) -> Access:
    """Say how sources reach out: settings first, then the variables that the hubs' own clients know.

    They are read now, not when a package is imported.
    """
    models = settings.models
    cache = environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE")
    home = environ.get("HF_HOME") or Path(environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Access(
        store=store.root,
        offline=models.offline or environ.get("HF_HUB_OFFLINE", "").upper() in _TRUE,
        hf_endpoint=models.hf_endpoint or environ.get("HF_ENDPOINT") or "https://huggingface.co",
        mirrors=models.mirrors,
        hf_token=models.hf_token.get_secret_value() if models.hf_token else environ.get("HF_TOKEN", ""),
        mirrors_get_token=models.mirrors_get_token,
        hf_cache=(Path(cache) if cache else Path(home) / "hub").expanduser(),
        modelscope_endpoint=models.modelscope_endpoint or environ.get("MODELSCOPE_ENDPOINT") or "https://modelscope.cn",
        modelscope_token=models.modelscope_token.get_secret_value()
        if models.modelscope_token
        else environ.get("MODELSCOPE_API_TOKEN", ""),
        timeout_s=models.download_timeout_s,
    )


def open_cache(url: str, max_bytes: int) -> ScoreCache:
    """Open a score cache by its URL; the scheme names the module.

    Raises:
        ConfigError: no cache of that scheme.
    """
    scheme = url.partition("://")[0]
    scheme = _ALSO_REDIS.get(scheme, scheme)
    try:
        factory = cast("CacheFactory", plugins.load("cache", scheme))
    except LookupError as error:
        schemes = ", ".join(f"{name}://" for name in plugins.names("cache"))
        raise ConfigError(f"cache.url {scheme + '://'!r} means no cache here (there are: {schemes})") from error
    cache = factory.open(url, max_bytes=max_bytes)
    if not isinstance(factory, OutOfProcess) or not factory.out_of_process:
        return cache
    if not max_bytes:
        return open_cache("off://", 0)
    return Tiers(open_cache("memory://", max_bytes), cache)


def _policy(settings: Settings, entries: Sequence[Entry]) -> Policy:
    """Say which models stay in memory.

    Raises:
        ConfigError: a pinned model is none that is served.
    """
    models = settings.models
    names = {name.casefold(): entry.id for entry in entries for name in (entry.id, *entry.names)}
    unknown = [name for name in models.pinned if name.casefold() not in names]
    if unknown:
        raise ConfigError(f"models.pinned names {unknown[0]!r}, which is not served: add it to models.served")
    return Policy(
        preload=models.preload,
        idle_s=models.idle_unload_s,
        memory_bytes=int(models.memory_mb * _MIB),
        pinned=frozenset(names[name.casefold()] for name in models.pinned),
        always=frozenset({_BUNDLED} if models.while_loading == "bundled" else ()),
    )


def _cascade(settings: Settings) -> Cascade:
    """Say how cascades run; the ids stand for the models that `models.default` names."""
    default = [resolve(name).id for name in _stages(settings)]
    return Cascade(
        default=">".join(default) if len(default) > 1 else "",
        documents=settings.cascade.documents,
        deadline_s=settings.cascade.deadline_s,
    )


def _stages(settings: Settings) -> Sequence[str]:
    try:
        return Cascade().stages(settings.models.default)
    except InvalidRequest as error:
        raise ConfigError(f"models.default {settings.models.default!r} is no cascade: write FAST>LARGE") from error


def _stand_in(settings: Settings) -> str:
    return {"refuse": "", "bundled": _BUNDLED, "given_order": GIVEN_ORDER}[settings.models.while_loading]


def _entries(settings: Settings) -> list[Entry]:
    """List what is served, the default first (of a cascade, the large one), the model that stands in for others last.

    Raises:
        ConfigError: a name means nothing, two models have one id, or an option is for no model that is served.
    """
    stand_in = [_BUNDLED] if settings.models.while_loading == "bundled" else []
    names = (*reversed(_stages(settings)), *settings.models.served, *stand_in)
    entries = [configured(resolve(name), settings) for name in names]
    known = {name.casefold() for entry in entries for name in (entry.id, *entry.names)}
    for name in options.read(settings.models.options):
        if name.casefold() not in known:
            raise ConfigError(f"models.options names {name!r}, which is not served: add it to models.served")
    unique: dict[str, Entry] = {}
    for entry in entries:
        if entry.id in unique and unique[entry.id].reference != entry.reference:
            raise ConfigError(f"two models are called {entry.id!r}: write NAME=MODEL for one of them")
        unique[entry.id] = entry
    return list(unique.values())
