"""Scores in a real Valkey, which is then frozen, killed, started again and lied to."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
import redis

from rerankd.assembly import open_cache
from rerankd.cache.base import PairScore, pair_key
from rerankd.cache.redis import CACHE, RedisCache
from rerankd.errors import ConfigError
from valkey_server import ValkeyProcess, valkey

pytestmark = pytest.mark.anyio

SCORES = {pair_key("f", "q", str(i)): PairScore(i / 3 - 7, i, i % 2 == 0) for i in range(300)}
KEYS = list(SCORES)


@pytest.fixture
def server(tmp_path: Path) -> Generator[ValkeyProcess]:
    with valkey(tmp_path) as server:
        yield server


@asynccontextmanager
async def opened(server: ValkeyProcess, *, timeout_ms: float = 1000) -> AsyncGenerator[RedisCache]:
    """Open the cache and wait until it is connected."""
    cache = cast("RedisCache", CACHE.open(f"{server.url}?timeout_ms={timeout_ms}", max_bytes=1))
    await cache.get(KEYS[:1])
    await _until(lambda: not cache.resting)
    try:
        yield cache
    finally:
        await cache.close()


async def _until(true: Callable[[], bool]) -> None:
    for _ in range(3000):
        if true():
            return
        await asyncio.sleep(0.005)
    pytest.fail("not within 15 s")


async def _until_known(cache: RedisCache, *, again: bool = False) -> None:
    for _ in range(1000):
        if await _known(cache) == len(SCORES):
            return
        if again:
            await cache.put(SCORES)
        await asyncio.sleep(0.01)
    pytest.fail("not known after 10 s")


async def _known(cache: RedisCache) -> int:
    found = await cache.get(KEYS)
    assert all(entry is None or entry == score for entry, score in zip(found, SCORES.values(), strict=True))
    return sum(entry is not None for entry in found)


async def test_what_one_server_scored_another_one_knows(server: ValkeyProcess) -> None:
    async with opened(server) as one, opened(server) as other:
        await one.put(SCORES)
        await _until_known(other)


async def test_scores_survive_a_restart_of_the_server_that_made_them(server: ValkeyProcess) -> None:
    async with opened(server) as before:
        await before.put(SCORES)
    async with opened(server) as after:  # close() writes what waits
        assert await _known(after) == len(SCORES)


async def test_another_fingerprint_knows_nothing_of_it(server: ValkeyProcess) -> None:
    async with opened(server) as cache:
        await cache.put(SCORES)
        await _until(lambda: cache.queued == 0)
        assert list(await cache.get([pair_key("g", "q", str(i)) for i in range(300)])) == [None] * 300


async def test_scores_are_forgotten_after_their_time(server: ValkeyProcess) -> None:
    async with opened(server) as cache:
        await cache.put(SCORES)
    with redis.Redis(port=server.port) as client:
        name = next(client.scan_iter(b"rerankd:1:*"))
        assert 0 < client.ttl(name) <= 7 * 24 * 3600


async def test_a_value_under_another_key_or_of_another_shape_is_no_score(server: ValkeyProcess) -> None:
    async with opened(server) as cache:
        await cache.put(SCORES)
        await _until(lambda: cache.queued == 0)
        await asyncio.sleep(0.1)
        with redis.Redis(port=server.port) as client:
            value = cast("bytes", client.get(b"rerankd:1:" + KEYS[0]))
            for damaged in (value, b"", value[:-1], value + b"x", b"\xff" * len(value)):
                client.set(b"rerankd:1:" + KEYS[1], damaged)
                assert list(await cache.get([KEYS[0], KEYS[1]])) == [SCORES[KEYS[0]], None]


async def test_frozen_killed_and_restarted_it_costs_a_moment_and_gives_no_wrong_score(server: ValkeyProcess) -> None:
    async with opened(server, timeout_ms=50) as cache:
        await cache.put(SCORES)
        await _until(lambda: cache.queued == 0)
        for stop, go in ((server.freeze, server.thaw), (server.kill, server.start)):
            stop()
            took: list[float] = []
            for _ in range(200):
                began = time.perf_counter()
                await _known(cache)
                await cache.put(SCORES)
                took.append(time.perf_counter() - began)
            print(f"{stop.__name__}: slowest of 200 questions {max(took) * 1000:.1f} ms, sum {sum(took) * 1000:.0f} ms")
            assert cache.resting
            go()
            await _until(lambda: not cache.resting)
            await cache.put(SCORES)
            await _until_known(cache, again=True)


async def test_what_waits_to_be_written_is_bounded(server: ValkeyProcess) -> None:
    async with opened(server) as cache:
        server.freeze()
        for block in range(150):
            await cache.put({pair_key("f", str(block), str(i)): PairScore(0, 1, False) for i in range(1000)})
        assert cache.queued <= 100_000
        server.thaw()


async def test_memory_is_asked_first_and_learns_from_redis(server: ValkeyProcess) -> None:
    async with opened(server) as cache:
        await cache.put(SCORES)
    tiers = open_cache(f"{server.url}?timeout_ms=1000", 1 << 20)
    for _ in range(1000):
        if list(await tiers.get(KEYS)) == list(SCORES.values()):
            break
        await asyncio.sleep(0.01)
    server.kill()
    assert list(await tiers.get(KEYS)) == list(SCORES.values())
    await tiers.close()


async def test_a_redis_that_was_never_there_fails_nothing(tmp_path: Path) -> None:
    nobody = ValkeyProcess(tmp_path)  # never started
    cache = open_cache(nobody.url, 1 << 20)
    await cache.put(SCORES)
    assert list(await cache.get(KEYS)) == list(SCORES.values())
    assert list(await cache.get([pair_key("f", "q", "new")])) == [None]
    await cache.close()


@pytest.mark.parametrize(
    "url", ["redis://h?timeout_ms=x", "redis://h?timeout_ms=0", "redis://h?ttl_s=-1", "redis://h:x/0"]
)
def test_an_address_that_cannot_be_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError, match=r"cache\.url") as caught:
        open_cache(url.replace("://", "://:secret@"), 1)
    assert "secret" not in str(caught.value)
