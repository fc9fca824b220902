"""The OpenAPI document, written from the dialects' routes, and the page that shows it; both work offline."""

import asyncio
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import cast

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route as HttpRoute

from rerankd import __version__
from rerankd.dialects.base import Dialect, Route
from rerankd.dialects.detect import Directory
from rerankd.dialects.errors import error_body
from rerankd.errors import EngineFailure, InvalidRequest
from rerankd.http import admin_docs
from rerankd.http.auth import Keys
from rerankd.http.errors import encode
from rerankd.types import JsonObject, JsonValue

_ABOUT = """\
Ranks documents by relevance to a query, in the words of the API that your client speaks.

The API is recognised by path and by keys. A prefix settles it: under `/NAME/…` the API `NAME` and no other answers
(here: {names}). These paths do the same as one of those below: {aliases}.
"""
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>rerankd API</title><link rel="icon" type="image/png" href="static/favicon-32x32.png">
<link rel="stylesheet" href="static/swagger-ui.css"></head>
<body><div id="swagger-ui"></div><script src="static/swagger-ui-bundle.js"></script>
<script>
SwaggerUIBundle({url: "openapi.json", dom_id: "#swagger-ui", validatorUrl: null, deepLinking: true,
  persistAuthorization: true, defaultModelsExpandDepth: 0, tryItOutEnabled: true});
