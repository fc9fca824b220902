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
from rerankd.scheduler.batching import BACKGROUND, Bound, Share
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


def test_neighbours_in_a_batch_are_answered_when_one_of_them_fails() -> None:
    engine = Doubler(max_batch_tokens=100, poison=13)
    engine.gate.clear()
    with running() as scheduler:
        blocker = scheduler.submit(engine, encodings(0), model="m", keep=as_is)
        assert engine.entered.acquire(timeout=5)
        good, bad = (scheduler.submit(engine, encodings(*n), model="m", keep=as_is) for n in ((1, 2), (3, 13)))
        engine.gate.set()
        assert values(blocker.result(10)) == [0.0]
        assert values(good.result(10)) == [2.0, 4.0]
        with pytest.raises(EngineFailure):
            bad.result(10)
        assert engine.batches[1] == 4
        assert engine.seen.count(13) == 2
        assert scheduler.waiting_tokens == 0


def test_a_request_with_one_failed_sequence_never_becomes_whole() -> None:
    engine = Doubler(poison=13)
    with running(workers=4) as scheduler:
        futures = [scheduler.submit(engine, encodings(13, 1, 2), model="m", keep=as_is) for _ in range(200)]
        for future in futures:
            with pytest.raises(EngineFailure):
                future.result(10)


def test_what_fails_once_is_tried_again() -> None:

    class Recovering(Doubler):
        def run(self, batch: Sequence[Encoding]) -> Sequence[Array]:
            try:
                return super().run(batch)
            finally:
                self.poison = None

    engine = Recovering(poison=13)
    with running() as scheduler:
        assert values(scheduler.submit(engine, encodings(13), model="m", keep=as_is).result(10)) == [26.0]
        assert scheduler.well


def test_after_failures_in_a_row_it_is_unwell_until_something_succeeds() -> None:
    engine = Doubler(poison=13)
    with running() as scheduler:
        for _ in range(3):
            assert scheduler.well
            with pytest.raises(EngineFailure):
                scheduler.submit(engine, encodings(13), model="m", keep=as_is).result(10)
        assert not scheduler.well
        scheduler.submit(engine, encodings(1), model="m", keep=as_is).result(10)
        assert scheduler.well


def test_a_worker_that_hangs_is_replaced_and_what_it_brings_later_is_nobodys() -> None:
    hanging, engine = Doubler(), Doubler()
    hanging.gate.clear()
    scheduler = Scheduler(workers=1, hang_s=0.05)
    try:
        stuck = scheduler.submit(hanging, encodings(1, 2), model="m", keep=as_is)
        with pytest.raises(EngineFailure, match="did not come back"):
            stuck.result(10)
        assert values(scheduler.submit(engine, encodings(5), model="m", keep=as_is).result(10)) == [10.0]
        assert scheduler.workers == 1
        assert scheduler.waiting_tokens == 0
        assert not scheduler.beyond_help
        hanging.gate.set()
        assert values(scheduler.submit(engine, encodings(6), model="m", keep=as_is).result(10)) == [12.0]
        assert scheduler.waiting_tokens == 0
    finally:
        scheduler.close()


def test_when_every_worker_and_its_replacement_hangs_only_a_new_process_helps() -> None:
    hanging = Doubler()
    hanging.gate.clear()
    scheduler = Scheduler(workers=1, hang_s=0.05)
    try:
        for _ in range(2):
            with pytest.raises(EngineFailure):
                scheduler.submit(hanging, encodings(1), model="m", keep=as_is).result(10)
        assert scheduler.beyond_help
        hanging.gate.set()
        deadline = time.monotonic() + 10
        while scheduler.beyond_help and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not scheduler.beyond_help
    finally:
        scheduler.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_that_dies_is_replaced_and_its_request_told() -> None:
    class Deadly(Doubler):
        def run(self, batch: Sequence[Encoding]) -> Sequence[Array]:
            if int(batch[0].ids[0]) == 13:
                raise KeyboardInterrupt  # what no broad except of ours catches
            return super().run(batch)

    engine = Deadly()
    with running() as scheduler:
        with pytest.raises(EngineFailure):
            scheduler.submit(engine, encodings(13), model="m", keep=as_is).result(10)
        assert values(scheduler.submit(engine, encodings(4), model="m", keep=as_is).result(10)) == [8.0]
        assert scheduler.waiting_tokens == 0


def test_a_worker_that_cannot_be_replaced_at_once_is_replaced_later(monkeypatch: pytest.MonkeyPatch) -> None:
    hanging, engine = Doubler(), Doubler()
    hanging.gate.clear()
    scheduler = Scheduler(workers=1, hang_s=0.05)
    start, refused = threading.Thread.start, threading.Event()

    def no_more_threads(thread: threading.Thread) -> None:
        if thread.name.startswith("rerankd-worker") and not refused.is_set():
            refused.set()
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", no_more_threads)
    try:
        with pytest.raises(EngineFailure):
            scheduler.submit(hanging, encodings(1), model="m", keep=as_is).result(10)
        assert values(scheduler.submit(engine, encodings(5), model="m", keep=as_is).result(10)) == [10.0]
        assert refused.is_set()
        hanging.gate.set()
    finally:
        scheduler.close()


