"""Which models stay in memory: pure rules over what is loaded, and the engine that is not freed while it runs."""

import threading
from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal

from rerankd.engines.base import Array, Encoding, Engine, Resting
from rerankd.errors import EngineFailure

_CLOSE_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Policy:
    """Which models are loaded when, and how long they stay.

    `preload` names what is loaded at the start; the rest comes with its first request. `idle_s` 0 keeps models however
    long nobody asks; `memory_bytes` 0 sets no budget. `pinned` models are never unloaded, `always` are so from the
    start. A request for a model that was loaded before waits for it at most `reload_wait_s`.
    """

    preload: Literal["all", "default", "none"] = "all"
    idle_s: float = 0.0
    memory_bytes: int = 0
    pinned: frozenset[str] = frozenset()
    always: frozenset[str] = frozenset()
    reload_wait_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Resident:
    """One loaded model, as the rules see it. `last_used` is on the monotonic clock, in seconds."""

    id: str
    memory_bytes: int
    last_used: float
    in_flight: int
    pinned: bool = False


def surplus(residents: Sequence[Resident], incoming_bytes: int, policy: Policy, keep: Collection[str]) -> list[str]:
    """Choose what to unload so that `incoming_bytes` more fit the budget: the least recently used first.

    Never a model with requests in flight, a pinned one, or one of `keep`; where those fill the budget, it is exceeded.
    """
    if not policy.memory_bytes:
        return []
    excess = sum(resident.memory_bytes for resident in residents) + incoming_bytes - policy.memory_bytes
    chosen: list[str] = []
    for resident in sorted(residents, key=lambda resident: resident.last_used):
        if excess <= 0:
            break
        if resident.in_flight or _stays(resident, policy) or resident.id in keep:
            continue
        chosen.append(resident.id)
        excess -= resident.memory_bytes
    return chosen


def idle(residents: Sequence[Resident], now: float, policy: Policy) -> list[str]:
    """Choose what nobody has asked for long enough."""
    if not policy.idle_s:
        return []
    return [
        resident.id
        for resident in residents
        if not resident.in_flight and not _stays(resident, policy) and now - resident.last_used >= policy.idle_s
    ]


def _stays(resident: Resident, policy: Policy) -> bool:
    return resident.pinned or resident.id in policy.pinned or resident.id in policy.always


class Counted:
    """An engine that is closed only when no run is under way: a request that was cancelled may still be running."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Condition()
        self._running = 0
        self._closed = False

    @property
    def max_batch_tokens(self) -> int:
        """See `Engine`."""
        return self._engine.max_batch_tokens

    def run(self, batch: Sequence[Encoding]) -> Sequence[Array]:
        """See `Engine`.

        Raises:
            EngineFailure: the model has been unloaded.
        """
        with self._under_way():
            return self._engine.run(batch)

    def rest(self) -> None:
        """See `Resting`; an engine that keeps nothing has nothing to do."""
        if isinstance(self._engine, Resting):
            with suppress(EngineFailure), self._under_way():
                self._engine.rest()

    def close(self) -> None:
        """Take no further run, wait for those under way, and free the network (not while one still runs)."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if not self._lock.wait_for(lambda: not self._running, _CLOSE_TIMEOUT_S):
                return
        self._engine.close()

    @contextmanager
    def _under_way(self) -> Generator[None]:
        with self._lock:
            if self._closed:
                raise EngineFailure("the model was unloaded: send the request again")
            self._running += 1
        try:
            yield
        finally:
            with self._lock:
                self._running -= 1
                self._lock.notify_all()
