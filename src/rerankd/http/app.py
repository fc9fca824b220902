"""The web application: a service and settings in, an ASGI application out."""

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rerankd import __version__
from rerankd.dialects.detect import Directory, load_all
from rerankd.http import docs, errors, health, info, models
from rerankd.http.auth import Keys, load_keys
from rerankd.http.middleware import Rim
from rerankd.http.ports import Service
from rerankd.http.reload import keys_kept_fresh
from rerankd.http.rerank import RerankEndpoint
from rerankd.settings import Settings

_logger = logging.getLogger("rerankd.http")


def create_app(
    service: Service, settings: Settings, *, urls: Sequence[str] = (), directory: Directory | None = None
) -> FastAPI:
    """Build the application. Its lifespan starts and closes the service.

    `urls` are where it listens, to be told in the log. `directory` stands in for the installed dialects.

    Raises:
        ConfigError: the keys file cannot be used.
    """
    keys = load_keys(settings.auth)
    directory = load_all() if directory is None else directory
    endpoint = RerankEndpoint(service, settings, directory, keys)
    gets = (*_gets(service, settings, keys, directory), *docs.routes(directory, keys))
    posts = _posts(endpoint, directory)
    allowed = _allowed(gets, posts)

    async def not_served(request: Request, problem: Exception) -> Response:
        path: str = request.scope["path"]
        if isinstance(problem, HTTPException) and problem.status_code == 405:
            methods = allowed.get(path) or (problem.headers or {}).get("Allow", "GET")
            return errors.no_such_method(request.method, path, methods)
        return errors.no_such_route(path, [known for known in directory.paths if known != "/"])

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        await service.start()
        for url in urls:
            _logger.info("listening on %s  (API docs: %s/docs, model: %s)", url, url, service.model("").id)
        _logger.info("%s", _told(directory))
        try:
            async with keys_kept_fresh(keys, settings.auth.keys_file):
                yield
        finally:
            await service.close()

    app = FastAPI(
        title="rerankd",
        version=__version__,
        lifespan=lifespan,
        openapi_url=None,
        redirect_slashes=False,
        exception_handlers={HTTPException: not_served},
    )
    app.router.routes[:] = [*gets, *posts]
    app.add_middleware(Rim, metrics=service.metrics, access_log=settings.logging.access)
    return app


def _gets(service: Service, settings: Settings, keys: Keys, directory: Directory) -> Sequence[Route]:
    """Make the routes that tell about the server, and again under every dialect's prefix."""
    plain = (
        *health.routes(service, keys, open_metrics=settings.auth.open_metrics),
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


def _posts(endpoint: RerankEndpoint, directory: Directory) -> Sequence[Route]:
    async def rerank(request: Request) -> Response:
        return await endpoint(request)

    return [Route(path, rerank, methods=["POST"]) for path in directory.paths]


def _allowed(gets: Sequence[Route], posts: Sequence[Route]) -> dict[str, str]:
    """Map each path to its methods, over all its routes: the router only knows the first one's."""
    methods: dict[str, set[str]] = {}
    for route in (*gets, *posts):
        methods.setdefault(route.path, set()).update(route.methods or ())
    return {path: ", ".join(sorted(names)) for path, names in methods.items()}
