"""The web application: a service and settings in, an ASGI application out."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rerankd import __version__
from rerankd.dialects.detect import Directory, load_all
from rerankd.http import admin, docs, errors, health, info, models, trace, usage
from rerankd.http.auth import Keys, load_keys
from rerankd.http.middleware import Rim
from rerankd.http.ports import Companion, Service
from rerankd.http.protection import SecurityHeaders, allow_origins
from rerankd.http.reload import keys_kept_fresh
from rerankd.http.rerank import RerankEndpoint
from rerankd.http.warmup import warming_up
from rerankd.settings import Settings, TracingSettings
from rerankd.tracing import Tracer, open_tracer

if TYPE_CHECKING:
    from rerankd.service.quotas import Quotas

_logger = logging.getLogger("rerankd.http")


@dataclass(frozen=True, slots=True)
class _Served:
    """What lives as long as the application does."""

    service: Service
    settings: Settings
    keys: Keys
    quotas: "Quotas | None"
    urls: Sequence[str]
    told: str
    tracer: Tracer | None
    companions: Sequence[Companion]


def create_app(
    service: Service, settings: Settings, *, urls: Sequence[str] = (), directory: Directory | None = None,
    companions: Sequence[Companion] = (),
) -> FastAPI:  # fmt: skip
    """Build the application. Its lifespan starts and closes the service.

    `urls` are where it listens, to be told in the log. `directory` stands in for the installed dialects. `companions`
    run beside the service.

    Raises:
        ConfigError: the keys file cannot be used, or traces are wanted and OpenTelemetry is not installed.
    """
    keys = load_keys(settings.auth)
    directory = load_all() if directory is None else directory
    endpoint = RerankEndpoint(service, settings, directory, keys)
    gets = (*_gets(service, settings, keys, directory, companions), *docs.routes(directory, keys))
    quotas = usage.open_quotas(settings.limits, keys_may_have_own=settings.auth.keys_file is not None)
    posts = (*_posts(endpoint, directory, quotas), *admin.routes(service, settings, keys))
    tracer = _tracer(settings.tracing)
    app = FastAPI(
        title="rerankd",
        version=__version__,
        lifespan=partial(_life, _Served(service, settings, keys, quotas, urls, _told(directory), tracer, companions)),
        openapi_url=None,
        redirect_slashes=False,
        exception_handlers={HTTPException: _not_served(_allowed(gets, posts), directory)},
    )
    app.router.routes[:] = [*gets, *posts]
    allow_origins(app, settings.server.cors_origins)
    app.add_middleware(Rim, metrics=service.metrics, access_log=settings.logging.access, tracer=tracer)
    app.add_middleware(SecurityHeaders)
    return app


@asynccontextmanager
async def _life(served: _Served, _: FastAPI) -> AsyncGenerator[None]:
    """Start what a server needs while it runs, and end it."""
    service = served.service
    await service.start()
    for url in served.urls:
        _logger.info("listening on %s  (API docs: %s/docs, model: %s)", url, url, service.model("").id)
    _logger.info("%s", served.told)
    try:
        async with AsyncExitStack() as beside:
            await beside.enter_async_context(keys_kept_fresh(served.keys, served.settings.auth.keys_file))
            await beside.enter_async_context(_closing(served.quotas, served.tracer))
            await beside.enter_async_context(warming_up(service, served.settings.cache.warmup))
            for companion in served.companions:
                await beside.enter_async_context(companion.beside(service))
            yield
    finally:
        await service.close()


@asynccontextmanager
async def _closing(quotas: "Quotas | None", tracer: Tracer | None) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        if quotas is not None:
            await quotas.close()
        if tracer is not None:
            await asyncio.to_thread(tracer.close)


def _not_served(
    allowed: Mapping[str, str], directory: Directory
) -> Callable[[Request, Any], Coroutine[Any, Any, Response]]:
    """Answer what no route does; `allowed` holds the methods of every path."""

    async def not_served(request: Request, problem: Exception) -> Response:
        path: str = request.scope["path"]
        if isinstance(problem, HTTPException) and problem.status_code == 405:
            methods = allowed.get(path) or (problem.headers or {}).get("Allow", "GET")
            return errors.no_such_method(request.method, path, methods)
        return errors.no_such_route(path, [known for known in directory.paths if known != "/"])

    return not_served


def _tracer(tracing: TracingSettings) -> Tracer | None:
    if tracing.otlp_endpoint is None:
        return None
    return open_tracer(tracing.otlp_endpoint, service_name=tracing.service_name, sample_ratio=tracing.sample_ratio)


def _gets(
    service: Service, settings: Settings, keys: Keys, directory: Directory, companions: Sequence[Companion]
) -> Sequence[Route]:
    """Make the routes that tell about the server, and again under every dialect's prefix."""
    plain = (
        *health.routes(service, keys, companions=companions, open_metrics=settings.auth.open_metrics),
        *models.routes(service, keys),
        *info.routes(service, settings, keys, directory.dialects.get("tei")),
    )
    prefixed = [
        Route(f"/{name}{route.path}".rstrip("/"), route.endpoint) for name in directory.dialects for route in plain
    ]
    return [*plain, *prefixed]


def _told(directory: Directory) -> str:
    """Say in one line which request is read by which dialect; `rerankd dialects` says it at length."""
    prefixes = " ".join(f"/{name}" for name in directory.dialects)
    rules = [(when, name) for when, name in directory.rules() if f"/{name}/" not in when]
    return f"dialects: {'; '.join(f'{when}: {name}' for when, name in rules)}; below {prefixes}: that one"


def _posts(endpoint: RerankEndpoint, directory: Directory, quotas: "Quotas | None") -> Sequence[Route]:
    async def rerank(request: Request) -> Response:
        known = trace.of(request.scope)
        known.meter = usage.Meter(quotas, usage.address_of(request))
        return await known.meter.settle(await endpoint(request), known.tokens)

    return [Route(path, rerank, methods=["POST"]) for path in directory.paths]


def _allowed(gets: Sequence[Route], posts: Sequence[Route]) -> dict[str, str]:
    """Map each path to its methods, over all its routes: the router only knows the first one's."""
    methods: dict[str, set[str]] = {}
    for route in (*gets, *posts):
        methods.setdefault(route.path, set()).update(route.methods or ())
    return {path: ", ".join(sorted(names)) for path, names in methods.items()}
