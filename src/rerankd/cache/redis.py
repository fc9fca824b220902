"""Scores in Redis or Valkey, shared by servers and kept over restarts: `redis://HOST:6379/0?timeout_ms=10&ttl_s=604800`.

It can only help. A question that is not answered in `timeout_ms` counts as not known, and Redis is asked no more until
a probe is answered (`Breaker`); what is to be remembered waits in a bounded queue and is written by a task of its own,
or dropped. Each value repeats its key, so that an answer to another question is never taken for a score.
"""

import asyncio
import math
import struct
from collections import deque
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol, cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from rerankd.breaker import Breaker
from rerankd.cache.base import KEY_BYTES, PairScore, ScoreCache
from rerankd.errors import ConfigError

_PREFIX = b"rerankd:1:"
_VALUE = struct.Struct(f"<{KEY_BYTES}sdI")
_CUT = 1 << 31  # the top bit of the tokens
_MOST_KEYS = 2048
"""Asked for at once: about 2 ms. Of a longer list the rest counts as not known."""
_PER_KEY_S = 10e-6
"""How much longer an answer may take for each key: reading a thousand takes the client some milliseconds."""
_QUEUED = 100_000
"""Scores that may wait to be written, some 20 MB; the oldest are dropped."""
_WRITTEN_AT_ONCE = 500
_CONNECTIONS = 8
_WRITE_TIMEOUT_S = 1.0
_CLOSE_TIMEOUT_S = 2.0
_DEFAULT_TIMEOUT_MS = 10.0
_DEFAULT_TTL_S = 7 * 24 * 3600


class _Pipeline(Protocol):
    def set(self, name: bytes, value: bytes, *, ex: int) -> object: ...
    async def execute(self) -> object: ...


class _Client(Protocol):
    """What is used of redis.asyncio.Redis."""

    def mget(self, keys: Sequence[bytes]) -> Awaitable[Sequence[bytes | None]]: ...
    def ping(self) -> Awaitable[object]: ...
    def pipeline(self, *, transaction: bool) -> _Pipeline: ...
    async def aclose(self) -> None: ...


class RedisCache:
    """Lives on one event loop. `errors` are those of the client's library."""

    def __init__(self, client: _Client, *, errors: tuple[type[Exception], ...], timeout_s: float, ttl_s: int) -> None:
        self._client = client
        self._errors = errors
        self._ttl_s = ttl_s
        self._reads = Breaker("cache.url", client.ping, errors=errors, timeout_s=timeout_s)
        self._writes = Breaker("cache.url (writing)", client.ping, errors=errors, timeout_s=_WRITE_TIMEOUT_S)
        self._queue: deque[tuple[bytes, PairScore]] = deque(maxlen=_QUEUED)
        self._writing: asyncio.Task[None] | None = None
        self._begun = False

    @property
    def resting(self) -> bool:
        """Whether Redis is not asked now."""
        return self._reads.open

    @property
    def queued(self) -> int:
        """How many scores wait to be written."""
        return len(self._queue)

    async def get(self, keys: Sequence[bytes]) -> Sequence[PairScore | None]:
        """Return what Redis knows, within the timeout."""
        nothing: list[PairScore | None] = [None] * len(keys)
        if not keys:
            return nothing
        if not self._begun:  # connecting takes longer than an answer may: it is done beside the first requests
            self._begun = True
            self._reads.connect()
        asked = keys[:_MOST_KEYS]
        found = await self._reads.ask(
            lambda: self._client.mget([_PREFIX + key for key in asked]), None, extra_s=len(asked) * _PER_KEY_S
        )
        if found is None or len(found) != len(asked):
            return nothing
        return [*(_read(key, value) for key, value in zip(asked, found, strict=True)), *nothing[len(asked) :]]

    async def put(self, scores: Mapping[bytes, PairScore]) -> None:
        """Have scores written soon. Returns at once."""
        if self._writes.open or self._reads.open:
            return
        self._queue.extend(scores.items())
        if self._queue and self._writing is None:
            self._writing = asyncio.create_task(self._write())

    async def close(self) -> None:
        """Write what waits, if that is quick, and hang up."""
        if (writing := self._writing) is not None:
            await asyncio.wait({writing}, timeout=_CLOSE_TIMEOUT_S)
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
        await self._reads.close()
        await self._writes.close()
        with suppress(TimeoutError, OSError, *self._errors):
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self._client.aclose()

    async def _write(self) -> None:
        try:
            while self._queue:
                some = [self._queue.popleft() for _ in range(min(len(self._queue), _WRITTEN_AT_ONCE))]
                if not await self._writes.ask(lambda some=some: self._write_some(some), otherwise=False):
                    self._queue.clear()
        finally:
            self._writing = None

    async def _write_some(self, some: Sequence[tuple[bytes, PairScore]]) -> bool:
        pipeline = self._client.pipeline(transaction=False)
        for key, score in some:
            tokens = score.tokens | (_CUT * score.truncated)
            pipeline.set(_PREFIX + key, _VALUE.pack(key, score.raw, tokens), ex=self._ttl_s)
        await pipeline.execute()
        return True


def _read(key: bytes, value: bytes | None) -> PairScore | None:
    if value is None or len(value) != _VALUE.size:
        return None
    named, raw, tokens = cast("tuple[bytes, float, int]", _VALUE.unpack(value))
    return PairScore(raw, tokens & ~_CUT, bool(tokens & _CUT)) if named == key and math.isfinite(raw) else None


class _Factory:
    out_of_process = True

    def open(self, url: str, *, max_bytes: int) -> ScoreCache:
        del max_bytes  # Redis has a bound of its own: maxmemory
        try:
            from redis.asyncio import BlockingConnectionPool, Redis
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff
            from redis.exceptions import RedisError
        except ImportError as error:
            raise ConfigError("cache.url on Redis needs a package: pip install 'rerankd[redis]'") from error
        address, timeout_ms, ttl_s = _options(url)
        try:
            pool = BlockingConnectionPool.from_url(
                address, max_connections=_CONNECTIONS, timeout=timeout_ms / 1000, retry=Retry(NoBackoff(), 0)
            )
        except ValueError as error:
            raise ConfigError("cache.url is no address of a Redis: write redis://HOST:6379/0") from error
        client = cast("_Client", Redis.from_pool(pool))
        return RedisCache(client, errors=(RedisError,), timeout_s=timeout_ms / 1000, ttl_s=ttl_s)


def _options(url: str) -> tuple[str, float, int]:
    """Take our own options out of the URL; what remains is the client's.

    Raises:
        ConfigError: a value is none.
    """
    parts = urlsplit(url)
    given = dict(parse_qsl(parts.query))
    try:
        timeout_ms = float(given.pop("timeout_ms", _DEFAULT_TIMEOUT_MS))
        ttl_s = int(given.pop("ttl_s", _DEFAULT_TTL_S))
    except ValueError as error:
        raise ConfigError("cache.url: timeout_ms and ttl_s are numbers, such as ?timeout_ms=10&ttl_s=604800") from error
    if not (0 < timeout_ms <= 1000 and ttl_s > 0):
        raise ConfigError("cache.url: timeout_ms is above 0 and at most 1000, ttl_s is above 0")
    return urlunsplit(parts._replace(query=urlencode(given))), timeout_ms, ttl_s


CACHE = _Factory()