def test_a_guess_never_makes_a_request_too_large() -> None:
    with running(queue_tokens=100) as scheduler:
        scheduler.check(10**9, model="m")


def test_the_background_lane_leaves_room_for_the_other() -> None:
    engine = Doubler()
    engine.gate.clear()
    with running(queue_tokens=100) as scheduler:
        background = Share(BACKGROUND)
        waiting = [scheduler.submit(engine, [encoding(1, 40)], model="m", keep=as_is, share=background)]
        with pytest.raises(Overloaded, match="40 of 50"):
            scheduler.submit(engine, [encoding(1, 40)], model="m", keep=as_is, share=background)
        waiting.append(scheduler.submit(engine, [encoding(1, 60)], model="m", keep=as_is))
        engine.gate.set()
        assert not wait(waiting, timeout=10).not_done


def test_what_cannot_be_done_in_time_is_refused_at_once() -> None:
    engine = Doubler()
    with running(queue_tokens=10**9) as scheduler:
        scheduler.submit(engine, [encoding(1, 10)] * 40, model="m", keep=as_is).result(10)  # now its speed is known
        engine.gate.clear()
        blocker = scheduler.submit(engine, [encoding(2, 10)], model="m", keep=as_is)
        with pytest.raises(Overloaded, match=r"seconds|allowed") as refusal:
            scheduler.submit(engine, [encoding(3, 10**6)], model="m", keep=as_is, within_s=0.01)
        assert refusal.value.retry_after_s >= 1
        with pytest.raises(Overloaded):
            scheduler.check(10**6, model="m", within_s=0.01)
        scheduler.check(10**6, model="another, of unknown speed", within_s=0.01)
        engine.gate.set()
        blocker.result(10)


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


class Recording(Doubler):
    """Counts the runs that are under way, with those of `beside`, and remembers the most there were."""

    def __init__(self, beside: "Recording | None" = None) -> None:
        super().__init__()
        self.lock = threading.Lock()
        self.now = self.most = 0
        self.counted = beside or self

    def run(self, batch: Sequence[Encoding]) -> Sequence[Array]:
        counted = self.counted
        with counted.lock:
            counted.now += 1
            counted.most = max(counted.most, counted.now)
        try:
            time.sleep(0.001)
            return super().run(batch)
        finally:
            with counted.lock:
                counted.now -= 1


def test_a_bounded_model_runs_on_so_many_workers_and_no_more_whoever_asks_for_it() -> None:
    bounded, free = Recording(), Recording()
    renewed = Recording(bounded)
    with running(4) as scheduler:
        futures = [
            scheduler.submit(engine, encodings(*range(20)), model=name, keep=as_is, bound=bound)
            for _ in range(5)
            for engine, name, bound in ((bounded, "a", Bound(2)), (renewed, "a", Bound(2)), (free, "b", Bound()))
        ]
        for future in futures:
            assert len(future.result(10)) == 20
    assert bounded.most == 2
    assert free.most >= 2


def test_a_worker_that_hangs_in_a_bounded_model_does_not_keep_its_place() -> None:
    hung, after = Doubler(), Doubler()
    hung.gate.clear()
    scheduler = Scheduler(workers=2, hang_s=0.05)
    try:
        lost = scheduler.submit(hung, encodings(1), model="a", keep=as_is, bound=Bound(1))
        assert hung.entered.acquire(timeout=5)
        waiting = scheduler.submit(after, encodings(2), model="a", keep=as_is, bound=Bound(1))
        with pytest.raises(EngineFailure):
            lost.result(10)
        assert values(waiting.result(10)) == [4.0]
    finally:
        hung.gate.set()
        scheduler.close()


def test_a_bounded_model_whose_caller_hangs_up_wakes_whoever_waits_behind_it() -> None:
    wide, narrow = Doubler(), Doubler()
    narrow.gate.clear()
    with running(3) as scheduler:
        first = scheduler.submit(narrow, encodings(0), model="b", keep=as_is)
        assert narrow.entered.acquire(timeout=5)
        held = scheduler.submit(wide, encodings(1), model="a", keep=as_is, bound=Bound(1, cores=3))
        behind = scheduler.submit(Doubler(), encodings(2), model="c", keep=as_is)
        assert not behind.done()
        assert held.cancel()
        assert values(behind.result(5)) == [4.0]
        narrow.gate.set()
        assert values(first.result(5)) == [0.0]
