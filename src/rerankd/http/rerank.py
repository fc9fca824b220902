"""The one endpoint behind every dialect's paths: read, choose a dialect, ask the service, answer."""

import asyncio
import time
import uuid
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from rerankd.config import Settings
from rerankd.dialects.base import Dialect, Incoming, Stamp
from rerankd.dialects.detect import Directory, Place
from rerankd.errors import DeadlineExceeded, ModelNotFound, RerankError
from rerankd.http import body, errors, trace
from rerankd.http.auth import Keys
from rerankd.http.ports import Service
from rerankd.http.trace import Trace
from rerankd.types import Caller, Ranking, RerankRequest

_CLIENT_CLOSED_REQUEST = 499  # nginx's number; nobody is there to read it


@dataclass(frozen=True, slots=True)
class RerankEndpoint:
    """Answers a POST on any dialect's path."""

    service: Service
    settings: Settings
    directory: Directory
    keys: Keys

    async def __call__(self, request: Request) -> Response:
        """Serve one request; errors of ours are answered in the words of the dialect that read it."""
        known = trace.of(request.scope)
        place = self.directory.place(request.scope["path"])
        dialect = place.dialect or self.directory.standard
        known.dialect = dialect.name
        try:
            known.caller = self.keys.caller(request.headers)
            server = self.settings.server
            raw = await body.read_body(request, max_mb=server.max_body_mb, timeout_s=server.body_timeout_s)
            known.body_read = time.perf_counter()
            incoming = Incoming(place.path, body.decode(raw))
            del raw
            dialect = self._dialect(place, incoming)
            known.dialect = dialect.name
            return await self._answer(request, dialect, incoming, known)
        except ClientDisconnect:
            known.outcome = "cancelled"
            return Response(status_code=_CLIENT_CLOSED_REQUEST)
        except RerankError as error:
            known.outcome = error.kind
            return errors.refusal(error, dialect)

    def _dialect(self, place: Place, incoming: Incoming) -> Dialect:
        return place.dialect or self.directory.choose(place.path, incoming.body)

    async def _answer(self, request: Request, dialect: Dialect, incoming: Incoming, known: Trace) -> Response:
        call = dialect.parse(incoming)
        known.documents = sum(len(part.documents) for part in call.requests)
        known.model = self._label(call.requests[0].model)
        rankings = await _unless_hung_up(request, self._rank(call.requests, known.caller))
        known.tokens = sum(ranking.usage.tokens for ranking in rankings)
        answer = dialect.answer(call, rankings, Stamp(uuid.uuid4().hex, int(time.time())))
        known.outcome = "ok"
        return errors.respond(answer)

    def _label(self, name: str) -> str:
        """Name the model for metrics: "" for what is not served, or callers could make up labels without end."""
        try:
            return self.service.model(name).id
        except ModelNotFound:
            return ""

    async def _rank(self, requests: Sequence[RerankRequest], caller: Caller) -> list[Ranking]:
        limit_s = self.settings.limits.deadline_s
        try:
            async with asyncio.timeout(limit_s), asyncio.TaskGroup() as group:
                tasks = [group.create_task(self.service.rerank(request, caller)) for request in requests]
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"no answer within {limit_s:g} s: send fewer or shorter documents, or raise limits.deadline_s"
            ) from error
        except ExceptionGroup as several:
            first = several.exceptions[0]
            raise first from first.__cause__
        return [task.result() for task in tasks]


async def _unless_hung_up(request: Request, work: Coroutine[object, None, list[Ranking]]) -> list[Ranking]:
    """Do the work, and stop it as soon as the caller is gone, so that its places in the queue are free.

    Raises:
        ClientDisconnect: the caller hung up.
    """
    working = asyncio.create_task(work)
    listening = asyncio.create_task(_hang_up(request))
    try:
        await asyncio.wait({working, listening}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        for task in (working, listening):
            task.cancel()
        await asyncio.gather(working, listening, return_exceptions=True)


async def _hang_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
