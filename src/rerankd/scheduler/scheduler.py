"""The queue before the workers of one device, and what becomes of each request in it."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from rerankd import machine
from rerankd.engines.base import Array, Encoding, Engine
from rerankd.errors import EngineFailure, ModelNotReady, Overloaded, RequestTooLarge
from rerankd.metrics import Metrics
from rerankd.scheduler.batching import UNBOUNDED, Bound, Share, Turn, Turns
from rerankd.scheduler.crew import Crew, Hand
from rerankd.scheduler.rests import Rests
from rerankd.scheduler.speed import Speed

T = TypeVar("T")

logger = logging.getLogger(__name__)

_BACKGROUND_ROOM = 0.5
"""The background lane may fill this much of the queue, so that it never keeps the interactive lane out."""
_SLOWER_THAN_EXPECTED = 20.0
_TOO_LATE = 1.5
"""What is expected to take this many times what is allowed is refused at once; estimates are not exact."""
_UNWELL_AFTER = 3
"""Batches that failed one after another, with no success between them."""


@dataclass(slots=True, eq=False)
class _Job:
    """One request's sequences. `future` is resolved by the worker that brings the last output, by the worker that

    fails, by the watch over the workers, or by `close`; the caller may cancel it at any time.
    """

    engine: Engine
    model: str
    encodings: Sequence[Encoding]
    keep: Callable[[int, Array], object]
    kept: list[object]
    missing: int
    future: Future[list[Any]]
    admitted_at: float
    on_start: Callable[[float], object] | None = None
    bound: Bound = UNBOUNDED
    ticket: int = -1
    started: bool = False
    claimed: bool = False


@dataclass(frozen=True, slots=True)
class _Failed:
    error: Exception


class Scheduler:
    """Worker threads, one queue bounded in tokens, many engines: all models share the cores, one thread each.

    Invariant: every future handed out is resolved: by a result, an error, cancellation or `close`. A batch that fails
    is run again sequence by sequence, so that one request's trouble is not its neighbours'. A batch that takes longer
    than `hang_s`, and far longer than its size explains, is given up with its thread.
    """

    def __init__(
        self,
        *,
        workers: int = 0,
        queue_tokens: int = 1_000_000,
        hang_s: float = 120.0,
        quiet_s: float = 5.0,
        metrics: Metrics | None = None,
    ) -> None:
        """Start `workers` threads (0: one per core that this process may use).

        Engines rest when nothing has come for `quiet_s`.
        """
        self._metrics = metrics or Metrics()
        self._queue_tokens = queue_tokens
        self._hang_s = hang_s
        self._lock = threading.Condition()
        workers = workers or machine.usable_cores()
        self._turns: Turns[_Job] = Turns(workers)
        self._jobs: set[_Job] = set()
        self._tokens = 0  # admitted and not yet done, running ones included
        self._speeds: dict[str, Speed] = {}  # by model, of which there are few
        self._rests = Rests(quiet_s)
        self._failed_in_a_row = 0
        self._closed = False
        self._metrics.queue_limit.set(queue_tokens)
        self._crew: Crew[Turn[_Job]] = Crew(workers, self._work, self._lost, self._lock)
        self._metrics.workers.set(len(self._crew))

    @property
    def workers(self) -> int:
        """How many threads run networks."""
        return len(self._crew)

    @property
    def waiting_tokens(self) -> int:
        """Tokens admitted and not yet done."""
        return self._tokens

    @property
    def well(self) -> bool:
        """Whether batches succeed. After some failures in a row it takes a success to be well again."""
        return self._failed_in_a_row < _UNWELL_AFTER

    @property
    def beyond_help(self) -> bool:
        """Whether so many threads hang that only a new process helps."""
        return self._crew.stuck > len(self._crew)

    async def run(
        self,
        engine: Engine,
        encodings: Sequence[Encoding],
        *,
        model: str,
        keep: Callable[[int, Array], T],
        share: Share | None = None,
        within_s: float | None = None,
        on_start: Callable[[float], object] | None = None,
        bound: Bound = UNBOUNDED,
    ) -> list[T]:
        """Run all sequences; return what `keep(position, output)` made of each output, in order.

        `keep` is called in the worker thread, and so is `on_start`, once, with the time (`time.perf_counter`) at which
        the first sequence's turn came. Cancelling gives the places in the queue back at once. `share` is the caller's
        place among the others where it comes with several jobs. With `within_s` a job that could not be done in so many
        seconds is refused at once. `bound` is how much of the machine the model may take, all its jobs together.

        Raises:
            Overloaded: the queue is full, or the time too short; says when to come back.
            RequestTooLarge: it would not fit in an empty queue either.
            EngineFailure: the network, or `keep`, failed on one of the sequences.
            ModelNotReady: the server is shutting down.
        """
        return await asyncio.wrap_future(
            self.submit(
                engine, encodings, model=model, keep=keep, share=share, within_s=within_s, on_start=on_start,
                bound=bound,
            )
        )  # fmt: skip

    def submit(
        self,
        engine: Engine,
        encodings: Sequence[Encoding],
        *,
        model: str,
        keep: Callable[[int, Array], T],
        share: Share | None = None,
        within_s: float | None = None,
        on_start: Callable[[float], object] | None = None,
        bound: Bound = UNBOUNDED,
    ) -> Future[list[T]]:
        """Admit a request whole, or refuse it; see `run`. `model` labels the metrics."""
        costs = [encoding.cost for encoding in encodings]
        future: Future[list[T]] = Future()
        if not costs:
            future.set_result([])
            return future
        share = share or Share()
        now = time.perf_counter()
        job = _Job(engine, model, encodings, keep, [None] * len(costs), len(costs), future, now, on_start, bound)
        with self._lock:
            self._check(sum(costs), model, background=share.weight > 1, within_s=within_s, bound=bound)
            self._add_tokens(sum(costs))
            job.ticket = self._turns.add(job, costs, share, group=model, bound=bound)
            self._jobs.add(job)
            self._lock.notify_all()
        future.add_done_callback(lambda _: self._forget(job))
        return future

    def check(
        self, tokens: int, *, model: str, background: bool = False, within_s: float | None = None,
        bound: Bound = UNBOUNDED,
    ) -> None:  # fmt: skip
        """Refuse now what `submit` would refuse, before any work is put into it; `tokens` is a guess.

        A guess never makes a request too large: that is for `submit` to say, which knows.

        Raises:
            Overloaded, ModelNotReady: as `run`.
        """
        with self._lock:
            tokens = min(tokens, self._queue_tokens)
            self._check(tokens, model, background=background, within_s=within_s, bound=bound)

    def close(self, timeout_s: float = 10.0) -> None:
        """Fail whoever waits, let running batches end, stop the threads; wait for that at most `timeout_s`."""
        with self._lock:
            self._closed = True
            jobs = list(self._jobs)
            self._lock.notify_all()
        for job in jobs:
            self._fail(job, ModelNotReady("the server is shutting down: send the request again", retry_after_s=5))
        self._crew.close(timeout_s)

    def _check(self, tokens: int, model: str, *, background: bool, within_s: float | None, bound: Bound) -> None:
        if self._closed:
            raise ModelNotReady("the server is shutting down: send the request again", retry_after_s=5)
        if tokens > self._queue_tokens:
            raise RequestTooLarge(
                f"the request has {tokens} tokens and the queue holds {self._queue_tokens}: "
                "send fewer or shorter documents, or raise scheduling.queue_tokens"
            )
        room = int(self._queue_tokens * _BACKGROUND_ROOM) if background else self._queue_tokens
        surplus = self._tokens + tokens - room
        if surplus > 0 and self._tokens:  # alone it may run, whatever the lane
            waiting_s = self._seconds((job, left) for job, left in self._turns.ahead(self._tokens))
            raise Overloaded(
                f"the queue is full ({self._tokens} of {room} tokens waiting): try again later",
                retry_after_s=max(1.0, waiting_s * min(1.0, surplus / self._tokens)),
            )
        speed = self._speeds.get(model)
        if within_s is not None and speed and speed.known:
            needed_s = speed.needed_s(tokens) / self._hands(bound)
            needed_s += self._seconds(self._turns.ahead(self._tokens if background else tokens))
            if needed_s > _TOO_LATE * within_s:
                raise Overloaded(
                    f"the answer would take about {needed_s:.1f} s, and {within_s:.1f} s are allowed: send fewer "
                    "documents, allow more time, or try again later",
                    retry_after_s=max(1.0, needed_s - within_s),
                )

    def _seconds(self, ahead: Iterable[tuple[_Job, int]]) -> float:
        """Say how long the workers need for this much of these jobs."""
        unknown = Speed()
        return sum(self._speeds.get(job.model, unknown).needed_s(left) / self._hands(job.bound) for job, left in ahead)

    def _hands(self, bound: Bound) -> int:
        """Count the workers that may run a model at once."""
        return min(bound.at_once or len(self._crew), len(self._crew))

    def _add_tokens(self, tokens: int) -> None:
        self._tokens += tokens
        self._metrics.queued_tokens.set(self._tokens)

    def _forget(self, job: _Job) -> None:
        """Called once per job, whoever resolved its future."""
        if job.future.cancelled():
            self._claim(job)  # tells whoever waits in concurrent.futures.wait; nobody else would
        with self._lock:
            self._jobs.discard(job)
            self._add_tokens(-self._turns.cancel(job.ticket))
            self._wake()

    def _wake(self) -> None:
        """Let workers look again where a turn can wait for more than one of them; with the lock held."""
        if self._turns.bounded:
            self._lock.notify_all()

    def _work(self, hand: Hand[Turn[_Job]]) -> None:
        while batch := self._next_batch(hand):
            started = time.perf_counter()
            outcome = _attempt(batch)
            seconds = 0.0
            if isinstance(outcome, _Failed):
                logger.warning("an engine failed; each sequence is tried once more, alone", exc_info=outcome.error)
                outcomes = [_first(_attempt([turn])) for turn in batch]
            else:
                outcomes, seconds = outcome, time.perf_counter() - started
            del outcome
            with self._lock:
                if hand.relieved:
                    return
                hand.batch = ()
                self._done(batch, seconds, failed=any(isinstance(one, _Failed) for one in outcomes))
            self._deliver(batch, outcomes)

    def _next_batch(self, hand: Hand[Turn[_Job]]) -> list[Turn[_Job]]:
        """Wait for work; an empty list means: stop."""
        with self._lock:
            while not self._closed and self._turns.peek() is None:
                if not self._lock.wait(timeout=self._rests.patience_s):
                    self._rests.rest(self._lock)
            if self._closed:
                return []
            batch = [turn for turn in [self._turns.take()] if turn]
            engine = batch[0].job.engine
            room = engine.max_batch_tokens - batch[0].cost
            while (turn := self._turns.peek()) and turn.job.engine is engine and turn.cost <= room:
                room -= turn.cost
                batch += [turn for turn in [self._turns.take()] if turn]
            self._turns.began(batch[0].job.model)
            self._rests.ran(engine)
            self._metrics.busy_workers.inc()
            hand.take(batch, self._patience_s(batch))
        for turn in batch:
            if not turn.job.started:
                turn.job.started = True
                now = time.perf_counter()
                self._metrics.queue_seconds.labels(turn.job.model).observe(now - turn.job.admitted_at)
                if turn.job.on_start:
                    turn.job.on_start(now)
        return batch

    def _patience_s(self, batch: Sequence[Turn[_Job]]) -> float:
        speed = self._speeds.get(batch[0].job.model)
        expected_s = speed.needed_s(sum(turn.cost for turn in batch)) if speed else 0.0
        return max(self._hang_s, _SLOWER_THAN_EXPECTED * expected_s)

    def _done(self, batch: Sequence[Turn[_Job]], seconds: float, *, failed: bool) -> None:
        """Count a batch that ended, with the lock held; `seconds` 0 where they say nothing of the speed."""
        tokens = sum(turn.cost for turn in batch)
        self._count(batch[0].job, len(batch), tokens, seconds)
        self._turns.ended(batch[0].job.model)
        self._wake()
        self._metrics.busy_workers.dec()
        self._add_tokens(-tokens)
        self._failed_in_a_row = self._failed_in_a_row + 1 if failed else 0
        if seconds:
            self._speeds.setdefault(batch[0].job.model, Speed()).add(tokens, seconds)

    def _count(self, job: _Job, sequences: int, tokens: int, seconds: float) -> None:
        """Count one run; an engine's batch is one model's."""
        self._metrics.tokens.labels(job.model).inc(tokens)
        if seconds:
            self._metrics.batch_seconds.labels(job.model).observe(seconds)
        self._metrics.batch_sequences.labels(job.model).observe(sequences)
        if job.engine.max_batch_tokens:
            self._metrics.batch_fill.labels(job.model).observe(tokens / job.engine.max_batch_tokens)

    def _lost(self, hand: Hand[Turn[_Job]]) -> None:
        """Give up a thread that hangs or died, with the lock held: its requests fail, its places are free."""
        batch, hand.batch = hand.batch, ()
        if not batch:
            return
        self._done(batch, 0.0, failed=True)
        self._metrics.lost_workers.inc()
        failure = EngineFailure("the model did not come back from this request; the server's log says more")
        for job in {id(turn.job): turn.job for turn in batch}.values():
            self._fail(job, failure)

    def _deliver(self, batch: Sequence[Turn[_Job]], outcomes: Sequence[object]) -> None:
        whole: list[_Job] = []
        with self._lock:
            for turn, one in zip(batch, outcomes, strict=True):
                if isinstance(one, _Failed):
                    continue  # one of its sequences stays missing, so nothing makes it whole
                turn.job.kept[turn.position] = one
                turn.job.missing -= 1
                if not turn.job.missing:
                    whole.append(turn.job)
        for turn, one in zip(batch, outcomes, strict=True):
            if isinstance(one, _Failed):
                self._fail_one(turn.job, one.error)
        for job in whole:
            if self._claim(job):
                job.future.set_result(job.kept)

    def _fail_one(self, job: _Job, error: Exception) -> None:
        logger.error("a request failed in the engine", exc_info=error, extra={"model": job.model})
        self._metrics.engine_failures.labels(job.model).inc()
        failure = EngineFailure("the model failed on this request; the server's log says why")
        failure.__cause__ = error
        self._fail(job, failure)

    def _fail(self, job: _Job, error: Exception) -> None:
        if self._claim(job):
            job.future.set_exception(error)

    def _claim(self, job: _Job) -> bool:
        """Win the right to resolve a job's future. False when someone else was first or its caller has left."""
        with self._lock:
            if job.claimed:
                return False
            job.claimed = True
        return job.future.set_running_or_notify_cancel()


def _attempt(batch: Sequence[Turn[_Job]]) -> list[object] | _Failed:
    try:
        outputs = batch[0].job.engine.run([turn.job.encodings[turn.position] for turn in batch])
        _check_rows(outputs, len(batch))
        return [turn.job.keep(turn.position, output) for turn, output in zip(batch, outputs, strict=True)]
    except Exception as error:  # noqa: BLE001  # door one of three: nobody may wait for ever for a dead thread
        return _Failed(error)


def _first(outcome: list[object] | _Failed) -> object:
    return outcome if isinstance(outcome, _Failed) else outcome[0]


def _check_rows(outputs: Sequence[Array], wanted: int) -> None:
    if len(outputs) != wanted:
        raise EngineFailure(f"the engine returned {len(outputs)} outputs for {wanted} sequences")
