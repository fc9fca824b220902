"""What `rerankd doctor` looks at: one function a question, each answered with a remedy."""

import errno
import hashlib
import json
import platform
import re
import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, cast

from rerankd import __version__, machine, plugins
from rerankd.errors import ChecksumMismatch, ConfigError, RerankError

if TYPE_CHECKING:
    from rerankd.engines.base import EngineFactory
    from rerankd.registry.catalog import Card
    from rerankd.settings import Settings
    from rerankd.types import Ranking

_MIB = 1 << 20
_QUERY = "How do I put the best documents first? 怎样把最好的文档排在最前面?"
_DOCUMENTS = (
    "Bananas are rich in potassium. 香蕉富含钾。",
    "A reranker puts the best documents first. 重排序模型把最好的文档排在最前面。",
)


class Status(StrEnum):
    """How it looks."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One answer: what was looked at, how it looks, what was found, and what to do if it is not well."""

    name: str
    status: Status
    found: str
    remedy: str = ""


def run(config_file: Path | None) -> Iterator[Check]:
    """Look at everything, quick things first. With wrong settings the defaults are used for the rest."""
    settings, check = _settings(config_file)
    yield check
    yield from _packages()
    yield _cores(settings)
    yield _memory(settings)
    yield from _engines()
    yield _port(settings)
    yield _store(settings)
    yield from _bundled_models(settings)


def _settings(config_file: Path | None) -> "tuple[Settings, Check]":
    from rerankd import config
    from rerankd.settings import Settings

    try:
        loaded = config.load(config_file)
    except ConfigError as error:
        found = "; ".join(str(error).splitlines())
        return Settings(), Check("settings", Status.FAIL, found, "correct it: `rerankd config check` tries again")
    given = sum(origin != "default" for origin in loaded.origins.values())
    source = loaded.file.name if loaded.file else "no settings file"
    return loaded.settings, Check("settings", Status.OK, f"{source}, {given} settings given")


def _packages() -> Iterator[Check]:
    python = (
        f"{platform.python_implementation()} {platform.python_version()} on {platform.system()} {platform.machine()}"
    )
    yield Check("rerankd", Status.OK, f"{__version__}, {python}")
    try:
        required = metadata.requires("rerankd") or []
    except metadata.PackageNotFoundError:
        remedy = "install it: pip install rerankd"
        yield Check("packages", Status.WARN, "rerankd runs from a folder: what it needs is not known", remedy)
        return
    for requirement in sorted(required):
        yield _package(requirement)


def _package(requirement: str) -> Check:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    name = found.group() if found else requirement
    extra = re.search(r"extra == ['\"]([^'\"]+)['\"]", requirement)
    try:
        return Check(name, Status.OK, metadata.version(name) + (f" (extra {extra[1]})" if extra else ""))
    except metadata.PackageNotFoundError:
        if extra:
            return Check(name, Status.OK, f"not installed (optional: pip install 'rerankd[{extra[1]}]')")
        return Check(name, Status.FAIL, "not installed", f"pip install {name}")


def _cores(settings: "Settings") -> Check:
    usable, quota = machine.cores(), machine.core_quota()
    scheduling = settings.scheduling
    workers = machine.worker_threads(usable, workers=scheduling.workers, reserved_cores=scheduling.reserved_cores)
    found = f"{usable} usable" + (f", a container limit of {quota:g}" if quota is not None else "")
    found += f", {workers} workers"
    allowed = usable if quota is None else min(usable, quota)
    if workers > max(1, allowed):
        remedy = f"set scheduling.workers to {max(1, int(allowed))}: more only wait for each other"
        return Check("cores", Status.WARN, found, remedy)
    return Check("cores", Status.OK, found)


def _memory(settings: "Settings") -> Check:
    """The caches' bounds are the part of our memory that is known beforehand: they must fit, with room for the rest."""
    memory = machine.memory()
    if memory is None:
        return Check("memory", Status.OK, "this system does not tell")
    found = f"{memory.total // _MIB} MiB"
    if memory.usable < memory.total:
        found += f", a container limit of {memory.usable // _MIB} MiB"
    models = 1 + len(settings.models.served)
    caches_mb = settings.cache.max_mb + settings.models.document_cache_mb * models
    found += f"; caches may take {caches_mb:g} MiB"
    if caches_mb * _MIB >= memory.usable:
        return Check("memory", Status.WARN, found, "lower models.document_cache_mb or cache.max_mb")
    return Check("memory", Status.OK, found)