</script></body></html>"""
_STATIC = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
_ERRORS = (
    (400, "The body is not a request; the message says why.", "invalid_request"),
    (401, "A key is needed.", "not_authenticated"),
    (404, "The model is not served here.", "model_not_found"),
    (413, "The body, or the request, is over a limit.", "request_too_large"),
    (429, "The queue is full; Retry-After says when to come back.", "overloaded"),
    (500, "The model failed.", "engine_failure"),
    (503, "The model is loading; Retry-After says when to come back.", "model_not_ready"),
    (504, "No answer in the time allowed.", "deadline_exceeded"),
)
_OWN_ERRORS = (
    (422, "The body is not a request; the message says why.", "invalid_request"),
    (424, "The model failed.", "engine_failure"),
)
_GETS = (
    ("/v1/models", "List the served models", True),
    ("/v1/models/{id}", "Describe one model", True),
    ("/info", "Describe the default model as text-embeddings-inference does", True),
    ("/health", "Is the default model ready?", False),
    ("/readyz", "Is the default model ready? (Kubernetes)", False),
    ("/livez", "Is the process alive?", False),
    ("/metrics", "Prometheus metrics", False),
)


class ErrorDetails(BaseModel):
    """What went wrong. `kind` is stable."""

    message: str
    type: str
    param: str | None
    code: int
    kind: str


class ErrorBody(BaseModel):
    """An error in the words of Jina, Cohere and OpenAI at once."""

    detail: str
    message: str
    error: ErrorDetails


def routes(directory: Directory, keys: Keys) -> Sequence[HttpRoute]:
    """Make `/openapi.json`, `/docs` and the files the page needs."""
    written = encode(document(directory, secured=bool(keys)))

    async def openapi(_: Request) -> Response:
        return Response(written, media_type="application/json")

    async def page(_: Request) -> Response:
        return HTMLResponse(_PAGE)

    async def static(request: Request) -> Response:
        name: str = request.path_params["name"]
        if name not in _STATIC:
            raise HTTPException(404)
        content = await asyncio.to_thread((files("rerankd.http") / "static" / name).read_bytes)
        return Response(content, media_type=_STATIC[name], headers={"cache-control": "public, max-age=3600"})

    return HttpRoute("/openapi.json", openapi), HttpRoute("/docs", page), HttpRoute("/static/{name}", static)


def document(directory: Directory, *, secured: bool) -> dict[str, JsonValue]:
    """Write the OpenAPI 3.1 document. One operation a path: dialects that share a path share its schemas with anyOf."""
    by_path = _by_path(directory)
    names, schemas = _schemas([route for shared in by_path.values() for _, route in shared])
    paths: dict[str, JsonValue] = {path: {"post": _operation(path, by, names)} for path, by in by_path.items()}
    for path, summary, keyed in _GETS:
        paths[path] = {"get": _get(path, summary, keyed=keyed)}
    aliases = sorted(
        {alias for shared in by_path.values() for _, route in shared for alias in route.aliases} - by_path.keys()
    )
    paths |= admin_docs.paths(names, names[ErrorBody, "serialization"])
    security: dict[str, JsonValue] = {"bearer": {"type": "http", "scheme": "bearer"}, "admin": admin_docs.SECURITY}
    return {
        "openapi": "3.1.0",
        "info": {"title": "rerankd", "version": __version__, "description": _about(directory, aliases)},
        "tags": [{"name": "rerank"}, {"name": "server"}, admin_docs.TAG],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": security},
        "security": [{"bearer": []}] if secured else [],
    }


def _by_path(directory: Directory) -> dict[str, list[tuple[Dialect, Route]]]:
    """List the dialects that answer on each documented path, the standard one first."""
    by_path: dict[str, list[tuple[Dialect, Route]]] = {}
    ordered = sorted(directory.dialects.values(), key=lambda dialect: dialect is not directory.standard)
    every = [(dialect, route) for dialect in ordered for route in dialect.routes]
    for dialect, route in every:
        by_path.setdefault(f"/{dialect.name}{route.path}" if route.prefixed else route.path, [])
    for dialect, route in every:
        own = [f"/{dialect.name}{route.path}"] if route.prefixed else [route.path, *route.aliases]
        for path in own:
            if path in by_path:
                by_path[path].append((dialect, route))
    return by_path


_Names = Mapping[tuple[type[BaseModel], JsonSchemaMode], str]


def _schemas(documented: Sequence[Route]) -> tuple[_Names, JsonObject]:
    wanted: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {(ErrorBody, "serialization"): None}
    for route in documented:
        wanted |= {(route.request, "validation"): None, (route.response, "serialization"): None}
        wanted[_error_model(route), "serialization"] = None
    wanted |= dict.fromkeys(admin_docs.SCHEMAS)
    refs, defs = models_json_schema(list(wanted), ref_template="#/components/schemas/{model}")
    names = {key: cast("str", refs[key]["$ref"]) for key in wanted}
    return names, cast("JsonObject", defs["$defs"])


def _operation(path: str, shared: Sequence[tuple[Dialect, Route]], names: _Names) -> JsonValue:
    requests = [{"$ref": names[route.request, "validation"]} for _, route in shared]
    responses = [{"$ref": names[route.response, "serialization"]} for _, route in shared]
    examples: dict[str, JsonValue] = {
        f"{dialect.name}-{i}": {"summary": summary, "value": value}
        for dialect, route in shared
        for i, (summary, value) in enumerate(route.examples.items(), 1)
    }
    body: dict[str, JsonValue] = {"schema": _any_of(requests)}
    if examples:
        body["examples"] = examples
    answers: dict[str, JsonValue] = {
        "200": {"description": "The ranking.", "content": {"application/json": {"schema": _any_of(responses)}}}
    }
    error_models = [_error_model(route) for _, route in shared]
    error_schema = _any_of([{"$ref": names[model, "serialization"]} for model in error_models])
    for status, description, kind in _errors([dialect for dialect, _ in shared]):
        content: dict[str, JsonValue] = {"schema": error_schema}
        if ErrorBody in error_models:
            content["example"] = error_body(description, status=status, kind=kind)
        answers[str(status)] = {"description": description, "content": {"application/json": content}}
    return {
        "summary": shared[0][1].summary,
        "operationId": "post" + path.replace("/", "_"),
        "tags": ["rerank"],
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": answers,
    }


def _errors(dialects: Sequence[Dialect]) -> Sequence[tuple[int, str, str]]:
    """List the errors; some dialects have statuses of their own for a bad body and for a model that fails."""
    own = {dialect.refuse(error).status for dialect in dialects for error in (InvalidRequest(""), EngineFailure(""))}
    return [*_ERRORS, *(row for row in _OWN_ERRORS if row[0] in own)]


def _error_model(route: Route) -> type[BaseModel]:
    return route.error or ErrorBody


def _any_of(schemas: Sequence[JsonObject]) -> JsonValue:
    distinct = list({str(schema): schema for schema in schemas}.values())
    return distinct[0] if len(distinct) == 1 else {"anyOf": distinct}


def _get(path: str, summary: str, *, keyed: bool) -> JsonValue:
    answers: dict[str, JsonValue] = {"200": {"description": "Yes." if "?" in summary else "The answer."}}
    if keyed:
        answers["401"] = {"description": "A key is needed."}
    if "{id}" in path:
        answers["404"] = {"description": "The model is not served here."}
    if "ready?" in summary:
        answers["503"] = {"description": "No."}
    operation: dict[str, JsonValue] = {
        "summary": summary,
        "operationId": "get" + path.replace("/", "_").replace("{", "").replace("}", ""),
        "tags": ["server"],
        "responses": answers,
    }
    if "{id}" in path:
        operation["parameters"] = [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]
    if not keyed:
        operation["security"] = []
    return operation


def _about(directory: Directory, aliases: Sequence[str]) -> str:
    names = ", ".join(f"`/{name}`" for name in directory.dialects)
    return _ABOUT.format(names=names, aliases=", ".join(f"`{alias}`" for alias in aliases) or "none")
