"""The bench from beginning to end: the model, its start and memory, the cells, the capacity question."""

import asyncio
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rerankd import machine
from rerankd.bench.capacity import Capacity, Demand
from rerankd.bench.cold import ColdStart, cold_start
from rerankd.bench.load import Target
from rerankd.bench.machine_facts import describe_machine
from rerankd.bench.measure import Cell
from rerankd.bench.peak import MatrixPeak, PeakPrecision
from rerankd.bench.process import memory_use
from rerankd.bench.report import Conditions, Memory, ModelFacts, Report, Start
from rerankd.bench.requests import BenchRequest, RequestMaker, read_requests
from rerankd.bench.server import OwnServer, own_server
from rerankd.bench.session import Found, Session
from rerankd.bench.targets import HttpTarget, InProcess
from rerankd.bench.texts import ModelTexts, open_texts
from rerankd.errors import ConfigError
from rerankd.http.auth import read_keys
from rerankd.reranker import AsyncReranker
from rerankd.settings import CacheSettings, ModelsSettings, Settings
from rerankd.types import ModelInfo

Over = Literal["process", "http"]
Say = Callable[[str], None]

DOCUMENTS, CLIENTS = (5, 20, 100), (1, 4, 16)
_LOAD_REQUESTS, _LOAD_DOCUMENTS = 40, 20
_LOAD_SHARE = 0.05
_LEAST_SHARE_OF_CELLS = 0.6
_SAMPLE_SHARE, _LONGEST_SAMPLE_S = 0.005, 0.2
_OUT_OF_THE_WAY = 1_000_000  # numbers of requests that no cell reaches


@dataclass(frozen=True, slots=True)
class Against:
    """Another server to measure with the same requests; see `targets.HttpTarget`."""

    url: str
    dialect: str = "auto"
    model: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Wish:
    """What to measure. `seconds` is about how long all of it may take; `insist` measures every cell nevertheless.

    `config_file` and `settings` say the same: the file is for the server in its own process, which reads it itself.
    """

    model: str = ""
    settings: Settings = field(default_factory=Settings)
    config_file: Path | None = None
    over: Over = "process"
    documents: tuple[int, ...] = DOCUMENTS
    clients: tuple[int, ...] = CLIENTS
    insist: bool = False
    doc_tokens: int | None = None
    file: Path | None = None
    seed: int = 1
    seconds: float = 60
    starts: int = 3
    against: tuple[Against, ...] = ()
    demand: Demand | None = None


def bench(wish: Wish, say: Say = lambda _: None) -> Report:
    """Measure; blocking. `say` hears what is being done.

    Raises:
        ConfigError, ModelLoadError: the model cannot be loaded, or a URL is none.
        InvalidRequest: the file holds something that is no request.
        ServerUnreachable: a server to compare with does not rerank, or our own does not start.
    """
    began = time.perf_counter()
    settings = _measured(wish)
    requests = read_requests(wish.file) if wish.file else None
    say("loading the model")
    info = asyncio.run(_look(wish.model, settings))
    texts = open_texts(wish.model or settings.models.default, max_tokens=settings.models.max_tokens, settings=settings)
    maker = RequestMaker(seed=wish.seed, doc_tokens=wish.doc_tokens, count=texts.count)
    load = requests or maker.batch(_LOAD_DOCUMENTS, _OUT_OF_THE_WAY, _LOAD_REQUESTS)
    with _ours(wish, settings, load, say) as ours:
        session = Session(
            texts=texts,
            maker=maker,
            requests=requests,
            deadline=max(began + wish.seconds, time.perf_counter() + _LEAST_SHARE_OF_CELLS * wish.seconds),
            sample_s=min(_LONGEST_SAMPLE_S, wish.seconds * _SAMPLE_SHARE),
            insist=wish.insist,
            # Another engine may compute elsewhere than on these cores.
            shares=info.engine == "onnx",
            say=say,
        )
        found, capacity = asyncio.run(_measure(wish, settings, info, session, ours.server))
        memory = ours.memory()
    return Report(
        machine=describe_machine(),
        model=_facts(info, texts),
        conditions=Conditions(
            wish.over, _workers(settings), wish.seed, wish.doc_tokens, wish.file is not None, wish.seconds
        ),
        start=Start(ours.starts),
        memory=memory,
        peak=found.peak,
        cells=found.cells,
        capacity=capacity,
        took_s=time.perf_counter() - began,
    )


@dataclass(frozen=True, slots=True)
class _Ours:
    """How our side started, the server if there is one, and how to find out what memory it has come to take."""

    starts: tuple[float, ...]
    server: OwnServer | None
    memory: Callable[[], Memory]


