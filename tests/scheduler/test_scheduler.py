"""The scheduler's invariant: every future is resolved, whatever happens to engines, callers and the server."""

import asyncio
import threading
import time
from collections.abc import Generator, Sequence
from concurrent.futures import CancelledError, Future, wait
from contextlib import contextmanager

import numpy as np
import pytest

from rerankd.engines.base import Array, Encoding
from rerankd.errors import EngineFailure, ModelNotReady, Overloaded, RequestTooLarge
from rerankd.scheduler.scheduler import Scheduler


def encoding(number: int, tokens: int = 1) -> Encoding:
    return Encoding(np.full(tokens, number, np.int64), np.zeros(tokens, np.int64))


def encodings(*numbers: int) -> list[Encoding]:
    return [encoding(number) for number in numbers]


class Doubler:
    """An engine that doubles the first id; `gate` holds it up, `poison` makes it fail."""

    def __init__(self, *, max_batch_tokens: int = 0, poison: int | None = None) -> None:
        self.max_batch_tokens = max_batch_tokens
        self.poison = poison
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.seen: list[int] = []
        self.batches: list[int] = []

    def run(self, batch: Sequence[Encoding]) -> Sequence[Array]:
        self.entered.release()
        assert self.gate.wait(timeout=10)
        numbers = [int(one.ids[0]) for one in batch]
        self.seen += numbers
        self.batches.append(len(numbers))
        if self.poison in numbers:
            raise ValueError("poisoned")
        return [np.array([2.0 * number], np.float32) for number in numbers]

    def close(self) -> None:
        return


class TooFewRows(Doubler):
    def run(self, batch: Sequence[Encoding]) -> Sequence[Array]:
        return super().run(batch)[:-1] if int(batch[0].ids[0]) == 13 else super().run(batch)


@contextmanager
def running(workers: int = 1, queue_tokens: int = 10_000) -> Generator[Scheduler]:
    scheduler = Scheduler(workers=workers, queue_tokens=queue_tokens)
    try:
        yield scheduler
    finally:
        scheduler.close()


def as_is(_: int, output: Array) -> Array:
    return output


def values(outputs: Sequence[Array]) -> list[float]:
    return [float(output[0]) for output in outputs]


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("max_batch_tokens", [0, 8])
def test_outputs_come_back_in_order(workers: int, max_batch_tokens: int) -> None:
    engine = Doubler(max_batch_tokens=max_batch_tokens)
    with running(workers) as scheduler:
        futures = [scheduler.submit(engine, encodings(*range(i, i + 50)), model="m", keep=as_is) for i in range(20)]
        for i, future in enumerate(futures):
            assert values(future.result(10)) == [2.0 * number for number in range(i, i + 50)]
        assert scheduler.waiting_tokens == 0


def test_nothing_to_run_is_answered_at_once() -> None:
    with running() as scheduler:
        assert scheduler.submit(Doubler(), [], model="m", keep=as_is).result(0) == []


def test_a_batch_keeps_to_its_budget_and_to_one_engine() -> None:
    first, second = Doubler(max_batch_tokens=3), Doubler(max_batch_tokens=3)
    first.gate.clear()
    with running() as scheduler:
        blocked = scheduler.submit(first, encodings(0), model="m", keep=as_is)
        assert first.entered.acquire(timeout=5)
        futures = [scheduler.submit(engine, encodings(1, 2, 3, 4), model="m", keep=as_is) for engine in (first, second)]
        first.gate.set()
        wait([blocked, *futures], timeout=10)
        assert all(future.done() for future in futures)
        assert max(first.batches + second.batches) <= 3


def test_small_request_is_not_stuck_behind_a_large_one() -> None:
    engine = Doubler()
    engine.gate.clear()
    with running() as scheduler:
        large = scheduler.submit(engine, encodings(*[1] * 1000), model="m", keep=as_is)
        assert engine.entered.acquire(timeout=5)
        small = scheduler.submit(engine, encodings(*[2] * 5), model="m", keep=as_is)
        seen_when_answered: list[int] = []
        small.add_done_callback(lambda _: seen_when_answered.append(len(engine.seen)))
        engine.gate.set()
        assert len(large.result(10)) == 1000
        assert seen_when_answered[0] <= 12


def test_an_engine_failure_fails_only_the_requests_in_its_batch() -> None:
    engine = Doubler(poison=13)
    with running() as scheduler:
        futures = [scheduler.submit(engine, encodings(i, i + 100), model="m", keep=as_is) for i in range(10, 20)]
        for i, future in enumerate(futures, start=10):
            if i == 13:
                with pytest.raises(EngineFailure) as failure:
                    future.result(10)
                assert isinstance(failure.value.__cause__, ValueError)
                assert "poisoned" not in str(failure.value)
            else:
                assert values(future.result(10)) == [2.0 * i, 2.0 * (i + 100)]
        assert scheduler.waiting_tokens == 0


def test_an_engine_that_returns_the_wrong_number_of_rows_fails_only_its_batch() -> None:
    engine = TooFewRows()
    with running() as scheduler:
        bad = scheduler.submit(engine, encodings(13, 1, 2), model="m", keep=as_is)
        good = scheduler.submit(engine, encodings(3, 4), model="m", keep=as_is)
        with pytest.raises(EngineFailure):
            bad.result(10)
        assert values(good.result(10)) == [6.0, 8.0]