def _engines() -> Iterator[Check]:
    from rerankd.models.engine_choice import choose_engine

    for name in plugins.names("engines"):
        try:
            missing = cast("EngineFactory", plugins.load("engines", name)).missing()
        except ImportError as error:
            missing = str(error)
        yield Check(f"engine {name}", Status.OK, f"cannot run: {missing}" if missing else "can run")
    try:
        chosen, _, _ = choose_engine("auto", {}, causal=False)
    except (ConfigError, ImportError) as error:
        yield Check(
            "engine", Status.FAIL, f"no engine runs here: {error}", "reinstall rerankd, or install what is missing"
        )
        return
    yield Check("engine", Status.OK, f"{chosen} would run: it is what is taken where none is named")


def _port(settings: "Settings") -> Check:
    host, port = settings.server.host, settings.server.port
    where = f"{host} port {port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # As the server does: a port whose last server has just stopped is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            remedy = "it may be rerankd already; otherwise choose another with --port"
            return Check("port", Status.WARN, f"{where} is in use", remedy)
        return Check("port", Status.FAIL, f"{where}: {error.strerror}", "correct server.host or server.port")
    return Check("port", Status.OK, f"{where} is free")


def _store(settings: "Settings") -> Check:
    from rerankd.registry.store import Store

    root = Store(settings.models.store).root
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        remedy = "make it writable, or set models.store to a folder that is"
        return Check("store", Status.FAIL, f"{root}: {error.strerror}", remedy)
    return Check("store", Status.OK, f"{root} is writable")


def _bundled_models(settings: "Settings") -> Iterator[Check]:
    from rerankd.registry.catalog import cards

    for card in cards():
        if card.source.source == "bundled":
            files = _files(card)
            yield files
            if files.status is not Status.FAIL:
                yield _ranking(card, settings)


def _files(card: "Card") -> Check:
    from rerankd.registry.obtain import obtain
    from rerankd.registry.resolve import Entry
    from rerankd.sources.base import Access

    name = f"files of {card.id}"
    try:
        folder = obtain(Entry(card.id, card.names, card.source), Access(Path(), offline=True), lambda _: None)
        digests = _digests(folder)
    except RerankError as error:
        return Check(name, Status.FAIL, str(error), "reinstall rerankd")
    damaged = [file for file, digest in digests.items() if not _is_whole(folder / file, digest)]
    if damaged:
        return Check(name, Status.FAIL, f"damaged or missing: {', '.join(damaged)}", "reinstall rerankd")
    return Check(name, Status.OK, f"{len(digests)} files whole (sha256)")


def _digests(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file that card.json lists.

    Raises:
        ChecksumMismatch: there is no card, or no digest in it.
    """
    try:
        files = json.loads((folder / "card.json").read_text("utf-8"))["files"]
        return {str(name): str(facts["sha256"]) for name, facts in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ChecksumMismatch("card.json is missing or names no files") from error


def _is_whole(file: Path, digest: str) -> bool:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == digest
    except OSError:
        return False


def _ranking(card: "Card", settings: "Settings") -> Check:
    name = f"test ranking with {card.id}"
    try:
        ready_s, ranked_s, ranking = _rank(card, settings)
    except RerankError as error:
        return Check(name, Status.FAIL, str(error), "reinstall rerankd; if that does not help, please report it")
    best = ranking[0].index
    if best != 1:
        return Check(name, Status.FAIL, f"document {best} came first, not 1", "please report it: scores are wrong here")
    return Check(name, Status.OK, f"right; model ready in {ready_s:.2f} s, 2 documents in {ranked_s * 1000:.0f} ms")


def _rank(card: "Card", settings: "Settings") -> "tuple[float, float, Ranking]":
    """Return seconds until ready, seconds to rank, and the ranking."""
    from rerankd.reranker import Reranker

    started = time.perf_counter()
    alone = settings.model_copy(update={"models": settings.models.model_copy(update={"served": ()})})
    with Reranker(card.id, settings=alone) as reranker:
        ready = time.perf_counter()
        ranking = reranker.rank(_QUERY, _DOCUMENTS)
        return ready - started, time.perf_counter() - ready, ranking
