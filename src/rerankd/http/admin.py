"""`/admin`: what whoever runs the server does to its models, behind a key with the scope admin; see `service.operator`.

An operation that takes a while answers when it is done, or, where `text/event-stream` is accepted, tells on the way how
far it is. It goes on when the caller hangs up.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import cast

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from rerankd.dialects.base import Answer
from rerankd.errors import Conflict, InvalidRequest, NotAllowed, RerankError
from rerankd.http import bundles, events
from rerankd.http.auth import Keys
from rerankd.http.body import decode, read_body
from rerankd.http.errors import refusal, respond
from rerankd.http.models import described
from rerankd.http.ports import Service
from rerankd.service.operator import Operation, Operator
from rerankd.settings import Settings
from rerankd.types import JsonObject, JsonValue, Scope

_LARGEST_BODY_MB = 0.0625
_CLIENT_CLOSED_REQUEST = 499

Serve = Callable[[Request, Operator], Awaitable[Response]]
Begin = Callable[[Operator, str], Awaitable[Operation]]


def routes(service: Service, settings: Settings, keys: Keys) -> Sequence[Route]:
    """Make the routes; each needs a key with the scope admin, whatever else is configured."""
    gets: Mapping[str, Serve] = {"ps": _ps, "list": _list, "show": _show, "bundle/export/{id}": bundles.fetched}
    posts: Mapping[str, Serve] = {
        "pull": _operation(Operator.pull, settings),
        "load": _operation(Operator.load, settings),
        "update": _operation(Operator.update, settings),
        "rollback": _operation(Operator.rollback, settings),
        "unload": lambda request, operator: _unload(request, operator, settings),
        "rm": lambda request, operator: _rm(request, operator, settings),
        "bundle/export": lambda request, operator: _export(request, operator, settings),
        "bundle/import": bundles.received,
    }

    def route(method: str, name: str, serve: Serve) -> Route:
        async def endpoint(request: Request) -> Response:
            try:
                keys.caller(request.headers, Scope.ADMIN)
                return await serve(request, _operator(name, service, settings))
            except ClientDisconnect:
                return Response(status_code=_CLIENT_CLOSED_REQUEST)
            except RerankError as error:
                return refusal(error)

        return Route(f"/admin/{name}", endpoint, methods=[method])

    return (
        *(route("GET", name, serve) for name, serve in gets.items()),
        *(route("POST", name, serve) for name, serve in posts.items()),
    )


def _operator(name: str, service: Service, settings: Settings) -> Operator:
    if service.operator is None:
        raise NotAllowed("this server's models cannot be changed while it runs")
    if name in _OF_ONE_PROCESS and settings.server.processes > 1:
        raise Conflict(
            f"{name} changes one process, and this server has {settings.server.processes}, each with its own models: "
            "change the store (rerankd update, without --url) and restart the server"
        )
    return service.operator


def _operation(begin: Begin, settings: Settings) -> Serve:
    async def serve(request: Request, operator: Operator) -> Response:
        begun = await begin(operator, await _model(request, settings))
        return await events.answered(request, begun)

    return serve


_OF_ONE_PROCESS = frozenset({"load", "unload", "update", "rollback", "rm"})


async def _ps(_: Request, operator: Operator) -> Response:
    return respond(Answer(200, {"models": [described(info) for info in operator.served()]}))


async def _list(_: Request, operator: Operator) -> Response:
    return respond(Answer(200, {"models": await operator.listed()}))


async def _show(request: Request, operator: Operator) -> Response:
    return respond(Answer(200, await operator.shown(request.query_params.get("model", ""))))


async def _unload(request: Request, operator: Operator, settings: Settings) -> Response:
    return respond(Answer(200, described(await operator.unload(await _model(request, settings)))))


async def _rm(request: Request, operator: Operator, settings: Settings) -> Response:
    return respond(Answer(200, await operator.remove(await _model(request, settings))))


async def _export(request: Request, operator: Operator, settings: Settings) -> Response:
    names = (await _body(request, settings)).get("models")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise InvalidRequest('`models` must be a list of names: {"models": ["org/name"]}', field="models")
    return await bundles.sent(request, operator, cast("list[str]", names))


async def _model(request: Request, settings: Settings) -> str:
    """Read which model is meant; it has to be said, so that nobody deletes the default by mistake."""
    name = (await _body(request, settings)).get("model")
    if not isinstance(name, str) or not name:
        raise InvalidRequest('`model` must be a model\'s name: {"model": "org/name"}', field="model")
    return name


async def _body(request: Request, settings: Settings) -> JsonObject:
    raw = await read_body(request, max_mb=_LARGEST_BODY_MB, timeout_s=settings.server.body_timeout_s)
    body: JsonValue = decode(raw)
    if not isinstance(body, Mapping):
        raise InvalidRequest('the body must be an object, such as {"model": "org/name"}')
    return cast("JsonObject", body)