def test_what_cannot_be_kept_fails_only_its_request() -> None:
    def refuse(position: int, output: Array) -> Array:
        if position == 1:
            raise ValueError("not finite")
        return output

    with running() as scheduler:
        bad = scheduler.submit(Doubler(), encodings(1, 2, 3), model="m", keep=refuse)
        good = scheduler.submit(Doubler(), encodings(4), model="m", keep=as_is)
        with pytest.raises(EngineFailure):
            bad.result(10)
        assert values(good.result(10)) == [8.0]


def test_a_request_is_admitted_whole_or_refused_with_a_time_to_come_back() -> None:
    engine = Doubler()
    engine.gate.clear()
    with running(queue_tokens=100) as scheduler:
        first = scheduler.submit(engine, [encoding(1, 60)], model="m", keep=as_is)
        with pytest.raises(Overloaded) as refusal:
            scheduler.submit(engine, [encoding(2, 30), encoding(3, 30)], model="m", keep=as_is)
        assert refusal.value.retry_after_s >= 1
        assert scheduler.waiting_tokens == 60
        fits = scheduler.submit(engine, [encoding(4, 40)], model="m", keep=as_is)
        engine.gate.set()
        wait([first, fits], timeout=10)
        assert values(scheduler.submit(engine, [encoding(5, 100)], model="m", keep=as_is).result(10)) == [10.0]


def test_a_request_larger_than_the_whole_queue_is_too_large_not_overloaded() -> None:
    with running(queue_tokens=100) as scheduler, pytest.raises(RequestTooLarge, match="101 tokens"):
        scheduler.submit(Doubler(), [encoding(1, 101)], model="m", keep=as_is)


def test_a_caller_that_hangs_up_frees_its_places_at_once() -> None:
    engine = Doubler()
    engine.gate.clear()
    with running(queue_tokens=100) as scheduler:
        leaver = scheduler.submit(engine, encodings(*[1] * 90), model="m", keep=as_is)
        assert engine.entered.acquire(timeout=5)
        assert leaver.cancel()
        assert scheduler.waiting_tokens == 1  # the one that is running
        stayer = scheduler.submit(engine, encodings(*[2] * 90), model="m", keep=as_is)
        engine.gate.set()
        assert len(stayer.result(10)) == 90
        assert engine.seen.count(1) == 1


def test_a_caller_that_hangs_up_does_not_disturb_its_batch() -> None:
    engine = Doubler(max_batch_tokens=10)
    engine.gate.clear()
    with running() as scheduler:
        blocker = scheduler.submit(engine, encodings(0), model="m", keep=as_is)
        assert engine.entered.acquire(timeout=5)
        leaver = scheduler.submit(engine, encodings(1), model="m", keep=as_is)
        stayer = scheduler.submit(engine, encodings(2), model="m", keep=as_is)
        engine.gate.set()
        blocker.result(10)
        leaver.cancel()
        assert values(stayer.result(10)) == [4.0]


def test_shutdown_in_mid_batch_leaves_nobody_waiting() -> None:
    engine = Doubler()
    engine.gate.clear()
    scheduler = Scheduler(workers=1)
    running_one = scheduler.submit(engine, encodings(1, 2), model="m", keep=as_is)
    assert engine.entered.acquire(timeout=5)
    waiting_one = scheduler.submit(engine, encodings(3), model="m", keep=as_is)
    closing = threading.Thread(target=scheduler.close)
    closing.start()
    for future in (running_one, waiting_one):
        with pytest.raises(ModelNotReady, match="shutting down"):
            future.result(5)
    engine.gate.set()
    closing.join(10)
    assert not closing.is_alive()
    with pytest.raises(ModelNotReady):
        scheduler.submit(engine, encodings(4), model="m", keep=as_is)


def test_a_hung_engine_does_not_hang_shutdown() -> None:
    engine = Doubler()
    engine.gate.clear()
    scheduler = Scheduler(workers=1)
    future = scheduler.submit(engine, encodings(1), model="m", keep=as_is)
    assert engine.entered.acquire(timeout=5)
    began = time.monotonic()
    scheduler.close(timeout_s=0.2)
    assert time.monotonic() - began < 5
    with pytest.raises(ModelNotReady):
        future.result(0)
    engine.gate.set()


@pytest.mark.anyio
async def test_cancelling_a_task_gives_its_places_back() -> None:
    engine = Doubler()
    engine.gate.clear()
    scheduler = Scheduler(workers=1)
    task = asyncio.create_task(scheduler.run(engine, encodings(*[1] * 50), model="m", keep=as_is))
    assert await asyncio.to_thread(engine.entered.acquire, timeout=5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert scheduler.waiting_tokens == 1
    engine.gate.set()
    assert values(await scheduler.run(engine, encodings(7), model="m", keep=as_is)) == [14.0]
    await asyncio.to_thread(scheduler.close)


def test_every_future_is_resolved_when_everything_happens_at_once() -> None:
    engine = Doubler(poison=13)
    with running(workers=3, queue_tokens=100_000) as scheduler:
        futures = [
            scheduler.submit(engine, encodings(*([13] if i % 7 == 3 else []), *range(20, 40)), model="m", keep=as_is)
            for i in range(200)
        ]
        for future in futures[::5]:
            future.cancel()
        done, waiting = wait(futures, timeout=20)
        assert not waiting
        outcomes = {type(_outcome(future)) for future in done}
        assert outcomes <= {list, EngineFailure, CancelledError}
        assert {list, EngineFailure} <= outcomes
        deadline = time.monotonic() + 5
        while scheduler.waiting_tokens and time.monotonic() < deadline:
            time.sleep(0.01)
        assert scheduler.waiting_tokens == 0


def _outcome(future: Future[list[Array]]) -> object:
    return CancelledError() if future.cancelled() else future.exception() or future.result()
