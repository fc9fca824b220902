"""Whether the server is alive, and whether it answers: for people, load balancers and container orchestrators."""

import asyncio
import time
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from rerankd import __version__
from rerankd.dialects.base import Answer
from rerankd.http.auth import Keys
from rerankd.http.errors import respond
from rerankd.http.ports import Service
from rerankd.types import ModelState

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>rerankd</title>
<link rel="icon" href="static/favicon-32x32.png">
<body style="font-family:system-ui;max-width:40rem;margin:4rem auto;line-height:1.6">
<h1>rerankd</h1><p>This is a rerank server. It answers <code>POST /v1/rerank</code>.</p>
<ul><li><a href="docs">API, with a form to try it</a></li><li><a href="v1/models">Models</a></li>
<li><a href="health">Health</a></li><li><a href="metrics">Metrics</a></li></ul></body></html>"""


def routes(service: Service, keys: Keys) -> Sequence[Route]:
    """Make the routes that open without a key."""

    async def root(request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return HTMLResponse(_PAGE)
        about = {"name": "rerankd", "version": __version__, "ready": service.ready, "docs": "/docs"}
        return respond(Answer(200, about))

    async def cluster_auth(_: Request) -> Response:
        return respond(Answer(200, {"auth": bool(keys)}))

    async def metrics(_: Request) -> Response:
        # Off the loop: the process's own numbers are read from files.
        text = await asyncio.to_thread(service.metrics.text)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    return (
        *_probes(service),
        Route("/", root),
        Route("/v1/cluster/auth", cluster_auth),
        Route("/metrics", metrics),
    )


def _probes(service: Service) -> Sequence[Route]:
    async def health(_: Request) -> Response:
        if service.ready:
            return respond(Answer(200, {"status": "healthy", "model_loaded": True, "unix": time.time()}))
        return respond(Answer(503, {"status": _not_ready(service), "model_loaded": False}))

    async def readyz(_: Request) -> Response:
        if service.ready:
            return respond(Answer(200, {"status": "ready"}))
        return respond(Answer(503, {"status": _not_ready(service)}))

    async def livez(_: Request) -> Response:
        return respond(Answer(200, {"status": "alive"}))

    async def well_known(_: Request) -> Response:
        return respond(Answer(204 if service.ready else 503, None))

    return (
        *(Route(path, health) for path in ("/health", "/healthz", "/ping")),
        Route("/readyz", readyz),
        Route("/livez", livez),
        Route("/.well-known/ready", well_known),
    )


def _not_ready(service: Service) -> str:
    """Tell a model that still loads from one that never will."""
    return "failed" if service.model("").state is ModelState.FAILED else "loading"
