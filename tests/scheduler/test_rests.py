"""Engines rest when nothing has come for a while, once, and never while they have work."""

import asyncio
import threading
from collections.abc import Sequence

import numpy as np
import pytest

from rerankd.engines.base import Array, Encoding
from rerankd.models.residence import Counted
from rerankd.scheduler.scheduler import Scheduler

ONE = Encoding(np.zeros(1, np.int64), np.zeros(1, np.int64))


class Sleeper:
    """An engine that notes its rests."""

    max_batch_tokens = 0

    def __init__(self) -> None:
        self.events: list[str] = []
        self.rested = threading.Event()

    def run(self, batch: Sequence[Encoding]) -> Sequence[Array]:
        self.events.append("run")
        return [np.zeros(1, np.float32) for _ in batch]

    def rest(self) -> None:
        self.events.append("rest")
        self.rested.set()

    def close(self) -> None:
        self.events.append("close")


async def run(scheduler: Scheduler, engine: Counted) -> None:
    await scheduler.run(engine, [ONE], model="m", keep=lambda _, output: output)


@pytest.mark.timeout(30)
def test_an_engine_rests_once_after_its_work() -> None:
    asyncio.run(_works_and_rests())


async def _works_and_rests() -> None:
    sleeper = Sleeper()
    engine, scheduler = Counted(sleeper), Scheduler(workers=2, quiet_s=0.1)
    try:
        for _ in range(3):
            await run(scheduler, engine)
        assert await asyncio.to_thread(sleeper.rested.wait, 10)
        await asyncio.sleep(0.5)
        assert sleeper.events == ["run"] * 3 + ["rest"]
        sleeper.rested.clear()
        await run(scheduler, engine)
        assert await asyncio.to_thread(sleeper.rested.wait, 10)
        assert sleeper.events[4:] == ["run", "rest"]
    finally:
        scheduler.close()


@pytest.mark.timeout(30)
def test_an_unloaded_engine_does_not_rest_and_the_workers_go_on() -> None:
    asyncio.run(_is_unloaded())


async def _is_unloaded() -> None:
    sleeper, other = Sleeper(), Sleeper()
    engine, scheduler = Counted(sleeper), Scheduler(workers=1, quiet_s=0.2)
    try:
        await run(scheduler, engine)
        engine.close()
        await asyncio.sleep(0.6)
        assert sleeper.events == ["run", "close"]
        await run(scheduler, Counted(other))
        assert other.events == ["run"]
    finally:
        scheduler.close()
