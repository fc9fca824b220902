"""Documents scored a few at a time, in an order of the caller's choice, until there is no more time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from rerankd.errors import Overloaded
from rerankd.service.scoring import Scores

_AT_ONCE = 2
"""While one window is scored the next one is read, so that no worker waits."""
_TRY_AGAIN_S = 0.1

Window = tuple[Sequence[int], Scores]


async def score_until(
    until: float, documents: Sequence[int], size: int, score: Callable[[Sequence[int]], Awaitable[Scores]]
) -> list[Window]:
    """Score windows of `size` documents in order until the event loop's time `until`; return those that were done.

    `score` takes indexes of documents. Where the queue is full, a window waits for its turn.

    Raises:
        RerankError: a window failed otherwise, or the queue was full all the time.
    """
    done: list[Window] = []
    refused: list[Overloaded] = []
    windows = iter([documents[start : start + size] for start in range(0, len(documents), size)])

    async def work() -> None:
        for window in windows:  # both take from the same
            scores = await _patiently(window, score, refused)
            done.append((window, scores))

    try:
        async with asyncio.timeout_at(until), asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(work())
    except TimeoutError:
        if refused and not done:
            raise refused[-1] from None
    except ExceptionGroup as several:
        first = several.exceptions[0]
        raise first from first.__cause__
    return done


async def _patiently(
    window: Sequence[int], score: Callable[[Sequence[int]], Awaitable[Scores]], refused: list[Overloaded]
) -> Scores:
    while True:
        try:
            return await score(window)
        except Overloaded as error:
            refused[:] = [error]
        await asyncio.sleep(_TRY_AGAIN_S)
