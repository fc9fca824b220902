"""An operation's answer: when it is done, or, where `text/event-stream` is accepted, how far it is on the way."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from typing import cast

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from rerankd.dialects.base import Answer
from rerankd.dialects.errors import refuse
from rerankd.errors import EngineFailure, ModelNotReady, RerankError
from rerankd.http.errors import encode, respond
from rerankd.service.operator import Operation
from rerankd.types import JsonObject, JsonValue

_LOOK_EVERY_S = 0.2
_SIGN_OF_LIFE_S = 10.0
_NOT_BUFFERED = {"cache-control": "no-store", "x-accel-buffering": "no"}


def streams(request: Request) -> bool:
    """Tell whether the caller wants to hear how far it is."""
    return "text/event-stream" in request.headers.get("accept", "")


async def answered(
    request: Request, operation: Operation, finished: Callable[[JsonObject], JsonObject] = lambda result: result
) -> Response:
    """Answer with what came of it, made an answer by `finished`. It goes on when the caller hangs up.

    Raises:
        RerankError: it failed, and the caller does not want events.
    """
    if streams(request):
        return StreamingResponse(_events(operation, finished), media_type="text/event-stream", headers=_NOT_BUFFERED)
    return respond(Answer(200, finished(await asyncio.shield(operation.task))))


async def _events(operation: Operation, finished: Callable[[JsonObject], JsonObject]) -> AsyncGenerator[bytes]:
    """Yield `progress` events while it goes on, signs of life in between, then `done` or `error`."""
    told: JsonValue = None
    since = time.monotonic()
    while not operation.task.done():
        await asyncio.wait({operation.task}, timeout=_LOOK_EVERY_S)
        now = _far(operation)
        if now != told:
            told, since = now, time.monotonic()
            yield _event("progress", now)
        elif time.monotonic() - since > _SIGN_OF_LIFE_S:
            since = time.monotonic()
            yield b": still at it\n\n"
    error = _error(operation)
    if error is None:
        yield _event("done", finished(operation.task.result()))
    else:
        answer = refuse(error)
        yield _event("error", {"status": answer.status, **cast("JsonObject", answer.body)})


def _far(operation: Operation) -> JsonObject:
    progress = operation.advance.progress
    return {
        "model": operation.model,
        "state": operation.advance.state.value,
        "done_bytes": progress.done_bytes if progress else None,
        "total_bytes": progress.total_bytes if progress else None,
    }


def _error(operation: Operation) -> RerankError | None:
    """Return what the operation ended with; what nobody foresaw is in the log."""
    if operation.task.cancelled():
        return ModelNotReady("the server is shutting down: start again when it is back", retry_after_s=5)
    error = operation.task.exception()
    if error is None or isinstance(error, RerankError):
        return error
    return EngineFailure(f"{operation.what} failed in a way nobody foresaw; the server's log says why")


def _event(name: str, data: JsonValue) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + encode(data) + b"\n\n"
