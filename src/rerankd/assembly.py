"""Settings to a running service: the only module that knows every class."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from rerankd import machine, plugins
from rerankd.cache.base import CacheFactory, ScoreCache
from rerankd.errors import ConfigError
from rerankd.metrics import Metrics
from rerankd.models.loader import Loader
from rerankd.models.pool import ModelPool
from rerankd.models.residence import Policy
from rerankd.registry.resolve import Entry, resolve
from rerankd.registry.store import Store
from rerankd.scheduler.scheduler import Scheduler
from rerankd.service.chunking import Chunking
from rerankd.service.limits import Limits
from rerankd.service.service import RerankService
from rerankd.settings import Settings
from rerankd.sources.base import Access
from rerankd.types import ChunkScores, LongDocuments

_MIB = 1 << 20
_TRUE = frozenset({"1", "ON", "YES", "TRUE"})


def assemble(settings: Settings) -> RerankService:
    """Build the service; no model is loaded yet.

    Raises:
        ConfigError: a model's name or the cache's URL means nothing here.
    """
    metrics = Metrics()
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
    pool = ModelPool(entries, loader.load, metrics, _policy(settings, entries))
    cache = open_cache(settings.cache.url, int(settings.cache.max_mb * _MIB))
    scheduling = settings.scheduling
    workers = machine.worker_threads(
        machine.usable_cores(), workers=scheduling.workers, reserved_cores=scheduling.reserved_cores
    )
    scheduler = Scheduler(workers=workers, queue_tokens=scheduling.queue_tokens, metrics=metrics)
    return RerankService(pool=pool, scheduler=scheduler, cache=cache, limits=limits, chunking=chunking, metrics=metrics)


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
    try:
        factory = cast("CacheFactory", plugins.load("cache", scheme))
    except LookupError as error:
        schemes = ", ".join(f"{name}://" for name in plugins.names("cache"))
        raise ConfigError(f"cache.url {url!r} means no cache here (there are: {schemes})") from error
    return factory.open(url, max_bytes=max_bytes)


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
    )


def _entries(settings: Settings) -> list[Entry]:
    entries = [resolve(name) for name in (settings.models.default, *settings.models.served)]
    unique: dict[str, Entry] = {}
    for entry in entries:
        if entry.id in unique and unique[entry.id].reference != entry.reference:
            raise ConfigError(f"two models are called {entry.id!r}: write NAME=MODEL for one of them")
        unique[entry.id] = entry
    return list(unique.values())
