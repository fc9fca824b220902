"""The workers of one device and the queue before them."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from rerankd import machine
from rerankd.engines.base import Array, Encoding, Engine
from rerankd.errors import EngineFailure, ModelNotReady, Overloaded, RequestTooLarge
from rerankd.metrics import Metrics
from rerankd.scheduler.batching import Turn, Turns

T = TypeVar("T")

logger = logging.getLogger(__name__)

_FIRST_GUESS_TOKENS_PER_S = 2000.0
_MEMORY_OF_SPEED = 0.1


@dataclass(slots=True, eq=False)
class _Job:
    """One request's sequences. `future` is resolved by the worker that brings the last output, by the worker that

    fails, or by `close`; the caller may cancel it at any time.
    """

    engine: Engine
    model: str
    encodings: Sequence[Encoding]
    keep: Callable[[int, Array], object]
    kept: list[object]
    missing: int
    future: Future[list[Any]]
    admitted_at: float
    ticket: int = -1
    started: bool = False
    claimed: bool = False


class Scheduler:
    """Worker threads, one queue bounded in tokens, many engines: all models share the cores, one thread each.

    Invariant: every future handed out is resolved: by a result, an error, cancellation or `close`.
    """

    def __init__(self, *, workers: int = 0, queue_tokens: int = 1_000_000, metrics: Metrics | None = None) -> None:
        """Start `workers` threads (0: one per core that this process may use)."""
        self._metrics = metrics or Metrics()
        self._queue_tokens = queue_tokens
        self._lock = threading.Condition()
        self._turns: Turns[_Job] = Turns()
        self._jobs: set[_Job] = set()
        self._tokens = 0  # admitted and not yet done, running ones included
        self._speed = _FIRST_GUESS_TOKENS_PER_S  # tokens per second of one worker
        self._closed = False
        self._workers = [
            threading.Thread(target=self._work, name=f"rerankd-worker-{i}", daemon=True)
            for i in range(workers or machine.usable_cores())
        ]
        for worker in self._workers:
            worker.start()

    @property
    def workers(self) -> int:
        """How many threads run networks."""
        return len(self._workers)

    @property
    def waiting_tokens(self) -> int:
        """Tokens admitted and not yet done."""
        return self._tokens

    async def run(
        self, engine: Engine, encodings: Sequence[Encoding], *, model: str, keep: Callable[[int, Array], T]
    ) -> list[T]:
        """Run all sequences; return what `keep(position, output)` made of each output, in order.

        `keep` is called in the worker thread. Cancelling gives the places in the queue back at once.

        Raises:
            Overloaded: the queue is full; says when to come back.
            RequestTooLarge: it would not fit in an empty queue either.
            EngineFailure: the network, or `keep`, failed on one of the sequences.
            ModelNotReady: the server is shutting down.
        """
        return await asyncio.wrap_future(self.submit(engine, encodings, model=model, keep=keep))

    def submit(
        self, engine: Engine, encodings: Sequence[Encoding], *, model: str, keep: Callable[[int, Array], T]
    ) -> Future[list[T]]:
        """Admit a request whole, or refuse it; see `run`. `model` labels the metrics."""
        costs = [encoding.cost for encoding in encodings]
        future: Future[list[T]] = Future()
        if not costs:
            future.set_result([])
            return future
        job = _Job(engine, model, encodings, keep, [None] * len(costs), len(costs), future, time.perf_counter())
        with self._lock:
            self._admit(sum(costs))
            job.ticket = self._turns.add(job, costs)
            self._jobs.add(job)
            self._lock.notify(len(costs))
        future.add_done_callback(lambda _: self._forget(job))
        return future

    def close(self, timeout_s: float = 10.0) -> None:
        """Fail whoever waits, let running batches end, stop the threads; wait for that at most `timeout_s`."""
        with self._lock:
            self._closed = True
            jobs = list(self._jobs)
            self._lock.notify_all()
        for job in jobs:
            self._fail(job, ModelNotReady("the server is shutting down: send the request again", retry_after_s=5))
        deadline = time.monotonic() + timeout_s
        for worker in self._workers:
            worker.join(max(0.0, deadline - time.monotonic()))

    def _admit(self, tokens: int) -> None:
        if self._closed:
            raise ModelNotReady("the server is shutting down: send the request again", retry_after_s=5)
        if tokens > self._queue_tokens:
            raise RequestTooLarge(
                f"the request has {tokens} tokens and the queue holds {self._queue_tokens}: "
                "send fewer or shorter documents, or raise scheduling.queue_tokens"
            )
        if self._tokens + tokens > self._queue_tokens:
            wait_s = (self._tokens + tokens - self._queue_tokens) / (self._speed * len(self._workers))
            raise Overloaded(
                f"the queue is full ({self._tokens} of {self._queue_tokens} tokens waiting): try again later",
                retry_after_s=max(1.0, wait_s),
            )
        self._add_tokens(tokens)

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

    def _work(self) -> None:
        while batch := self._next_batch():
            engine = batch[0].job.engine
            started = time.perf_counter()
            try:
                outputs = engine.run([turn.job.encodings[turn.position] for turn in batch])
                _check_rows(outputs, len(batch))
                kept = [turn.job.keep(turn.position, output) for turn, output in zip(batch, outputs, strict=True)]
                del outputs
            except Exception as error:  # noqa: BLE001  # door one of three: nobody may wait for ever for a dead thread
                self._done(batch, time.perf_counter() - started)
                self._fail_batch(batch, error)
            else:
                self._done(batch, time.perf_counter() - started)
                self._deliver(batch, kept)

    def _next_batch(self) -> list[Turn[_Job]]:
        """Wait for work; an empty list means: stop."""
        with self._lock:
            while not self._closed and self._turns.peek() is None:
                self._lock.wait(timeout=60)
            if self._closed:
                return []
            batch = [turn for turn in [self._turns.take()] if turn]
            engine = batch[0].job.engine
            room = engine.max_batch_tokens - batch[0].cost
            while (turn := self._turns.peek()) and turn.job.engine is engine and turn.cost <= room:
                room -= turn.cost
                batch += [turn for turn in [self._turns.take()] if turn]
            self._metrics.busy_workers.inc()
        for turn in batch:
            if not turn.job.started:
                turn.job.started = True
                waited_s = time.perf_counter() - turn.job.admitted_at
                self._metrics.queue_seconds.labels(turn.job.model).observe(waited_s)
        return batch

    def _done(self, batch: Sequence[Turn[_Job]], seconds: float) -> None:
        tokens = sum(turn.cost for turn in batch)
        for turn in batch:
            self._metrics.tokens.labels(turn.job.model).inc(turn.cost)
        with self._lock:
            self._metrics.busy_workers.dec()
            self._add_tokens(-tokens)
            self._speed += _MEMORY_OF_SPEED * (tokens / max(seconds, 1e-6) - self._speed)

    def _deliver(self, batch: Sequence[Turn[_Job]], kept: Sequence[object]) -> None:
        whole: list[_Job] = []
        with self._lock:
            for turn, one in zip(batch, kept, strict=True):
                turn.job.kept[turn.position] = one
                turn.job.missing -= 1
                if not turn.job.missing:
                    whole.append(turn.job)
        for job in whole:
            if self._claim(job):
                job.future.set_result(job.kept)

    def _fail_batch(self, batch: Sequence[Turn[_Job]], error: Exception) -> None:
        logger.error("an engine failed", exc_info=error, extra={"sequences": len(batch)})
        for job in {id(turn.job): turn.job for turn in batch}.values():
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


def _check_rows(outputs: Sequence[Array], wanted: int) -> None:
    if len(outputs) != wanted:
        raise EngineFailure(f"the engine returned {len(outputs)} outputs for {wanted} sequences")
