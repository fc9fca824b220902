"""Counting uses in windows of time: in this process, or in Redis for several servers together."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic, time
from typing import Protocol, cast

from limits.aio.storage import RedisStorage
from limits.errors import ConfigurationError, StorageError

from rerankd.breaker import Breaker
from rerankd.errors import ConfigError

MOST_COUNTERS = 100_000
"""About 30 MB. The ones unused for longest go first: more callers than this at once are not one machine's."""

_TIMEOUT_S = 0.02
_CLOSE_TIMEOUT_S = 1.0
_REDIS = ("redis://", "rediss://", "unix://")


@dataclass(frozen=True, slots=True)
class Uses:
    """Uses in the window of which `into_s` seconds have passed, and in the one before it."""

    previous: int
    current: int
    into_s: float


class Counters(Protocol):
    """Counts, each by its name, in windows that follow one another."""

    async def add(self, name: str, amount: int, *, window_s: int) -> Uses:
        """Add to a counter's window of now; return how it stands then. An amount below 0 takes back."""
        ...

    async def close(self) -> None:
        """Let go of whatever is held."""
        ...


class _Closes(Protocol):
    async def aclose(self) -> None: ...


def open_counters(url: str, *, timeout_s: float = _TIMEOUT_S) -> Counters:
    """Open memory:// or redis://, rediss://, unix://, which has `timeout_s` for each answer.

    Raises:
        ConfigError: it is another URL, or the package for it is not installed.
    """
    if url == "memory://":
        return MemoryCounters()
    if not url.startswith(_REDIS):
        raise ConfigError("limits.storage is memory://, or the address of a Redis: redis://HOST:6379/0")
    try:
        # `limits` knows a socket as redis+unix://.
        address = url.replace("unix://", "redis+unix://", 1) if url.startswith("unix://") else url
        return SharedCounters(
            RedisStorage(f"async+{address}", wrap_exceptions=True, implementation="redispy"), timeout_s
        )
    except ConfigurationError as error:
        raise ConfigError("limits.storage on Redis needs a package: pip install 'rerankd[redis]'") from error
    except ValueError as error:
        raise ConfigError("limits.storage is no address of a Redis: write redis://HOST:6379/0") from error


class MemoryCounters:
    """Counts of this process, at most `MOST_COUNTERS` of them. Used on the event loop only.

    A counter's windows begin with its first use. `now` tells seconds.
    """

    def __init__(self, most: int = MOST_COUNTERS, now: Callable[[], float] = monotonic) -> None:
        self._most = most
        self._now = now
        self._counts: OrderedDict[str, tuple[int, int, float]] = OrderedDict()

    async def add(self, name: str, amount: int, *, window_s: int) -> Uses:
        """Add, see `Counters`."""
        now = self._now()
        previous, current, began = self._counts.get(name, (0, 0, now))
        passed = int((now - began) // window_s)
        if passed:
            previous, current = current if passed == 1 else 0, 0
            began = began + passed * window_s if previous else now
        current = max(current + amount, 0)
        if previous or current:
            self._counts[name] = previous, current, began
            self._counts.move_to_end(name)
        else:
            self._counts.pop(name, None)
        if len(self._counts) > self._most:
            self._counts.popitem(last=False)
        return Uses(previous, current, now - began)

    async def close(self) -> None:
        """Forget them."""
        self._counts.clear()

    def __len__(self) -> int:
        return len(self._counts)


class SharedCounters:
    """Counts in Redis. While that is slow or gone this process counts for itself, and nobody waits for it.

    Windows begin at multiples of their length since 1970, the same for all servers, whose clocks have to agree.
    """

    def __init__(self, storage: RedisStorage, timeout_s: float) -> None:
        self._storage = storage
        self._own = MemoryCounters()
        self._breaker = Breaker("limits.storage", self._probe, errors=(StorageError,), timeout_s=timeout_s)

    @property
    def alone(self) -> bool:
        """Whether Redis does not answer, and this process counts for itself."""
        return self._breaker.open

    async def add(self, name: str, amount: int, *, window_s: int) -> Uses:
        """Add, see `Counters`; here where Redis does not answer."""
        found = await self._breaker.ask(lambda: self._add(name, amount, window_s), None)
        return found or await self._own.add(name, amount, window_s=window_s)

    async def close(self) -> None:
        """Ask Redis no more."""
        await self._breaker.close()
        await self._own.close()
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                # `limits` has no end of its own; every client that it knows has this one.
                await cast("_Closes", self._storage.bridge.get_connection()).aclose()  # pyright: ignore[reportAttributeAccessIssue]

    async def _add(self, name: str, amount: int, window_s: int) -> Uses:
        number, into_s = divmod(time(), window_s)
        now, before = f"{name}/{int(number)}", f"{name}/{int(number) - 1}"
        current = await (self._storage.incr(now, 2 * window_s, amount) if amount else self._storage.get(now))
        return Uses(await self._storage.get(before), max(current, 0), into_s)

    async def _probe(self) -> None:
        # Not `check()`: it passes over everything, the end of its own task too.
        await self._storage.get("probe")
