"""Whether the server is alive, and whether it answers: for people, load balancers and container orchestrators."""

import asyncio
import time
from collections.abc import Callable, Sequence

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from rerankd import __version__
from rerankd.dialects.base import Answer
from rerankd.errors import RerankError
from rerankd.http.auth import Keys
from rerankd.http.errors import refusal, respond
from rerankd.http.ports import Companion, Service
from rerankd.types import Health, ModelState, Scope

_LOADED = frozenset({Health.READY, Health.POOR, Health.UNWELL, Health.DRAINING})

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>rerankd</title>
<link rel="icon" href="static/favicon-32x32.png">
<body style="font-family:system-ui;max-width:40rem;margin:4rem auto;line-height:1.6">
<h1>rerankd</h1><p>This is a rerank server. It answers <code>POST /v1/rerank</code>.</p>
<ul><li><a href="docs">API, with a form to try it</a></li><li><a href="v1/models">Models</a></li>
<li><a href="health">Health</a></li><li><a href="metrics">Metrics</a></li></ul></body></html>"""


def routes(
    service: Service, keys: Keys, *, companions: Sequence[Companion] = (), open_metrics: bool = True
) -> Sequence[Route]:
    """Make the routes that open without a key; the metrics only if they are to."""

    def now() -> Health:
        found = service.health
        return Health.POOR if found is Health.READY and not all(one.healthy for one in companions) else found

    async def root(request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return HTMLResponse(_PAGE)
        about = {"name": "rerankd", "version": __version__, "ready": now() is Health.READY, "docs": "/docs"}
        return respond(Answer(200, about))

    async def cluster_auth(_: Request) -> Response:
        return respond(Answer(200, {"auth": bool(keys)}))

    async def metrics(request: Request) -> Response:
        try:
            if not open_metrics:
                keys.caller(request.headers, Scope.METRICS)
        except RerankError as error:
            return refusal(error)
        # Off the loop: the process's own numbers are read from files.
        text, kind = await asyncio.to_thread(service.metrics.exposition, request.headers.get("accept", ""))
        return Response(text, media_type=kind)

    return (
        *_probes(service, now),
        Route("/", root),
        Route("/v1/cluster/auth", cluster_auth),
        Route("/metrics", metrics),
    )


def _probes(service: Service, now: Callable[[], Health]) -> Sequence[Route]:
    async def health(_: Request) -> Response:
        found = now()
        if found is Health.READY:
            # It may be that another model answers while this one loads (models.while_loading).
            loaded = service.model("").state in {ModelState.READY, ModelState.UNLOADED}
            return respond(Answer(200, {"status": "healthy", "model_loaded": loaded, "unix": time.time()}))
        return respond(Answer(503, {"status": found.value, "model_loaded": found in _LOADED}))

    async def readyz(_: Request) -> Response:
        found = now()
        return respond(Answer(200 if found is Health.READY else 503, {"status": found.value}))

    async def livez(_: Request) -> Response:
        if service.beyond_help:
            return respond(Answer(503, {"status": "hung"}))
        return respond(Answer(200, {"status": "alive"}))

    async def well_known(_: Request) -> Response:
        return respond(Answer(204 if now() is Health.READY else 503, None))

    return (
        *(Route(path, health) for path in ("/health", "/healthz", "/ping")),
        Route("/readyz", readyz),
        Route("/livez", livez),
        Route("/.well-known/ready", well_known),
    )
