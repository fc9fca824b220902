"""Several requests of one call: how many are under way at once, and what becomes of the others when one fails."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from rerankd.errors import RerankError
from rerankd.types import Ranking, RerankRequest

_REQUESTS_AT_ONCE = 2

Outcome = Ranking | RerankError
Rank = Callable[[RerankRequest], Awaitable[Ranking]]


async def rank_each(
    requests: Sequence[RerankRequest], rank: Rank, *, documents_at_once: int, partial: bool
) -> list[Outcome]:
    """Rank every request; return the outcomes in order.

    Two requests are under way, so that the next is read while one is scored, and more only while they hold fewer than
    `documents_at_once` documents: enough to keep all workers busy. More would be unfair, for the scheduler gives every
    waiting request a turn: 200 requests of one caller would get 200 turns to one of another's.

    With `partial`, errors of ours are outcomes; without, the first one ends the call. Whatever else happens, nothing
    runs on after the return.

    Raises:
        RerankError: without `partial`, the first error.
    """
    window = _Window(documents_at_once)

    async def one(request: RerankRequest) -> Outcome:
        try:
            return await rank(request)
        except RerankError as error:
            if not partial:
                raise
            return error
        finally:
            window.leave(len(request.documents))

    tasks: list[asyncio.Task[Outcome]] = []
    try:
        async with asyncio.TaskGroup() as group:
            for request in requests:
                await window.enter(len(request.documents))
                tasks.append(group.create_task(one(request)))
    except ExceptionGroup as several:
        first = several.exceptions[0]
        raise first from first.__cause__
    return [task.result() for task in tasks]


class _Window:
    """Counts what is under way. One waits at a time; whoever leaves wakes it."""

    def __init__(self, documents_at_once: int) -> None:
        self._documents_at_once = documents_at_once
        self._requests = 0
        self._documents = 0
        self._left = asyncio.Event()

    async def enter(self, documents: int) -> None:
        """Wait until there is room. The deadline of the call bounds the wait."""
        while self._requests >= _REQUESTS_AT_ONCE and self._documents >= self._documents_at_once:
            self._left.clear()
            await self._left.wait()
        self._requests += 1
        self._documents += documents

    def leave(self, documents: int) -> None:
        self._requests -= 1
        self._documents -= documents
        self._left.set()