@contextmanager
def _ours(wish: Wish, settings: Settings, load: Sequence[BenchRequest], say: Say) -> Generator[_Ours]:
    if wish.over == "process":
        # With its caches, as it would run: the rest is measured without them.
        as_served = wish.settings.model_copy(update={"models": _alone(wish.settings.models)})
        colds: list[ColdStart] = []
        for number in range(wish.starts):
            say(f"starting a fresh process ({number + 1} of {wish.starts})")
            colds.append(cold_start(wish.model, as_served, () if number else load, load_s=_LOAD_SHARE * wish.seconds))
        first = colds[0]
        memory = Memory(
            "a fresh process with its caches", first.bare_bytes, first.loaded_bytes, first.after_bytes, first.peak_bytes
        )
        yield _Ours(tuple(cold.first_score_s for cold in colds), None, lambda: memory)
        return
    say("starting the server")
    with own_server(_arguments(wish), key=_key(settings)) as server:
        loaded = memory_use(server.pid)

        def look() -> Memory:
            after = memory_use(server.pid)
            return Memory(
                "the server, its caches off", None, loaded and loaded.now, after and after.now, after and after.peak
            )

        yield _Ours((server.first_score_s,), server, look)


async def _measure(
    wish: Wish, settings: Settings, info: ModelInfo, session: Session, server: OwnServer | None
) -> tuple[Found, Capacity | None]:
    cells = [Cell(documents, clients) for documents in _documents(wish) for clients in wish.clients]
    workers = _workers(settings)
    async with AsyncExitStack() as stack:
        ours: Target
        if server:
            # The dialect that most clients speak, on the path they use.
            target = HttpTarget(server.url, name="rerankd", dialect="jina", key=_key(settings), pid=server.pid)
            ours = await stack.enter_async_context(target)
        else:
            ours = InProcess(await stack.enter_async_context(AsyncReranker(wish.model, settings=settings)))
        others = [
            await stack.enter_async_context(HttpTarget(a.url, dialect=a.dialect, model=a.model, key=a.key))
            for a in wish.against
        ]
        if len({target.name for target in others}) < len(others):
            raise ConfigError("two servers to compare with have the same address: each can stand there once")
        precision: PeakPrecision = "int8" if info.precision == "int8" else "fp32"
        peak = stack.enter_context(await asyncio.to_thread(MatrixPeak, workers, precision))
        found = await session.measure([ours, *others], cells, peak, asks_more=wish.demand is not None)
        if wish.demand is None:
            return found, None
        return found, await session.answer(wish.demand, ours, peak, workers, bundled=_bundled(wish, settings))


def _documents(wish: Wish) -> Sequence[int | None]:
    return [None] if wish.file else wish.documents


def _bundled(wish: Wish, settings: Settings) -> AsyncReranker | None:
    """Return the model that ships with rerankd, to compare with; None where it is the one being measured."""
    name = type(settings.models)().default
    if (wish.model or settings.models.default) == name:
        return None
    return AsyncReranker(name, settings=settings)


async def _look(model: str, settings: Settings) -> ModelInfo:
    """Load the model once: it is converted now if it never was, and not while something is timed."""
    async with AsyncReranker(model, settings=settings) as reranker:
        return reranker.info


def _measured(wish: Wish) -> Settings:
    """Return settings under which every pair is computed, and only one model is loaded."""
    models = _alone(wish.settings.models).model_copy(update={"document_cache_mb": 0.0})
    return wish.settings.model_copy(update={"cache": CacheSettings(url="off://"), "models": models})


def _alone(models: ModelsSettings) -> ModelsSettings:
    return models.model_copy(update={"served": ()})


def _arguments(wish: Wish) -> list[str]:
    """Say the same to a server in its own process, which reads file and environment itself."""
    arguments = [wish.model] if wish.model else []
    arguments += ["--config", str(wish.config_file)] if wish.config_file else []
    return [*arguments, "--models.served", "", "--cache.url", "off://", "--models.document_cache_mb", "0"]


def _key(settings: Settings) -> str:
    return next(iter(read_keys(settings.auth)), "")


def _workers(settings: Settings) -> int:
    wanted = settings.scheduling
    return machine.worker_threads(machine.usable_cores(), workers=wanted.workers, reserved_cores=wanted.reserved_cores)


def _facts(info: ModelInfo, texts: ModelTexts) -> ModelFacts:
    return ModelFacts(
        id=info.id,
        family=info.family,
        engine=info.engine,
        precision=info.precision,
        max_tokens=info.max_tokens,
        fingerprint=info.fingerprint,
        layers=texts.shape,
    )
