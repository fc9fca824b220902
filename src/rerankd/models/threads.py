"""The threads that make models ready, away from the event loop: one loads networks, a few fetch files."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TypeVar

from rerankd.engines.base import Engine
from rerankd.errors import ModelLoadError
from rerankd.machine import give_back_memory
from rerankd.types import ModelState, Progress

T = TypeVar("T")

_FETCHES_AT_ONCE = 4


class Threads:
    """One thread loads and frees networks, so that never two are loaded at once; fetching keeps no load waiting."""

    def __init__(self) -> None:
        self._closing = threading.Event()
        self._frees: set[asyncio.Future[None]] = set()
        self._loads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rerankd-load")
        self._fetches = ThreadPoolExecutor(max_workers=_FETCHES_AT_ONCE, thread_name_prefix="rerankd-fetch")

    async def load(self, work: Callable[[], T]) -> T:
        """Run what takes a network's worth of memory."""
        return await _run(self._loads, work)

    async def fetch(self, work: Callable[[], T]) -> T:
        """Run what may take hours and little memory."""
        return await _run(self._fetches, work)

    def free(self, engine: Engine) -> None:
        """Free a network in the loading thread: before another takes as much memory."""
        free = asyncio.get_running_loop().run_in_executor(self._loads, _close, engine)
        self._frees.add(free)
        free.add_done_callback(self._frees.discard)

    def reporting(self, hear: Callable[[ModelState | Progress], None]) -> Callable[[ModelState | Progress], None]:
        """Return what takes reports in any thread, and ends the work that reports when the server is shutting down."""

        def report(news: ModelState | Progress) -> None:
            if self._closing.is_set():
                raise ModelLoadError("the server is shutting down")
            hear(news)

        return report

    def closing(self) -> None:
        """Let whatever reports next end."""
        self._closing.set()

    async def close(self) -> None:
        """Wait for what runs; what waits is dropped."""
        await asyncio.gather(*self._frees, return_exceptions=True)
        for threads in (self._fetches, self._loads):
            await asyncio.to_thread(threads.shutdown, cancel_futures=True)


async def _run(threads: Executor, work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(threads, work)


def _close(engine: Engine) -> None:
    engine.close()
    give_back_memory()
