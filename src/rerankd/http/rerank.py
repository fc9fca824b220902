"""The one endpoint behind every dialect's paths: read, choose a dialect, ask the service, answer."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from rerankd import machine, phases
from rerankd.dialects.base import Answer, AnswersEach, Call, Dialect, Incoming, Stamp
from rerankd.dialects.detect import Directory, Place
from rerankd.errors import InvalidRequest, ModelNotFound, RequestTooLarge, RerankError
from rerankd.http import body, errors, samples, trace
from rerankd.http.auth import Keys
from rerankd.http.parts import Outcome, rank_each
from rerankd.http.ports import Service
from rerankd.http.trace import Trace
from rerankd.http.wishes import Wishes, read_wishes
from rerankd.settings import Settings
from rerankd.types import Ranking, RerankRequest

T = TypeVar("T")

_LARGE_BODY_BYTES = 1 << 18
_A_MOMENT_S = 0.001
_CLIENT_CLOSED_REQUEST = 499  # nginx's number; nobody is there to read it


@dataclass(frozen=True, slots=True)
class RerankEndpoint:
    """Answers a POST on any dialect's path. `cores` is read from the machine's files, so not on the event loop."""

    service: Service
    settings: Settings
    directory: Directory
    keys: Keys
    cores: int = field(default_factory=machine.usable_cores)

    async def __call__(self, request: Request) -> Response:
        """Serve one request; errors of ours are answered in the words of the dialect that read it."""
        known = trace.of(request.scope)
        place = self.directory.place(request.scope["path"])
        dialect = place.dialect or self.directory.standard
        known.dialect = dialect.name
        try:
            known.caller = await known.meter.admit(partial(self.keys.caller, request.headers))
            server = self.settings.server
            raw = await body.read_body(request, max_mb=server.max_body_mb, timeout_s=server.body_timeout_s)
            known.body_read = time.perf_counter()
            size = len(raw)
            incoming = Incoming(place.path, await _compute(size, partial(body.decode, raw)))
            del raw
            dialect = self._dialect(place, incoming)
            known.dialect = dialect.name
            call = await _compute(size, partial(dialect.parse, incoming))
            wishes = read_wishes(request.headers)
            known.phases.add("read", known.started, time.perf_counter())
            return await self._answer(request, dialect, call, wishes, known, size=size)
        except ClientDisconnect:
            known.outcome = "cancelled"
            return Response(status_code=_CLIENT_CLOSED_REQUEST)
        except RerankError as error:
            known.outcome = error.kind
            return errors.refusal(error, dialect)

    def _dialect(self, place: Place, incoming: Incoming) -> Dialect:
        return place.dialect or self.directory.choose(place.path, incoming.body)

    async def _answer(
        self, request: Request, dialect: Dialect, call: Call, wishes: Wishes, known: Trace, *, size: int
    ) -> Response:
        known.documents = sum(len(part.documents) for part in call.requests)
        known.model = self._label(call.requests[0].model)
        self._check(call)
        await known.meter.take_pairs(known.documents)
        samples.write(call, share=self.settings.logging.sample_texts)
        outcomes = await _unless_hung_up(request, self._rank(call, wishes, known))
        known.add([each for each in outcomes if isinstance(each, Ranking)])
        with phases.phase("write"):
            response = await _compute(size, lambda: errors.respond(_written(dialect, call, outcomes)))
        known.outcome = "ok"
        _tell_more(response, known)
        return response

    def _label(self, name: str) -> str:
        """Name the model for metrics: "" for what is not served, or callers could make up labels without end."""
        try:
            return self.service.model(name).id
        except (ModelNotFound, InvalidRequest):
            return ""

    def _check(self, call: Call) -> None:
        most = self.settings.limits.max_requests
        count = len(call.requests) + len(call.refused)
        if count > most:
            raise RequestTooLarge(
                f"{count} requests in one call, and {most} are allowed: send fewer, or raise limits.max_requests"
            )

    async def _rank(self, call: Call, wishes: Wishes, known: Trace) -> list[Outcome]:
        limit_s = self.settings.limits.deadline_s
        spent_s = time.perf_counter() - known.body_read  # decoding 16 MiB takes seconds of the caller's
        until = time.monotonic() + min(wishes.timeout_s or limit_s, limit_s) - spent_s
        scheduling = self.settings.scheduling
        workers = machine.worker_threads(
            self.cores, workers=scheduling.workers, reserved_cores=scheduling.reserved_cores
        )

        def ask(request: RerankRequest) -> Awaitable[Ranking]:
            # A request of a call that waited for the others has less time left; a moment, where there is none.
            return self.service.rerank(
                wishes.applied(request, max(_A_MOMENT_S, until - time.monotonic())), known.caller
            )

        return await rank_each(call.requests, ask, documents_at_once=2 * workers, partial=call.partial)


def _tell_more(response: Response, known: Trace) -> None:
    """Say in headers what many an API's answer has no room for: documents cut, chunked or not scored, who answered."""
    for name, count in (
        ("x-rerankd-truncated-documents", known.truncated),
        ("x-rerankd-chunked-documents", known.chunked),
        ("x-rerankd-unscored-documents", known.unscored),
    ):
        if count:
            response.headers[name] = str(count)
    if known.fallback:
        response.headers["x-rerankd-fallback"] = known.fallback


def _written(dialect: Dialect, call: Call, outcomes: Sequence[Outcome]) -> Answer:
    """Write the answer; where nothing could be ranked, the first error is the call's."""
    stamp = Stamp(uuid.uuid4().hex, int(time.time()))
    rankings = [each for each in outcomes if isinstance(each, Ranking)]
    failures = [each for each in outcomes if not isinstance(each, Ranking)]
    if not failures:
        return dialect.answer(call, rankings, stamp)
    if not rankings or not isinstance(dialect, AnswersEach):
        raise failures[0]
    return dialect.answer_each(call, outcomes, stamp)


async def _compute(body_bytes: int, work: Callable[[], T]) -> T:
    """Do work whose time grows with the body: at once for ordinary bodies, off the event loop for large ones.

    A body of 16 MiB can hold three million documents of one letter; reading them takes seconds.
    """
    return work() if body_bytes <= _LARGE_BODY_BYTES else await asyncio.to_thread(work)


async def _unless_hung_up(request: Request, work: Coroutine[object, None, list[Outcome]]) -> list[Outcome]:
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
