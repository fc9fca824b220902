"""The threads that run networks, and the watch over them: one that hangs or dies is replaced."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

B = TypeVar("B")

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.5


@dataclass(slots=True, eq=False)
class Hand(Generic[B]):
    """One thread and what it holds now: `batch` since `since` (monotonic seconds), to be done by `until`.

    `relieved`: it was given up and replaced. Whatever it brings is too late, and it must end.
    """

    thread: threading.Thread | None = None
    batch: Sequence[B] = ()
    until: float = 0.0
    relieved: bool = False

    def take(self, batch: Sequence[B], limit_s: float) -> None:
        """Begin a batch that must not take longer than this."""
        self.until = time.monotonic() + limit_s
        self.batch = batch

    @property
    def alive(self) -> bool:
        """Whether its thread still runs."""
        return self.thread is not None and self.thread.is_alive()


class Crew(Generic[B]):
    """A fixed number of hands. `lock` guards them, and is the one that whoever hands out batches holds, too.

    Python cannot end a thread: one that hangs is left behind, holding its memory, until its call returns. `stuck`
    counts those.
    """

    def __init__(
        self, size: int, work: Callable[[Hand[B]], None], lost: Callable[[Hand[B]], None], lock: threading.Condition
    ) -> None:
        """Start `size` threads in `work`; `lost` is told, with the lock held, of every hand that was given up."""
        self._work = work
        self._lost = lost
        self._lock = lock
        self._closed = False
        self._names = 0
        self._hands = [self._start() for _ in range(size)]
        self._left_behind: list[Hand[B]] = []
        self._watch = threading.Thread(target=self._look_after, name="rerankd-watch", daemon=True)
        self._watch.start()

    def __len__(self) -> int:
        return len(self._hands)

    @property
    def stuck(self) -> int:
        """How many threads were given up and have not come back."""
        return sum(hand.alive for hand in self._left_behind)

    def close(self, timeout_s: float) -> None:
        """Wait for the threads to end, at most so long. Whoever hands out batches must have said stop."""
        with self._lock:
            self._closed = True
            hands = [*self._hands]
            self._lock.notify_all()
        deadline = time.monotonic() + timeout_s
        for thread in [self._watch, *(hand.thread for hand in hands)]:
            if thread and thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))

    def _start(self) -> Hand[B]:
        hand: Hand[B] = Hand()
        hand.thread = threading.Thread(
            target=self._work, args=(hand,), name=f"rerankd-worker-{self._names}", daemon=True
        )
        self._names += 1
        hand.thread.start()
        return hand

    def _look_after(self) -> None:
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._closed, timeout=_LOOK_EVERY_S)
                if self._closed:
                    return
                self._left_behind = [hand for hand in self._left_behind if hand.alive]
                self._hands = [self._replaced(hand) for hand in self._hands]

    def _replaced(self, hand: Hand[B]) -> Hand[B]:
        hung = bool(hand.batch) and time.monotonic() > hand.until
        if hand.alive and not hung and not hand.relieved:
            return hand
        if not hand.relieved:
            hand.relieved = True
            how = "hangs" if hung else "died"
            logger.error("a worker %s and is replaced", how, extra={"sequences": len(hand.batch)})
            if hand.alive:
                self._left_behind.append(hand)
            self._lost(hand)
        try:
            return self._start()
        except RuntimeError:  # no more threads for this process: the next look tries again
            logger.exception("a worker cannot be replaced now")
            return hand
